// GPU schedule of winograd_product: tiles are the innermost dimension of both sides, 32*r to a warp; a step of a thread loads r values
// of a channel's tiles together and 16*v of the filters, by fours, which all its warp reads, for 16*v*r FMAs. Four warps of a block take
// neighbouring blocks of output channels. Tiles are whole warps: the caller rounds their number up.
#include "schedules/cuda/winograd_product.h"

#include "schedules/cuda/wide_loads.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule_winograd_product(WinogradProductStages &s, int r, int v) {
    const int width = 16 * v;
    Var ko("ko"), kw("kw"), ki("ki"), to("to"), lane("lane"), ti("ti"), block("block");
    s.out.bound(s.part, 0, 1)
        .split(s.k, ko, ki, 4 * width, TailStrategy::GuardWithIf)
        .split(ki, kw, ki, width, TailStrategy::GuardWithIf)
        .split(s.tile, to, ti, 32 * r, TailStrategy::RoundUp)
        .split(ti, lane, ti, r, TailStrategy::RoundUp)
        .reorder(s.part, ki, ti, lane, kw, ko, to, s.f)
        .fuse(ko, to, block)
        .fuse(block, s.f, block)
        .gpu_blocks(block)
        .gpu_threads(lane, kw)
        .unroll(ki)
        .unroll(ti)
        .never_partition_all();
    const auto in_registers = [&](Func f, const LoopLevel &level) {
        f.compute_at(level).store_in(MemoryType::Register).bound_extent(s.k, width).bound_extent(s.tile, r).bound_extent(s.f, 1).unroll(s.k).unroll(s.tile);
    };
    in_registers(s.total, LoopLevel(s.out, lane));
    s.total.update().reorder(s.k, s.tile, s.cb).unroll(s.k).unroll(s.tile);
    in_registers(s.sum, LoopLevel(s.total, s.cb));
    s.sum.update().reorder(s.k, s.tile, s.c).unroll(s.k).unroll(s.tile);
    load_wide(s.filters, s.kk, width, LoopLevel(s.sum, s.c));
    load_wide(s.tiles, s.tile, r, LoopLevel(s.sum, s.c));
}

}  // namespace fourfold::cuda
