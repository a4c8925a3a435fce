// The named stages of conv_depthwise_small, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseSmallStages {
    Halide::Func out;     ///< (q, p, c)
    Halide::Func rows;    ///< (q, p, c): a row of sums, transposed back
    Halide::Func sum;     ///< (l, q, p, b), updated over the image's columns k_x and rows k_y
    Halide::Func image;   ///< (l, x, y, b): channels innermost
    Halide::Func planes;  ///< (x, y, l, b): read along rows
    Halide::Var q{"q"}, p{"p"}, c{"c"}, l{"l"}, b{"b"}, x{"x"}, y{"y"};
    Halide::RVar k_x, k_y;
};

}  // namespace fourfold
