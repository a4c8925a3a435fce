// The named stages of complex_gemm, as its schedules see them.
#pragma once

#include <functional>

#include "Halide.h"

namespace fourfold {

struct ComplexGemmStages {
    Halide::Func out;       ///< (j, n, f), interleaved columns
    Halide::Func combined;  ///< (j, n, f), the complex result, computed at the tile
    Halide::Func sum;       ///< (j, n, f), products with real parts and with imaginary parts, updated over the depth c
    Halide::Var j{"j"}, n{"n"}, f{"f"};
    Halide::RVar c;
    /// Prefetches what out reads of the left operand so many steps of a loop later.
    std::function<void(const Halide::Var &loop, int ahead)> prefetch_x;
};

}  // namespace fourfold
