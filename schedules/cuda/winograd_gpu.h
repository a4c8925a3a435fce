// GPU schedules of winograd_cut, winograd_pack and winograd_join: both passes of a tile in the registers of one thread, neighbouring
// tiles in neighbouring threads, which makes the points' side of memory contiguous.
#pragma once

#include "generators/winograd_gpu.h"

namespace fourfold::cuda {

inline void schedule_passes(WinogradGpuStages &s, const Halide::LoopLevel &tile, const Halide::LoopLevel &line) {
    using namespace Halide;
    s.last.compute_at(line).store_in(MemoryType::Register);
    s.lines.compute_at(tile).store_in(MemoryType::Register).bound_extent(s.i, s.length).bound_extent(s.j, s.count).reorder(s.i, s.j).unroll(s.i).unroll(s.j);
    s.first.compute_at(s.lines, s.j).store_in(MemoryType::Register);
}

/// Of out(tile, c, fx, fy), tiles a multiple of `lanes`.
inline void schedule_winograd(WinogradGpuStages &s, int lanes, Halide::Var tile, Halide::Var c, Halide::Var fx, Halide::Var fy) {
    using namespace Halide;
    Var block("block"), lane("lane"), ci("ci");
    s.out.split(tile, block, lane, lanes, TailStrategy::RoundUp)
        .split(c, c, ci, 4, TailStrategy::GuardWithIf)
        .reorder(fy, fx, lane, ci, block, c)
        .fuse(block, c, block)
        .gpu_blocks(block)
        .gpu_threads(lane, ci)
        .unroll(fy)
        .unroll(fx)
        .never_partition_all();
    schedule_passes(s, LoopLevel(s.out, lane), LoopLevel(s.out, fx));
}

/// Of out's update over column x and row y of a tile.
inline void schedule_winograd_join(WinogradGpuStages &s, Halide::RVar x, Halide::RVar y, Halide::RVar tile, Halide::Var k) {
    using namespace Halide;
    Var ki("ki");
    RVar block("block"), lane("lane");
    // Nothing is left of the undefined part, but on the host it would ask for a host pointer.
    s.out.gpu_single_thread();
    s.out.update()
        .allow_race_conditions()
        .split(tile, block, lane, 32, TailStrategy::GuardWithIf)
        .split(k, k, ki, 4, TailStrategy::GuardWithIf)
        .reorder(x, y, lane, ki, block, k)
        .gpu_blocks(block, k)
        .gpu_threads(lane, ki)
        .unroll(x)
        .unroll(y)
        .never_partition_all();
    schedule_passes(s, LoopLevel(s.out, lane), LoopLevel(s.out, y));
}

}  // namespace fourfold::cuda
