#pragma once

#include "generators/gemm.h"
#include "schedules/cpu/register_tile.h"

namespace fourfold::cpu {

void schedule(GemmStages &stages, const Halide::Expr &one_block, RegisterTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
