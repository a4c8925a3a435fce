// The named stages of place_filters, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct PlaceFiltersStages {
    Halide::Func out;  ///< (x, y, k): zero, then the taps scattered over (s, r)
    Halide::Var x{"x"}, y{"y"}, k{"k"};
    Halide::RVar s, r;
};

}  // namespace fourfold
