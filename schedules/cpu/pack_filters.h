#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

/// `plain`: no output channel is missing, and blocks have one row. `stride`: the distance of output channels in the filters.
void schedule_pack_filters(MemoryStages &stages, const Halide::Expr &plain, const Halide::Expr &stride);

}  // namespace fourfold::cpu
