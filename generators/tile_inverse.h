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

/// The same in two loops a column, and a row if `split_rows` (generators/split_fft.h).
struct TileInverseSplitStages {
    Halide::Func out;      ///< (l, x, tile, y, kb)
    Halide::Func row;      ///< (l, y, tile, kb), a Tuple: one row's inverse, unless rows are split
    Halide::Func row_first, row_between, row_second;  ///< (l, k, y, tile, kb), (l, s, k, y, tile, kb), (l, i, y, tile, kb)
    Halide::Func columns;  ///< (l, s, i, kx, tile, kb): columns transformed, re and im of point (i, j) alternating in s
    Halide::Func column_first, column_between, column_second;  ///< of a column: (l, k, kx, tile, kb), (l, s, k, kx, tile, kb), (l, i, kx, tile, kb)
    Halide::Var l{"l"}, x{"x"}, tile{"tile"}, y{"y"}, kb{"kb"}, s{"s"}, kx{"kx"}, i{"i"}, k{"k"};
    Halide::RVar r_j, r_i;  ///< of out's update, if rows are split
    int t, a, b;
    bool split_rows;
};

}  // namespace fourfold
