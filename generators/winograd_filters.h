// The named stages of winograd_filters, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradFiltersStages {
    Halide::Func out;     ///< (k, part, c, fy, fx)
    Halide::Func column;  ///< (k, fx, c), a Tuple: one column transformed
    Halide::Func lines;   ///< (k, fx, r, c): the filter's rows transformed
    Halide::Func line;    ///< (k, r, c), a Tuple: one row transformed
    Halide::Var k{"k"}, part{"part"}, c{"c"}, fy{"fy"}, fx{"fx"}, r{"r"};
    int t;
};

}  // namespace fourfold
