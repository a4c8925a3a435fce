#pragma once

#include "generators/conv_implicit.h"

namespace fourfold::cuda {

/// m output channels times n pixels in the registers of a thread, w rows of threads to a block.
struct ImplicitTile {
    int m, n, w;
};

void schedule(ConvImplicitStages &stages, ImplicitTile tile);

}  // namespace fourfold::cuda
