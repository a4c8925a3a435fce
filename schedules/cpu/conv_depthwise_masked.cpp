// CPU schedule of conv_depthwise_masked: m rows x n vectors of sums in registers, plane after plane.
//
// Registers (AVX2, 16): f=7 m=7 n=1 keeps 7 sums, the 7 values of a column of the filter and a vector of the image: 49 FMAs without a
// spill for 13 + 7 loads. f=3 m=1 n=1 keeps a sum for each row of the filter and what it can of 9 values; the rest come from the stack.
// Edges: both loops of tiles are cut in three, of which only the outer parts load under masks; a row beyond the image is ANDed away.
// Partial vectors are stored in halves, as AVX2's masked store is microcode (whole_stores.h).
//
// Evidence (AMD EPYC, Zen 4 without AVX-512, AVX2, one thread, 2026-12-01, FMA peak 84-92 GFLOP/s, interleaved with what was fastest before, all of it
// conv_depthwise with pad=1; builds on the other core, least of 4 rounds):
//   b1 ic144 i56 f3 s2 p1 g144    f=3 m=1 n=1 stride=2  0.104-0.126 ms (0.162)    b1 ic144 i56 f3 p1 g144   f=3 m=1 n=1  0.195 ms (0.205)
//   b1 ic24 i56 f3 s2 p1 g24      f=3 m=1 n=1 stride=2  0.0155 ms (0.026)         b4 ic96 i56 f7 p3 g96     f=7 m=7 n=1  1.84 ms  (2.36)
//   b1 ic96 i112 f3 s2 p1 g96     f=3 m=1 n=1 stride=2  0.237 ms  (0.367)         b1 ic1 i1080x1920 f7 p3   f=7 m=8 n=1  2.65 ms  (3.71; m=7 2.89)
//   b1 ic576 i14 f3 s2 p1 g576    f=3 m=1 n=1 stride=2  0.046 ms  (0.069)         b1 ic1 i1080x1920 f3 s2 p1 f=3 m=1 n=1 stride=2  0.48 ms (0.69)
// Planes that are mostly edges stay with the copy: b1 ic576 i14 f3 p1 0.110 ms (0.090), b1 ic384 i14 f7 p3 0.228 (0.197); at 28 columns
// of 7x7 the two are equal (0.315, 0.301).
// What did not help: more rows of 3x3 (m=2 0.120, m=4 0.154 ms for the first: LLVM spills), two vectors (n=2 0.115), one sum a vector
// (0.0163 ms for the second, 0.269 for the third); tiles along rows first (0.123, m=2; of 7x7 tiles down columns first lose: 3.1 ms, m=8);
// 5x5 with stride 2 (0.163 ms, conv_depthwise 0.162, all taps unrolled 0.243), 7x7 with stride 2 (0.272, 0.291), 5x5 (0.248; conv_depthwise m=8 n=1 0.252).
// AVX-512 (Sapphire Rapids, the same day, one run of all variants in turns, a build on the other core), stride 2, of 3x3, ms, this one | conv_depthwise:
// 64 channels of 112x112 0.285 | 0.286, 144 of 56x56 0.116 | 0.146, 192 of 28x28 0.037 | 0.044, but 384 of 14x14, whose rows fill 7 lanes of 16,
// 0.064 | 0.045. 7x7, least of two such runs beside tests, f=7 m=7 n=2 | conv_depthwise's best: 1080p with zeros around 2.5 | 3.2, without 2.5 | 2.8,
// three planes of 512x512 0.88 | 0.93, 64 of 112x112 11.8 | 10.9 and 96 of 56x56 equal, where it is not chosen. What did not help there: n=1 with m=7 and 8
// (2.6 ms for the first), m=4 n=2 (2.7), 3x3 with stride 1 (0.29 | 0.20 ms for 144 planes of 56x56); 5x5 with m=4 n=1 takes 1.7 | 1.9 ms for 1080p but
// 0.25 | 0.17 for 240 planes of 28x28, where it was predicted to win.
#include "schedules/cpu/conv_depthwise_masked.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseMaskedStages &s, MaskedDepthwiseTile tile, const Expr &use_residual, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    const bool pairs = tile.stride == 2, unrolled = tile.f <= 3;
    Var qo("qo"), qi("qi"), qu("qu"), ql("ql"), qa("qa"), qb("qb"), qd("qd"), po("po"), pi("pi"), io("io"), ii("ii");
    // Small filters go down a column of tiles, whose masks and branches are the same for all; see the evidence.
    const Var inner = unrolled ? po : qo, outer = unrolled ? qo : po;
    // Of the three one may be a single lane.
    const auto vectorize_lanes = [&](auto &&stage, const Var &first, const Var &second, const Var &third) {
        stage.vectorize(first);
        for (const Var &var : {second, third}) {
            const bool single = !pairs || (vec == 4 && (var.name() == s.d.name() || var.name() == qd.name()));
            single ? stage.unroll(var) : stage.vectorize(var);
        }
    };
    s.out.split(s.q, qo, qi, vec * tile.n, TailStrategy::PredicateStores)
        .split(s.p, po, pi, tile.m, TailStrategy::PredicateStores)
        .reorder(qi, pi, inner, outer, s.o, s.c)
        .vectorize(qi)
        .unroll(pi)
        .never_partition_all()
        .partition(qo, Partition::Always)
        .partition(po, Partition::Always);
    if (pairs) {
        s.ordered.compute_at(s.out, inner)
            .bound_extent(s.q, vec * tile.n)
            .bound_extent(s.pi, tile.m)
            .bound_extent(s.po, 1)
            .split(s.q, qu, ql, vec, TailStrategy::RoundUp)
            .split(ql, qb, ql, vec / 2, TailStrategy::RoundUp)
            .split(ql, qd, qa, 2, TailStrategy::RoundUp)
            .unroll(qu)
            .unroll(s.pi)
            .never_partition_all();
        vectorize_lanes(s.ordered, qa, qd, qb);
    }

    s.sum.compute_at(s.out, inner)
        .bound(s.a, 0, pairs ? 2 : vec)
        .bound(s.b, 0, pairs ? 2 : 1)
        .bound(s.d, 0, pairs ? vec / 4 : 1)
        .bound_extent(s.u, tile.n)
        .bound(s.j, 0, s.chains)
        .bound_extent(s.pi, tile.m)
        .bound_extent(s.po, 1)
        .unroll(s.u)
        .unroll(s.j)
        .unroll(s.pi)
        .never_partition_all();
    vectorize_lanes(s.sum, s.a, s.b, s.d);
    Stage taps = s.sum.update();
    if (unrolled) {
        taps.reorder(s.a, s.b, s.d, s.u, s.j, s.pi, s.parity, s.column, s.row, s.po).unroll(s.column);
    } else {
        taps.reorder(s.a, s.b, s.d, s.u, s.j, s.pi, s.parity, s.row, s.column, s.po);
    }
    taps.unroll(s.u).unroll(s.j).unroll(s.pi).unroll(s.parity).unroll(s.row).never_partition_all();
    vectorize_lanes(taps, s.a, s.b, s.d);
    s.columns.compute_at(s.sum, unrolled ? s.column : s.row)
        .bound_extent(s.i, vec * tile.stride)
        .bound_extent(s.u, tile.n)
        .bound_extent(s.t, 1)
        .bound_extent(s.y, 1)
        .split(s.i, io, ii, vec, TailStrategy::RoundUp)
        .vectorize(ii)
        .unroll(io)
        .unroll(s.u)
        .never_partition_all();
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
