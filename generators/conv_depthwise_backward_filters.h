// The named stages of conv_depthwise_backward_filters, as its schedules see them.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseBackwardFiltersStages {
    Halide::Func out;    ///< (s, r, c)
    Halide::Func sum;    ///< (si, ri, so, ro, c): of the lanes
    Halide::Func lanes;  ///< (l, si, ri, so, ro, c): a register tile of taps for each lane
    Halide::Func grad;   ///< (l, i, qo, po, c): the vectors of gy that a step reads
    Halide::Func image;  ///< (x, y, c): x between zeros
    Halide::Var s{"s"}, r{"r"}, c{"c"}, si{"si"}, ri{"ri"}, so{"so"}, ro{"ro"}, l{"l"}, i{"i"}, qo{"qo"}, po{"po"}, x{"x"}, y{"y"};
    Halide::RVar lane, row, vectors, rows;  ///< of sum; of lanes: rows of a step, vectors of a row, steps
    std::vector<Halide::RVar> copied;       ///< rows of the updates of image: above x, within, below
    int vector;                             ///< lanes
};

}  // namespace fourfold
