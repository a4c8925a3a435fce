// The named stages of pack_tile_filters, as its schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct PackTileFiltersStages {
    Halide::Func out;     ///< (k, part, c, ., .)
    Halide::Func values;  ///< (c, k, part, ., .): the same, read along channels
    Halide::Var k, part, c;
};

}  // namespace fourfold
