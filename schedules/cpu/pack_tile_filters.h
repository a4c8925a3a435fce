#pragma once

#include "generators/memory_stage.h"

namespace fourfold::cpu {

void schedule_pack_tile_filters(MemoryStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
