// The named stages of complex_multiply, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ComplexMultiplyStages {
    Halide::Func out;       ///< (j, k, n), interleaved frequencies
    Halide::Func combined;  ///< (j, k, n), the complex result, computed at the tile
    Halide::Func sum;       ///< (j, k, n), products with real parts and with imaginary parts, updated over the depth c
    Halide::Func right;     ///< (j, c, k), w in registers
    Halide::Var j{"j"}, k{"k"}, n{"n"};
    Halide::RVar c;
};

}  // namespace fourfold
