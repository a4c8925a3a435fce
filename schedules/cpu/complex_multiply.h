#pragma once

#include "generators/complex_multiply.h"

namespace fourfold::cpu {

struct MultiplyTile {
    int r;  ///< planes of x
    int w;  ///< planes of w
    int v;  ///< vectors of frequencies
};

void schedule(ComplexMultiplyStages &stages, MultiplyTile tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
