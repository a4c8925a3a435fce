// The named stages of tile_product and tile_correlation, as their schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct TileProductStages {
    Halide::Func out;  ///< (k, part, tile, f)
    Halide::Func sum;  ///< (k, tile, f), a Tuple: both parts, or Gauss's three products, updated over the input channels c
    Halide::Var k{"k"}, part{"part"}, tile{"tile"}, f{"f"};
    Halide::RVar c;
};

}  // namespace fourfold
