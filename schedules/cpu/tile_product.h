#pragma once

#include "generators/tile_product.h"

namespace fourfold::cpu {

struct ProductTile {
    int r;  ///< tiles
    int v;  ///< blocks of 16 output channels
};

void schedule(TileProductStages &stages, ProductTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
