// The named stages of winograd_inverse, winograd_inverse_2x2 and winograd_filters_gradient, as their schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradInverseStages {
    Halide::Func out;      ///< (l, x, tile, y, row)
    Halide::Func line;     ///< (l, y, tile, row), a Tuple: one line of outputs
    Halide::Func columns;  ///< (l, y, fx, tile, row): columns transformed
    Halide::Func column;   ///< (l, fx, tile, row), a Tuple: one column transformed
    Halide::Var l{"l"}, x{"x"}, tile{"tile"}, y{"y"}, row{"row"}, fx{"fx"};
    int m;  ///< rows and columns that come out
    int t;  ///< and of a transform
};

}  // namespace fourfold
