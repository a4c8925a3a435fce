#pragma once

#include "generators/filter_gradient.h"

namespace fourfold::cuda {

/// m output channels in the registers of a thread, whose pixels `lanes` threads share.
struct FilterGradientTile {
    int m, lanes;
};

void schedule(FilterGradientStages &stages, FilterGradientTile tile, const Halide::Target &target);

}  // namespace fourfold::cuda
