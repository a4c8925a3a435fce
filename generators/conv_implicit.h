// The named stages of conv_implicit, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvImplicitStages {
    Halide::Func out;    ///< (q, p, i, g, n), undefined, then updated over lane, vector and tile
    Halide::Func total;  ///< (jl, u, ii, ib, jb, g, n), of output channel i = ib*m + ii, updated over the blocks kb; pixel (jb*vectors + u)*lanes + jl
    Halide::Func block;  ///< (jl, u, ii, ib, jb, g, n, b), updated over the channels c and taps t of block b
    Halide::Func filters;  ///< (ii, ib, g, b, c, t): those that block b multiplies with channel c and tap t of its own
    Halide::Var q{"q"}, p{"p"}, i{"i"}, g{"g"}, n{"n"}, jl{"jl"}, u{"u"}, jb{"jb"}, b{"b"}, ii{"ii"}, ib{"ib"};
    Halide::RVar lane, vector, tile, c, t, kb;
    int lanes = 32;
};

}  // namespace fourfold
