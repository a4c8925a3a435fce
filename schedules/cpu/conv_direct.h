#pragma once

#include "generators/conv_direct.h"
#include "schedules/cpu/register_tile.h"

namespace fourfold::cpu {

void schedule(ConvDirectStages &stages, RegisterTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
