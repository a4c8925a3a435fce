#pragma once

#include "generators/conv_depthwise_small.h"

namespace fourfold::cpu {

void schedule(ConvDepthwiseSmallStages &stages, const Halide::Expr &use_residual, const Halide::Target &target);

}  // namespace fourfold::cpu
