// The named stages of filter_gradient, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct FilterGradientStages {
    Halide::Func out;  ///< (ct, i, g, z), undefined, then updated over the rows of tiles
    Halide::Func sum;  ///< (ct, ii, io, g, z), channel i = io*m + ii, updated over pixels
    Halide::Var ct{"ct"}, i{"i"}, ii{"ii"}, io{"io"}, g{"g"}, z{"z"};
    Halide::RVar row, tile, q, p;
};

}  // namespace fourfold
