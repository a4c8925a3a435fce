#pragma once

#include "generators/tile_inverse.h"

namespace fourfold::cpu {

void schedule(TileInverseStages &stages, const Halide::Target &target);
void schedule(TileInverseSplitStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
