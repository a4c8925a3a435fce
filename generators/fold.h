// The named stages of fold, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct FoldStages {
    Halide::Func out;    ///< (x, y, c)
    Halide::Func total;  ///< (x, y, c), an update over rows
    Halide::Func line;   ///< (x, y, c, u): the sum of filter row u, an update over taps
    Halide::Var x{"x"}, y{"y"}, c{"c"}, u{"u"};
    Halide::RVar rows, taps;
};

}  // namespace fourfold
