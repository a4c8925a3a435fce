#pragma once

#include "generators/spectral_product.h"

namespace fourfold::cpu {

struct SpectralTile {
    int n;      ///< images
    int k;      ///< output channels
    int lanes;  ///< frequencies packed together
};

void schedule(SpectralProductStages &stages, SpectralTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
