// The named stages of pad, as its schedules see them.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold {

struct PadStages {
    Halide::Func out;  ///< (x, y, p)
    Halide::Var x{"x"}, y{"y"}, p{"p"};
    // Constant mode: out is undefined, then updated in this order.
    Halide::Func pair;                   ///< (u, y, p): the image between constants, for step 2; defined where columns are dense
    Halide::Var u{"u"};                  ///< the column of pair, in the image's steps
    std::vector<Halide::RVar> constant;  ///< rows of the updates that only fill
    std::vector<Halide::RVar> dense;     ///< rows of the updates for steps 1 and 2; none where columns are not dense
    Halide::RVar image_x, image_y;       ///< of the copy for other steps
};

}  // namespace fourfold
