// The named stages of pad, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct PadStages {
    Halide::Func out;  ///< (x, y, p); in constant mode a fill, updated over the image's columns and rows
    Halide::Var x{"x"}, y{"y"}, p{"p"};
    Halide::RVar image_x, image_y;  ///< defined in constant mode only
};

}  // namespace fourfold
