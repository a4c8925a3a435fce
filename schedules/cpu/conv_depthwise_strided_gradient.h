#pragma once

#include "generators/conv_depthwise_strided_gradient.h"

namespace fourfold::cpu {

struct StridedGradientTile {
    int m;          ///< pairs of rows
    int n;          ///< vectors of pairs of columns
    bool unrolled;  ///< all taps
};

void schedule(ConvDepthwiseStridedGradientStages &stages, StridedGradientTile tile, const Halide::Expr &no_residual, const Halide::Expr &odd_x, const Halide::Expr &odd_y, const Halide::Target &target);

}  // namespace fourfold::cpu
