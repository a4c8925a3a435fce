// CPU schedule of conv_depthwise_small: 16 planes are transposed to channels innermost, 8 columns of a row of sums stay in
// registers through the whole reduction, and the row is transposed back and finished.
//
// Registers: 8 sums and a vector of the image; the filters come from memory, one aligned load an FMA. On AVX2 two registers
// make a vector of 16 channels: 16 sums, some of them spilled.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20, FMA peak measured in the same run at 277 GFLOP/s):
//   b2 ic1024 i7 f13 p6 g1024  0.078 ms  (conv_direct between pad and crop 0.95, conv_depthwise f=13 0.375), transpositions
//                                        included; 151 % of peak, counting the taps that never meet the image
//   b1 ic1024 i7 f3 p1 g1024   0.021 ms
#include "schedules/cpu/conv_depthwise_small.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseSmallStages &s, const Expr &use_residual, const Target &) {
    Var qo("qo"), qi("qi"), co("co"), ci("ci"), lo("lo"), li("li");
    s.out.split(s.q, qo, qi, 8, TailStrategy::PredicateStores)
        .split(s.c, co, ci, 16, TailStrategy::PredicateStores)
        .reorder(qi, ci, qo, s.p, co)
        .vectorize(qi)
        .unroll(ci)
        .never_partition_all();
    s.rows.compute_at(s.out, qo)
        .bound_extent(s.q, 8)
        .bound_extent(s.c, 16)
        .split(s.c, lo, li, 8)
        .reorder(s.q, li, lo)
        .vectorize(s.q)
        .vectorize(li)
        .unroll(lo);
    s.sum.compute_at(s.out, qo)
        .bound_extent(s.q, 8)
        .vectorize(s.l)
        .unroll(s.q);
    s.sum.bound_extent(s.l, 16);
    s.sum.update().reorder(s.l, s.q, s.k_x, s.k_y).vectorize(s.l).unroll(s.q);
    s.image.compute_at(s.out, co)
        .bound_extent(s.l, 16)
        .bound_extent(s.x, 8)
        .reorder(s.l, s.x, s.y)
        .vectorize(s.l)
        .vectorize(s.x);
    s.planes.compute_at(s.image, s.y).bound_extent(s.x, 8).bound_extent(s.l, 16).vectorize(s.x).unroll(s.l);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
