// The named stages of conv_direct_oc, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvDirectOcStages {
    Halide::Func out;    ///< (k, j)
    Halide::Func total;  ///< (k, j), updated over the blocks kb
    Halide::Func block;  ///< (k, j, b), updated over the terms d of block b
    Halide::Func at;     ///< (j): where pixel j reads
    Halide::Var k{"k"}, j{"j"}, b{"b"};
    Halide::RVar d, kb;
};

}  // namespace fourfold
