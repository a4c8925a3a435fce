#pragma once

#include "generators/block_channels.h"

namespace fourfold::cpu {

void schedule(BlockChannelsStages &stages, const Halide::Target &target);
/// For NHWC.
void schedule_copy(BlockChannelsStages &stages, const Halide::Expr &channels, const Halide::Target &target);

}  // namespace fourfold::cpu
