// The named stages of fft_stage, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct FftStageStages {
    Halide::Func out;  ///< undefined, then updated over part, r and butterfly t
    Halide::Func dft;  ///< (t, plane), a Tuple of the R complex results, re then im of each
    Halide::Var t{"t"}, plane{"plane"};
    Halide::RVar r_part, r_r, r_t;
};

}  // namespace fourfold
