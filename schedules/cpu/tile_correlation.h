#pragma once

#include "generators/tile_product.h"
#include "schedules/cpu/tile_product.h"

namespace fourfold::cpu {

void schedule_correlation(TileProductStages &stages, ProductTile tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
