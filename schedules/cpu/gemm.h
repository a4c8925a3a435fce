#pragma once

#include "generators/gemm.h"
#include "schedules/cpu/register_tile.h"

namespace fourfold::cpu {

void schedule(GemmStages &stages, RegisterTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
