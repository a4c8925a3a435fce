// The named stages of conv_implicit, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvImplicitStages {
    Halide::Func out;    ///< (q, p, i, g, n), undefined, then updated over lane, vector and tile
    Halide::Func total;  ///< (jl, u, i, jb, g, n), updated over the blocks kb; pixel (jb*vectors + u)*lanes + jl
    Halide::Func block;  ///< (jl, u, i, jb, g, n, b), updated over the channels c and taps t of block b
    Halide::Var q{"q"}, p{"p"}, i{"i"}, g{"g"}, n{"n"}, jl{"jl"}, u{"u"}, jb{"jb"}, b{"b"};
    Halide::RVar lane, vector, tile, c, t, kb;
    int lanes = 32;
};

}  // namespace fourfold
