// The named stages of conv_depthwise_strided_gradient, as its schedules see them.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseStridedGradientStages {
    Halide::Func out;    ///< (b, a, c)
    Halide::Func block;  ///< (v, q, e, pi, po, c): the columns of a pair side by side, the rows of a pair
    Halide::Func sum;    ///< (dx, q, dy, pi, po, c): by the parities of the taps
    Halide::Func image;  ///< (x, y, c): gy between zeros
    Halide::Var b{"b"}, a{"a"}, c{"c"};
    Halide::Var v{"v"}, q{"q"}, e{"e"}, pi{"pi"}, po{"po"}, dx{"dx"}, dy{"dy"}, x{"x"}, y{"y"};
    /// An update of sum: pairs of taps, or the last one of an odd number, along each axis.
    struct Update {
        Halide::RVar column, row;
        bool both_columns, both_rows;
    };
    std::vector<Update> updates;
    std::vector<Halide::RVar> rows;  ///< of the updates of image: above gy, within, below
};

}  // namespace fourfold
