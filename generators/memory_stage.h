// The named stages of im2col, pack_filters, pack_spectra, crop and lane_correlation, which have no Func but their output.
#pragma once

#include "Halide.h"

namespace fourfold {

struct MemoryStages {
    Halide::Func out;
    Halide::Var x{"x"};  ///< the dimension of stride 1
};

}  // namespace fourfold
