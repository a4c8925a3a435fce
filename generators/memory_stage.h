// The stages that only move and convert data (pad, im2col, pack_filters, place_filters, pack_spectra, crop) hand their
// schedules one output with its innermost variable and, where they have one, a scattering update.
#pragma once

#include "Halide.h"

namespace fourfold {

struct MemoryStages {
    Halide::Func out;
    Halide::Var x{"x"};  ///< the dimension of stride 1
};

}  // namespace fourfold
