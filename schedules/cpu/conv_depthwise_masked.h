#pragma once

#include "generators/conv_depthwise_masked.h"

namespace fourfold::cpu {

struct MaskedDepthwiseTile {
    int m;       ///< output rows
    int n;       ///< vectors of output columns
    int f;       ///< filter height and width
    int stride;  ///< of rows and columns
};

void schedule(ConvDepthwiseMaskedStages &stages, MaskedDepthwiseTile tile, const Halide::Expr &use_residual, const Halide::Target &target);

}  // namespace fourfold::cpu
