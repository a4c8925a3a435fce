// GPU schedule of conv_plane: a block computes 32 x (n*w) pixels of m output channels from a tile of the image, halo included, that its
// threads put into shared memory first. Lanes are neighbouring pixels, so that loads of the tile meet 32 banks (with stride 2, 16);
// a thread holds n rows of them, n*m FMAs for n loads of the tile and m of the filters, which all the block reads.
//
// The tile has (31*s1 + (f1 - 1)*d1 + 1) * ((n*w - 1)*s0 + (f0 - 1)*d0 + 1) floats, 8.3 KB for 15x15 filters, which a plan keeps within what
// the device has (PlaneStage). Its extents do not depend on the block: otherwise Halide looks for the largest in a loop over all blocks on the host.
// Registers (ptxas 13.0, sm_80): m=1 40 of 255, m=4 71, no spills.
// Evidence of speed: none yet, no GPU was at hand (2026-11-30). Exact results on PoCL.
#include "schedules/cuda/conv_plane.h"

#include "schedules/cuda/wide_loads.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(ConvPlaneStages &s, PlaneTile tile) {
    Var io("io"), ii("ii"), gn("gn"), xo("xo"), xi("xi"), yo("yo"), yi("yi");
    RVar block("block");
    // Nothing is left of the undefined part, but on the host it would ask for a host pointer.
    s.out.gpu_single_thread();
    s.out.update()
        .allow_race_conditions()
        .split(s.i, io, ii, tile.m, TailStrategy::GuardWithIf)
        .fuse(s.g, s.n, gn)
        .reorder(ii, s.u, s.lane, s.thread, s.across, s.down, io, gn)
        .fuse(s.across, s.down, block)
        .gpu_blocks(block, io, gn)
        .gpu_threads(s.lane, s.thread)
        .unroll(ii)
        .unroll(s.u)
        .never_partition_all();
    for (Func f : {s.total, s.row}) {
        f.bound_extent(s.jr, tile.n).bound_extent(s.ii, tile.m).bound_extent(s.ib, 1).reorder(s.ii, s.jr, s.jl).unroll(s.ii).unroll(s.jr).never_partition_all();
    }
    s.total.compute_at(s.out, s.lane);
    s.total.update().reorder(s.ii, s.jr, s.ky).unroll(s.ii).unroll(s.jr).never_partition_all();
    s.row.compute_at(s.total, s.ky);
    s.row.update().reorder(s.ii, s.jr, s.kx).unroll(s.ii).unroll(s.jr).never_partition_all();
    load_wide(s.filters, s.ii, tile.m, LoopLevel(s.row, s.kx));
    s.tile.compute_at(s.out, block)
        .store_in(MemoryType::GPUShared)
        .split(s.column, xo, xi, 32, TailStrategy::GuardWithIf)
        .split(s.line, yo, yi, tile.w, TailStrategy::GuardWithIf)
        .reorder(xi, yi, xo, yo)
        .gpu_threads(xi, yi)
        .never_partition_all();
}

}  // namespace fourfold::cuda
