// GPU schedules of winograd_cut, winograd_pack, winograd_join, winograd_gradient_pack and winograd_gradient_join: both passes of a tile in the
// registers of one thread. Neighbouring threads have neighbouring tiles, or channels where the points' side of memory has those innermost:
// that side is contiguous.
//
// Registers (ptxas 13.0, sm_80): cut m=4 48 either way, gradient_pack m=4 40, gradient_join m=4 56, no spills.
// Evidence of speed: none yet, no GPU was at hand (2026-11-30). Results within the error limit on PoCL.
#pragma once

#include "generators/winograd_gpu.h"

namespace fourfold::cuda {

inline void schedule_passes(WinogradGpuStages &s, const Halide::LoopLevel &tile, const Halide::LoopLevel &line) {
    using namespace Halide;
    s.last.compute_at(line).store_in(MemoryType::Register);
    s.lines.compute_at(tile).store_in(MemoryType::Register).bound_extent(s.i, s.length).bound_extent(s.j, s.count).reorder(s.i, s.j).unroll(s.i).unroll(s.j);
    s.first.compute_at(s.lines, s.j).store_in(MemoryType::Register);
}

/// Of out over `tile` in neighbouring threads, where `tail` rounds up a multiple of `lanes`, over c, and over the lines fx of the second pass
/// with their points fy.
inline void schedule_winograd(WinogradGpuStages &s, int lanes, Halide::TailStrategy tail, Halide::Var tile, Halide::Var c, Halide::Var fx, Halide::Var fy) {
    using namespace Halide;
    Var block("block"), lane("lane"), ci("ci");
    s.out.split(tile, block, lane, lanes, tail)
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

/// The sums that a line of the first pass reads, after schedule_winograd: all of its points are summed at once.
inline void schedule_sum(WinogradGpuStages &s, const Halide::Var &point, const Halide::RVar &over) {
    s.sum.compute_at(s.lines, s.j).store_in(Halide::MemoryType::Register).bound_extent(point, s.count).unroll(point).never_partition_all();
    s.sum.update().reorder(point, over).unroll(point).never_partition_all();
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
