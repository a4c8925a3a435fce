// The named stages of spectral_product, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct SpectralProductStages {
    Halide::Func out;  ///< (part, f, k, g, n), part 0 real, 1 imaginary
    Halide::Func sum;  ///< (f, k, g, n), a complex Tuple, updated over the input channels c
    Halide::Var part{"part"}, f{"f"}, k{"k"}, g{"g"}, n{"n"};
    Halide::RVar c;
    Halide::Func pairs{"pairs"};  ///< on GPUs: (part, f, channel, g, n), the input
};

}  // namespace fourfold
