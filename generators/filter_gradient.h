// The named stages of filter_gradient, as its schedules see them.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold {

struct FilterGradientStages {
    Halide::Func out;  ///< (ct, i, g, z), undefined, then updated over the rows of tiles
    Halide::Func sum;  ///< (ct, ii, io, g, z), channel i = io*m + ii, updated over pixels; lane first where there are several
    std::vector<Halide::Func> folds;  ///< sum, then each the halves of the one before added, down to four lanes; empty with one lane
    Halide::Var lane{"lane"}, ct{"ct"}, i{"i"}, ii{"ii"}, io{"io"}, g{"g"}, z{"z"};
    Halide::RVar row, tile, q, p;
};

}  // namespace fourfold
