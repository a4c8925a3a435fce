// CPU schedule of conv_depthwise_nhwc: m pixels x n blocks of 16 channels of sums in registers, through all taps.
//
// Registers (AVX-512): m*n sums, n vectors of filters, and one of x: m=8 n=3 uses 24 + 3 + 1 of 32. The m pixels of a tile keep
// their distances in general registers, so that stride and dilation are strides of memory and only one address moves with a
// tap. A vector of x is loaded once for each tap: with 512-bit loads as frequent as FMAs, reuse across taps gains nothing.
// Blocks of channels are the outermost loop: the rows that a block's taps read stay in L1 or L2.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20, FMA peak measured in the same run at 205-235 GFLOP/s, a busy machine), the
// kernel alone on padded images, m=8 n=3 mask=0:
//   b1 ic144 i56 f3 g144      0.066-0.075 ms  109-124 GFLOP/s  (3.6 MB moved)
//   b1 ic144 i56 f3 s2 g144   0.026 ms         79 GFLOP/s
//   b4 ic96 i56 f7 g96        0.73 ms         163 GFLOP/s  69 %
//   b4 ic192 i28 f13 g192     1.38 ms         148 GFLOP/s  63 % (a tile's 13 rows are beyond L1)
// What did not help: taps unrolled for 3x3 (behind the guarded stores LLVM sinks the FMAs and spills: 0.22 ms; under predicated
// stores 0.10); predicated stores for the last pixels (0.086 instead of 0.070: the masks are computed lane by lane); masks on
// all loads (0.080), so that only the channels which fill no tile have them; blocks of channels innermost (0.076).
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
