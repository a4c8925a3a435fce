#pragma once

#include "generators/conv_plane.h"

namespace fourfold::cuda {

/// m output channels times n rows of pixels in the registers of a thread, 32 x w threads to a block.
struct PlaneTile {
    int m, n, w;
};

void schedule(ConvPlaneStages &stages, PlaneTile tile);

}  // namespace fourfold::cuda
