#pragma once

#include "schedules/cpu/winograd_product.h"

namespace fourfold::cpu {

void schedule_correlation(WinogradProductStages &stages, WinogradProductTile tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
