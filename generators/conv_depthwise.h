// The named stages of conv_depthwise, as its schedules see them.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseStages {
    Halide::Func out;      ///< (q, p, o, c)
    Halide::Func sum;      ///< (q, pi, po, o, c): of pi < m rows of the output that share the rows they read; one update a run
    Halide::Func image;    ///< (x, y, c): x between zeros, or x itself
    Halide::Var q{"q"}, p{"p"}, o{"o"}, c{"c"}, pi{"pi"}, po{"po"}, x{"x"}, y{"y"};
    struct Run {
        Halide::RVar column, row;  ///< taps along a row, rows that a tile reads
        bool unrolled_rows;
        int filter;  ///< height and width, 0 where they are known at run time only
    };
    std::vector<Halide::RVar> rows;  ///< of the updates of image: above x, within, below
    std::vector<Run> runs;
};

}  // namespace fourfold
