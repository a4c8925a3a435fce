#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

/// `exact`: no lane reads or writes beyond a row's end.
void schedule_im2col(MemoryStages &stages, bool exact, const Halide::Target &target);

}  // namespace fourfold::cpu
