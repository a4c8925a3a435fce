#pragma once

#include "generators/conv_backward_filters.h"

namespace fourfold::cpu {

struct FilterGradientTile {
    int r;  ///< output channels
    int v;  ///< taps and input channels
};

void schedule(ConvBackwardFiltersStages &stages, FilterGradientTile tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
