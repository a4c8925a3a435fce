// The named stages of conv_depthwise_nhwc, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseNhwcStages {
    Halide::Func out;  ///< (c, q, p)
    Halide::Func sum;  ///< (c, q, p), updated over the taps
    Halide::Func at;   ///< (q): which pixel of a row a sum reads
    Halide::Var c{"c"}, q{"q"}, p{"p"};
    Halide::RVar s, r;
};

}  // namespace fourfold
