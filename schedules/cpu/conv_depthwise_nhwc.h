#pragma once

#include "generators/conv_depthwise_nhwc.h"

namespace fourfold::cpu {

struct DepthwisePixelTile {
    int m;      ///< pixels
    int n;      ///< blocks of 16 channels
    bool mask;  ///< the last blocks of channels are not full
};

void schedule(ConvDepthwiseNhwcStages &stages, DepthwisePixelTile tile, const Halide::Expr &use_residual, const Halide::Target &target);

}  // namespace fourfold::cpu
