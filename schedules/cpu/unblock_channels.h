#pragma once

#include "generators/block_channels.h"

namespace fourfold::cpu {

void schedule(UnblockChannelsStages &stages, const Halide::Expr &use_residual, const Halide::Target &target);
/// For NHWC.
void schedule_copy(UnblockChannelsStages &stages, const Halide::Expr &use_residual, const Halide::Target &target);

}  // namespace fourfold::cpu
