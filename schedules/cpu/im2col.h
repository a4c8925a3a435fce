#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

void schedule_im2col(MemoryStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
