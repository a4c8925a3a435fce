#pragma once

#include "generators/winograd_product.h"

namespace fourfold::cpu {

struct WinogradProductTile {
    int r;  ///< tiles
    int v;  ///< blocks of 16 output channels
};

void schedule(WinogradProductStages &stages, WinogradProductTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
