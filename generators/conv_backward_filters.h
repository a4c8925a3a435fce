// The named stages of conv_backward_filters, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvBackwardFiltersStages {
    Halide::Func out;    ///< (u, k, g)
    Halide::Func sum;    ///< (u, k, g), updated over the lanes rl
    Halide::Func lanes;  ///< (l, u, k, g), updated over the vectors of pixels j
    Halide::Var u{"u"}, k{"k"}, g{"g"}, l{"l"};
    Halide::RVar rl, j;
    int vector;  ///< pixels side by side
};

}  // namespace fourfold
