// The named stages of gemm, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct GemmStages {
    Halide::Func out;    ///< (j, i)
    Halide::Func total;  ///< (j, i), updated over the blocks kb
    Halide::Func block;  ///< (j, i, b), updated over k
    Halide::Var j{"j"}, i{"i"}, b{"b"};
    Halide::RVar k, kb;
};

}  // namespace fourfold
