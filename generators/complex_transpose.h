// The named stages of complex_transpose, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ComplexTransposeStages {
    Halide::Func out, turned;  ///< (q, p, o)
    Halide::Func block;        ///< (p, q, o)
    Halide::Var p{"p"}, q{"q"}, o{"o"};
};

}  // namespace fourfold
