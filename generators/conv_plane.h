// The named stages of conv_plane, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvPlaneStages {
    Halide::Func out;    ///< (q, p, i, g, n), undefined, then updated over u of a thread's rows, lane, thread, and the blocks across and down
    Halide::Func total;  ///< (jl, jr, ii, ib, g, n, a, d), output channel i = ib*m + ii: column and row of block a across, d down; updated over the filter's rows ky
    Halide::Func row;    ///< (jl, jr, ii, ib, g, n, a, d, k), updated over the columns kx of the filter's row k
    Halide::Func tile;   ///< (column, line, g, n, a, d): what a block reads, padding included
    Halide::Func filters;  ///< (ii, tap, ib, g)
    Halide::Var q{"q"}, p{"p"}, i{"i"}, g{"g"}, n{"n"}, ii{"ii"}, ib{"ib"}, jl{"jl"}, jr{"jr"}, a{"a"}, d{"d"}, column{"column"}, line{"line"};
    Halide::RVar kx, ky, u, lane, thread, across, down;
};

}  // namespace fourfold
