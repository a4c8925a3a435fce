// The named stages of winograd_inverse, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradInverseStages {
    Halide::Func out;      ///< (l, x, tile, y, row)
    Halide::Func line;     ///< (l, y, tile, row), a Tuple: one line of outputs
    Halide::Func columns;  ///< (l, y, fx, tile, row): columns transformed
    Halide::Func column;   ///< (l, fx, tile, row), a Tuple: one column transformed
    Halide::Var l{"l"}, x{"x"}, tile{"tile"}, y{"y"}, row{"row"}, fx{"fx"};
    int m;
};

}  // namespace fourfold
