// The named stages of winograd_product and winograd_correlation, as their schedules see them.
#pragma once

#include "Halide.h"

namespace fourfold {

struct WinogradProductStages {
    Halide::Func out;    ///< (k, part, tile, f)
    Halide::Func total;  ///< (k, tile, f), updated over the blocks cb of input channels
    Halide::Func sum;    ///< (k, tile, f, b), updated over the input channels c of block b
    Halide::Var k{"k"}, part{"part"}, tile{"tile"}, f{"f"}, b{"b"};
    Halide::RVar c, cb;
    Halide::Func filters{"filters"}, tiles{"tiles"};  ///< on GPUs: (kk, kb, channel, b, f), output channel kb*16*v + kk; (tile, channel, b, f)
    Halide::Var kk{"kk"}, kb{"kb"}, channel{"channel"};
};

}  // namespace fourfold
