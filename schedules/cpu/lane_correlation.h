#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

void schedule_lane_correlation(MemoryStages &stages, const Halide::Var &part, const Halide::Target &target);

}  // namespace fourfold::cpu
