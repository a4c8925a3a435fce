#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

void schedule_crop(MemoryStages &stages, const Halide::Var &k, bool nhwc, const Halide::Expr &use_residual, const Halide::Expr &post, const Halide::Target &target);

}  // namespace fourfold::cpu
