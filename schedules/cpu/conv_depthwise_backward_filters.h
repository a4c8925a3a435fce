#pragma once

#include "generators/conv_depthwise_backward_filters.h"

namespace fourfold::cpu {

struct DepthwiseTaps {
    int h, v;  ///< rows and columns of the filter
    int m;     ///< rows of gy
};

void schedule(ConvDepthwiseBackwardFiltersStages &stages, DepthwiseTaps tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
