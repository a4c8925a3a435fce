// The named stages of winograd_cut, winograd_join, winograd_pack, winograd_gradient_pack and winograd_gradient_join, as their schedules see
// them: Winograd's transforms where a thread has a tile (or a filter) to itself (winograd_passes.h).
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradGpuStages {
    Halide::Func out;    ///< what is written
    Halide::Func last;   ///< (i, ...), a Tuple: one line of the second pass
    Halide::Func lines;  ///< (i, j, ...): the first pass' lines, j of them
    Halide::Func first;  ///< (j, ...), a Tuple: one line of the first pass
    Halide::Func sum{"sum"};  ///< (point of a line, j, ...): what the first pass reads, where that is a sum
    Halide::Var i{"i"}, j{"j"};
    int length = 0, count = 0;  ///< of a line of the first pass, and how many there are
};

}  // namespace fourfold
