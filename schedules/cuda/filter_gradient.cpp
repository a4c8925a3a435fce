// GPU schedule of filter_gradient: a thread holds one channel and tap of m output channels. gy is the same for all lanes of a warp, one
// broadcast for each of m multiplications; lanes read neighbouring taps of x, whose lines stay in L1 from pixel to pixel.
#include "schedules/cuda/filter_gradient.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(FilterGradientStages &s, int m) {
    Var to("to"), ti("ti"), block("block");
    // The undefined stage leaves no code, but must not lie on the host.
    s.out.gpu_tile(s.ct, to, ti, 64, TailStrategy::GuardWithIf);
    s.out.update()
        .allow_race_conditions()
        .split(s.ct, to, ti, 64, TailStrategy::GuardWithIf)
        .fuse(to, s.g, block)
        .fuse(block, s.z, block)
        .reorder(s.row, ti, block, s.tile)
        .gpu_blocks(block, s.tile)
        .gpu_threads(ti)
        .unroll(s.row)
        .never_partition_all();
    s.sum.compute_at(s.out, ti).bound_extent(s.ii, m).reorder(s.ii, s.ct).unroll(s.ii).never_partition_all();
    s.sum.update().reorder(s.ii, s.q, s.p).unroll(s.ii).never_partition_all();
}

}  // namespace fourfold::cuda
