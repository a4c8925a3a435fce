// The named stages of tile_forward, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct TileForwardStages {
    Halide::Func out;      ///< (l, cb, part, tile, ky, kx)
    Halide::Func column;   ///< (l, kx, tile, cb), a Tuple: one column's transform
    Halide::Func rows;     ///< (l, s, y, tile, cb): the rows' half spectra, re and im alternating in s
    Halide::Func row;      ///< (l, y, tile, cb), a Tuple: one row's transform
    Halide::Var l{"l"}, cb{"cb"}, part{"part"}, tile{"tile"}, kx{"kx"}, ky{"ky"}, s{"s"}, y{"y"};
    int t;
};

}  // namespace fourfold
