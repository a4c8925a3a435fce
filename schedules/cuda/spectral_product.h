#pragma once

#include "generators/spectral_product.h"

namespace fourfold::cuda {

/// n images times k output channels, complex, in the registers of a thread; a warp is `lanes` frequencies.
struct SpectralTile {
    int n, k, lanes;
};

void schedule(SpectralProductStages &stages, SpectralTile tile);

}  // namespace fourfold::cuda
