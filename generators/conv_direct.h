// The named stages of conv_direct, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvDirectStages {
    Halide::Func out;    ///< (j, i, g)
    Halide::Func total;  ///< (j, i, g), updated over the blocks kb
    Halide::Func block;  ///< (j, i, g, b), updated over the taps t and the channels c of block b
    Halide::Var j{"j"}, i{"i"}, g{"g"}, b{"b"};
    Halide::RVar t, c, kb;
};

}  // namespace fourfold
