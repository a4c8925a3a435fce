#pragma once

#include "generators/pad.h"

namespace fourfold::cpu {

void schedule(PadStages &stages, const Halide::Expr &step_x, const Halide::Target &target);

}  // namespace fourfold::cpu
