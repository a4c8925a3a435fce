// GPU schedule of conv_implicit.
#include "schedules/cuda/conv_implicit.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(ConvImplicitStages &s, ImplicitTile tile, const Expr &one_block) {
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
        f.bound_extent(s.i, tile.m).reorder(s.i, s.u, s.jl).unroll(s.i).unroll(s.u).never_partition_all();
    }
    s.total.compute_at(s.out, s.lane);
    s.total.update().reorder(s.i, s.u, s.kb).unroll(s.i).unroll(s.u).never_partition_all();
    s.block.compute_at(s.total, s.kb);
    s.block.update().reorder(s.i, s.u, s.c, s.t).unroll(s.i).unroll(s.u).never_partition_all();
    (void)one_block;
}

}  // namespace fourfold::cuda
