#pragma once

#include "generators/conv_direct.h"
#include "schedules/cpu/register_tile.h"

namespace fourfold::cpu {

void schedule(ConvDirectStages &stages, const Halide::Expr &one_block, RegisterTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
