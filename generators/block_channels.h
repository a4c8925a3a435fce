// The named stages of block_channels and unblock_channels, as their schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct BlockChannelsStages {
    Halide::Func out;    ///< (l, x, y)
    Halide::Func plane;  ///< (x, y, l): the input, read along rows
    Halide::Var l{"l"}, x{"x"}, y{"y"};
};

struct UnblockChannelsStages {
    Halide::Func out;      ///< (x, y, l)
    Halide::Func plane;    ///< (x, y, l): transposed
    Halide::Func blocked;  ///< (l, x, y): the input, read along channels
    Halide::Var x{"x"}, y{"y"}, l{"l"};
};

}  // namespace fourfold
