#pragma once

#include "generators/block_channels.h"

namespace fourfold::cpu {

void schedule(BlockChannelsStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
