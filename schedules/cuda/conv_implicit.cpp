// GPU schedule of conv_implicit: a block is a row of 32 lanes, neighbouring pixels, by w rows of threads, m output channels each; a
// thread holds n pixels, 32 apart, so that every load of x is contiguous over a warp, and filters are read by broadcast. No shared
// memory: Halide 21 keeps accumulators that outlive a chunk loop of a block in local memory, whatever their size.
//
// Registers (ptxas 13.0, sm_80): m=8 n=4 120 of 255, no spills; 32 accumulators of a partial sum and as many of the total, 8 values of
// the filters, 4 of x. A step of a thread is 32 FMAs for 6 loads, 2 of them of 16 bytes.
// m=2 n=4 56: 8 FMAs for 5 loads, one of 8 bytes.
// Evidence of speed: none yet, no GPU was at hand (2026-11-25). Exact results on PoCL.
// What did not work: pixels as j % 32 and j / 32 % n of a split output, whose bounds Halide cannot see are constant: accumulators
// went to global memory. The scatter over lane, vector and tile has exact bounds.
#include "schedules/cuda/conv_implicit.h"

#include "schedules/cuda/wide_loads.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(ConvImplicitStages &s, ImplicitTile tile) {
    Var io("io"), it("it"), ii("ii"), gn("gn");
    // Nothing is left of the undefined part, but on the host it would ask for a host pointer.
    s.out.gpu_single_thread();
    s.out.update()
        .allow_race_conditions()
        .split(s.i, io, ii, tile.m * tile.w, TailStrategy::GuardWithIf)
        .split(ii, it, ii, tile.m, TailStrategy::GuardWithIf)
        .fuse(s.g, s.n, gn)
        .reorder(ii, s.vector, s.lane, it, s.tile, io, gn)
        .gpu_blocks(s.tile, io, gn)
        .gpu_threads(s.lane, it)
        .unroll(ii)
        .unroll(s.vector)
        .never_partition_all();
    for (Func f : {s.total, s.block}) {
        f.bound_extent(s.ii, tile.m).bound_extent(s.ib, 1).reorder(s.ii, s.u, s.jl).unroll(s.ii).unroll(s.u).never_partition_all();
    }
    s.total.compute_at(s.out, s.lane);
    s.total.update().reorder(s.ii, s.u, s.kb).unroll(s.ii).unroll(s.u).never_partition_all();
    s.block.compute_at(s.total, s.kb);
    s.block.update().reorder(s.ii, s.u, s.c, s.t).unroll(s.ii).unroll(s.u).never_partition_all();
    load_wide(s.filters, s.ii, tile.m, LoopLevel(s.block, s.c));
}

}  // namespace fourfold::cuda
