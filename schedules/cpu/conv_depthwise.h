#pragma once

#include "generators/conv_depthwise.h"

namespace fourfold::cpu {

struct DepthwiseTile {
    int m;  ///< output rows
    int n;  ///< vectors of output columns
    bool pad;  ///< the image is copied between zeros first
};

void schedule(ConvDepthwiseStages &stages, DepthwiseTile tile, const Halide::Expr &use_residual, const Halide::Target &target);

}  // namespace fourfold::cpu
