// GPU schedule of filter_gradient: a thread holds one channel and tap of m output channels. gy is the same for all lanes of a warp, one
// broadcast for each of m multiplications; lanes read neighbouring taps of x, whose lines stay in L1 from pixel to pixel.
//
// With few channels and taps, depthwise layers for one, most of such a warp would idle: there (l=32) a warp has a channel and tap, and its lanes
// neighbouring pixels. Their sums are folded in halves. On CUDA by warp shuffles: a Func between the loops over warps and lanes is striped
// over the lanes' registers, and reading another lane's is shfl.sync. OpenCL refuses gpu_lanes; its twin has the same Funcs in shared memory.
// Registers (ptxas 13.0, sm_80): m=1 l=32 32 of 255, m=4 l=32 48, no spills.
// Evidence of speed: none yet, no GPU was at hand (2026-11-30). Exact results of the twin on PoCL.
// What did not work: folding down to two lanes and one. Halide 21 takes a store under `lane < 2` for one of lane 0 alone and reads lane 0
// twice, without a word; so the last four lanes are added at once. Without align_storage, m > 1 ends in "Access pattern for fold4 does not
// meet the requirements for its store_at location".
#include "schedules/cuda/filter_gradient.h"

using namespace Halide;

namespace fourfold::cuda {

namespace {

void schedule_out(FilterGradientStages &s, int sums, const Var &thread, const Var &block) {
    Var to("to");
    // The undefined stage leaves no code, but must not lie on the host.
    s.out.gpu_tile(s.ct, to, thread, 64, TailStrategy::GuardWithIf);
    s.out.update()
        .allow_race_conditions()
        .split(s.ct, to, thread, sums, TailStrategy::GuardWithIf)
        .fuse(to, s.g, block)
        .fuse(block, s.z, block)
        .reorder(s.row, thread, block, s.tile)
        .gpu_blocks(block, s.tile)
        .gpu_threads(thread)
        .unroll(s.row)
        .never_partition_all();
}

/// A warp to a channel and tap, four to a block.
void schedule_warps(FilterGradientStages &s, FilterGradientTile tile, const Target &target) {
    Var warp("warp"), block("block");
    schedule_out(s, 4, warp, block);
    int lanes = tile.lanes;
    for (Func &f : s.folds) {
        f.bound_extent(s.lane, lanes).bound_extent(s.ii, tile.m).reorder(s.ii, s.lane, s.ct).unroll(s.ii).never_partition_all();
        if (target.has_feature(Target::CUDA)) {
            for (const Var &v : {s.ct, s.io, s.g, s.z}) {
                f.bound_extent(v, 1);
            }
            f.compute_at(s.out, warp).store_in(MemoryType::Register).align_storage(s.lane, tile.lanes).gpu_lanes(s.lane);
        } else {
            f.compute_at(s.out, block).store_in(MemoryType::GPUShared).gpu_threads(s.lane, s.ct);
        }
        lanes /= 2;
    }
    s.sum.compute_at(s.folds[0], s.lane).store_in(MemoryType::Register).bound_extent(s.ii, tile.m).reorder(s.ii, s.lane, s.ct).unroll(s.ii).never_partition_all();
    s.sum.update().reorder(s.ii, s.q, s.p, s.lane, s.ct).unroll(s.ii).never_partition_all();
}

}  // namespace

void schedule(FilterGradientStages &s, FilterGradientTile tile, const Target &target) {
    if (tile.lanes > 1) {
        schedule_warps(s, tile, target);
        return;
    }
    Var ti("ti"), block("block");
    schedule_out(s, 64, ti, block);
    s.sum.compute_at(s.out, ti).bound_extent(s.ii, tile.m).reorder(s.ii, s.ct).unroll(s.ii).never_partition_all();
    s.sum.update().reorder(s.ii, s.q, s.p).unroll(s.ii).never_partition_all();
}

}  // namespace fourfold::cuda
