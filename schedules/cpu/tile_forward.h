#pragma once

#include "generators/tile_forward.h"

namespace fourfold::cpu {

void schedule(TileForwardStages &stages, const Halide::Target &target);
void schedule(TileForwardSplitStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
