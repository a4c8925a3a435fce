// The named stages of winograd_filters, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradFiltersStages {
    Halide::Func out;     ///< (ki, part, c, ko, fy, fx)
    Halide::Func column;  ///< (ki, fx, c, ko), a Tuple: one column transformed
    Halide::Func lines;   ///< (ki, fx, r, c, ko): the filter's rows transformed
    Halide::Func line;    ///< (ki, r, c, ko), a Tuple: one row transformed
    Halide::Var ki{"ki"}, part{"part"}, c{"c"}, ko{"ko"}, fy{"fy"}, fx{"fx"}, r{"r"};
    int t;
};

}  // namespace fourfold
