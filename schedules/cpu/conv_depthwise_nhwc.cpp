#include "schedules/cpu/conv_depthwise_nhwc.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseNhwcStages &s, DepthwisePixelTile tile, const Expr &use_residual, const Target &) {
    const int width = 16 * tile.n;
    Var co("co"), ci("ci"), qo("qo"), qi("qi");
    s.out.split(s.c, co, ci, width, tile.mask ? TailStrategy::PredicateStores : TailStrategy::RoundUp)
        .split(s.q, qo, qi, tile.m, TailStrategy::GuardWithIf)
        .reorder(ci, qi, qo, s.p, co)
        .vectorize(ci)
        .unroll(qi)
        .never_partition_all();
    s.at.compute_at(s.out, qo).bound_extent(s.q, tile.m).unroll(s.q);
    s.sum.compute_at(s.out, qo)
        .bound_extent(s.c, width)
        .bound_extent(s.q, tile.m)
        .vectorize(s.c)
        .unroll(s.q);
    s.sum.update().reorder(s.c, s.q, s.s, s.r).vectorize(s.c).unroll(s.q);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
