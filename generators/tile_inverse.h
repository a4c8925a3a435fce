// The named stages of tile_inverse, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct TileInverseStages {
    Halide::Func out;      ///< (l, x, tile, y, kb)
    Halide::Func row;      ///< (l, y, tile, kb), a Tuple: one row's inverse
    Halide::Func columns;  ///< (l, s, kx, tile, kb): columns transformed, re and im of each y alternating in s
    Halide::Func column;   ///< (l, kx, tile, kb), a Tuple: one column's inverse
    Halide::Var l{"l"}, x{"x"}, tile{"tile"}, y{"y"}, kb{"kb"}, s{"s"}, kx{"kx"};
    int t;
};

}  // namespace fourfold
