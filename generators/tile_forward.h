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

/// The same in two loops a column, and a row if `split_rows` (generators/split_fft.h).
struct TileForwardSplitStages {
    Halide::Func out;  ///< (l, cb, part, tile, ky, kx)
    Halide::Func column_first, column_between, column_second;  ///< of a column: (l, i, kx, tile, cb), (l, s, i, kx, tile, cb), (l, k, kx, tile, cb)
    Halide::Func rows;  ///< (l, s, q, tile, cb): the rows' half spectra, row q being point (q/b, q mod b)
    Halide::Func row;   ///< (l, q, tile, cb), a Tuple: one row's transform, unless rows are split
    Halide::Func row_first, row_between, row_second;  ///< (l, i, q, tile, cb), (l, s, i, q, tile, cb), (l, k, q, tile, cb)
    Halide::Var l{"l"}, cb{"cb"}, part{"part"}, tile{"tile"}, kx{"kx"}, ky{"ky"}, s{"s"}, q{"q"}, i{"i"}, k{"k"};
    Halide::RVar r_s, r_k;      ///< of out's update
    Halide::RVar rows_s, rows_k;  ///< of rows' update
    int t, a, b;
    bool split_rows;
};

}  // namespace fourfold
