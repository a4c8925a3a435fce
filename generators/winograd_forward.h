// The named stages of winograd_forward and winograd_gradient, as their schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradForwardStages {
    Halide::Func out;     ///< (l, row, part, tile, fy, fx)
    Halide::Func column;  ///< (l, fx, tile, row), a Tuple: one column transformed
    Halide::Func lines;   ///< (l, fx, y, tile, row): the tile's lines transformed
    Halide::Func line;    ///< (l, y, tile, row), a Tuple: one line transformed
    Halide::Var l{"l"}, row{"row"}, part{"part"}, tile{"tile"}, fx{"fx"}, fy{"fy"}, y{"y"};
    int t;       ///< rows and columns of a transform
    int height;  ///< rows of a tile
};

}  // namespace fourfold
