// The named stages of im2row, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct Im2rowStages {
    Halide::Func out;      ///< (u, q, p)
    Halide::Func patches;  ///< (q, p, u): read along rows
    Halide::Var u{"u"}, q{"q"}, p{"p"};
};

}  // namespace fourfold
