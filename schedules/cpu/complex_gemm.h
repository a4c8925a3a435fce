#pragma once

#include "generators/complex_gemm.h"

namespace fourfold::cpu {

struct ComplexTile {
    int r;  ///< rows: values of x broadcast
    int w;  ///< complex columns
};

void schedule(ComplexGemmStages &stages, ComplexTile tile, const Halide::Expr &accumulate, const Halide::Target &target);

}  // namespace fourfold::cpu
