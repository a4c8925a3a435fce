#pragma once

#include "generators/conv_direct_oc.h"

namespace fourfold::cpu {

struct PixelTile {
    int r;  ///< pixels: values broadcast from x
    int v;  ///< blocks of 16 output channels
};

void schedule(ConvDirectOcStages &stages, PixelTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
