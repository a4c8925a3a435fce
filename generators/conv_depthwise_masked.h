// The named stages of conv_depthwise_masked, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct ConvDepthwiseMaskedStages {
    Halide::Func out;      ///< (q, p, o, c)
    Halide::Func ordered;  ///< (q, pi, po, o, c): sum, columns as they are stored
    Halide::Func sum;      ///< (a, b, d, u, j, pi, po, o, c): sum j of vector u of pi < m rows of the output, its columns in the order that lane() says
    Halide::Func columns;  ///< (i, u, t, y, c): what tap column t, or pair of them, reads of row y for vector u
    Halide::Var q{"q"}, p{"p"}, o{"o"}, c{"c"};
    Halide::Var a{"a"}, b{"b"}, d{"d"}, u{"u"}, j{"j"}, pi{"pi"}, po{"po"}, i{"i"}, t{"t"}, y{"y"};
    int chains = 1;  ///< sums of a vector, which are added in the end
    Halide::RVar parity, column, row;  ///< of the taps: within a pair of columns, pairs, rows that a tile reads
};

}  // namespace fourfold
