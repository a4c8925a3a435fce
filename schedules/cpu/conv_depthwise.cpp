// CPU schedule of conv_depthwise: m rows x n vectors of sums in registers, plane after plane; a vector of the image is loaded
// once for all the rows that it belongs to.
//
// Registers: m*n sums, and while a tap is added a vector of the image and its m filter values: f=3 m=4 n=4 keeps 16 sums, all 9
// filter values and what it needs of the image in 32; f=0 m=4 n=4 uses 16 + 4 + 4.
// Edges: a plane is copied row by row between its zeros, in scratch that stays in L1 or L2, so that no tap looks at an edge; the
// last columns and rows are computed in full and stored under a mask. pad=0 reads the image where it lies.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20, FMA peak measured in the same run at 273-284 GFLOP/s; before: conv_direct
// between pad and crop):
//   b1 ic144 i56 f3 p1 g144      f=3 m=4 n=4  0.083 ms    98 GFLOP/s  (before 0.190; 3.6 MB moved: bound by memory)
//   b1 ic144 i56 f3 s2 p1 g144   f=3 m=2 n=1  0.048 ms    42 GFLOP/s  (0.166)
//   b4 ic96 i56 f7 p3 g96        f=7 m=4 n=4  0.61 ms    193 GFLOP/s  70 % (1.26)
//   b4 ic160 i28 f13 p6 g160     f=13 m=7 n=2 0.70 ms    242 GFLOP/s  87 % (1.49), rows of zeros skipped
//   b1 ic1 i1080x1920 f3         f=3 m=4 n=4  0.22 ms    167 GFLOP/s  (0.66; from L3, as fast as memory allows without
//                                                                     non-temporal stores, which Halide 21 lacks)
//   b1 ic1 i1080x1920 f9         f=0 m=4 n=4  1.24 ms    267 GFLOP/s  94 % (2.9)
//   b1 ic1 i10000 f15            f=0 m=4 n=4  185 ms     242 GFLOP/s  84 % (355)
// Evidence (AMD EPYC 7003, Zen 3, AVX2, one thread, 2026-11-27, FMA peak 104 GFLOP/s, memory 15-20 GB/s):
//   whole stores (whole_stores.h), masked ones before, other work on the machine:
//     b1 ic144 i56 f3 p1 g144      f=3 m=4 n=2  0.41 ms  (0.51)       b1 ic1 i1080x1920 f3  f=3 m=4 n=2  1.3 ms  (3.1)
//     b1 ic144 i56 f3 s2 p1 g144   f=3 m=4 n=1  0.23 ms  (0.33)       b1 ic1 i1080x1920 f5  f=5 m=4 n=2  3.1 ms  (4.3)
//   one row of one vector: 0.58 of the time of m=4 n=2 for the first, as 16 registers do not hold 9 filter values beside the
//   image's vectors of four rows, which LLVM loads at once and spills; f=7 m=4 n=2 pad=0: 0.70 of f=0's time in 1080p.
// Evidence (AMD EPYC, Zen 4, AVX-512, one thread, 2026-11-29, FMA peak 118 GFLOP/s, other work on the machine): rows of the copy
// that start at aligned addresses, copied row by row as the prefetcher likes it; before, unaligned and vector by vector:
//   b1 ic144 i56 f3 p1 g144      f=3 m=4 n=2  0.131 ms  (0.154)        b1 ic1 i1080x1920 f3 p0  f=3 m=4 n=4  0.76-0.96 ms (1.25 vector by vector)
//   b1 ic144 i56 f3 s2 p1 g144   f=3 m=2 n=1  0.0765 ms (0.083)        b1 ic1 i1080x1920 f9     f=0 m=4 n=4  3.6 ms (3.9)
// 43 % of the second's time is the copy, waiting for L3. There vectors of 8 lanes, which waste nothing at 56 columns, gain 0.6 %;
// even and odd columns apart in the copy lose (0.20 ms: LLVM does so through the stack), as does prefetching the next plane
// (0.093), and copying only what the next rows need (0.100: the copy's lines are read before they have left the store queue).
// Evidence (AMD EPYC, Zen 4 without AVX-512, AVX2, one thread, 2026-12-01, FMA peak 92 GFLOP/s, builds on the other core): columns of taps in a
// loop where 16 registers do not hold the filter beside the sums; before, all taps unrolled:
//   b1 ic96 i56 f5 p2 g96        f=5 m=4 n=2  0.312 ms (0.568)         b1 ic1 i1080x1920 f5 p0  f=5 m=4 n=2  1.48 ms (3.27)
//   b1 ic144 i56 f3 p1 g144      f=3 m=4 n=2  0.282 ms (0.350)         b1 ic1 i1080x1920 f3 p0  f=3 m=4 n=2  0.64 ms (1.02)
//   (f=3 m=1 n=1, whose 9 values fit, stays unrolled: 0.206 ms for the third). A row of one vector, exact at 56 columns: 5x5 of the first
//   line f=5 m=8 n=1 0.253 ms (f=5 m=4 n=2 0.309); 7x7 so spills: 3.8 ms (2.8), see conv_depthwise_masked, which has 3x3 with stride 2 too.
// What did not help: masked loads from the image instead of the copy (0.108 ms for the first on Zen 5, 45 % of peak instead of 85
// for f=9); tails by GuardWithIf, which are scalar on x86, or ifs around
// the stores, behind which LLVM sinks the FMAs (0.157 ms); rows innermost where f=0 (0.93 instead of 0.87 ms for 13x13).
#include "schedules/cpu/conv_depthwise.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseStages &s, DepthwiseTile tile, const Expr &use_residual, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    // A filter that 16 registers do not hold beside the sums is slower with all its taps unrolled: see the evidence.
    const bool has_32_registers = target.has_feature(Target::AVX512);
    const auto unrolled = [&](int f) { return f > 0 && (has_32_registers ? f <= 5 : f * f + tile.m * tile.n < 16); };
    Var qo("qo"), qi("qi"), po("po"), pi("pi"), xo("xo"), xi("xi");
    s.out.split(s.q, qo, qi, vec * tile.n, TailStrategy::PredicateStores)
        .split(s.p, po, pi, tile.m, TailStrategy::PredicateStores)
        .reorder(qi, pi, qo, po, s.o, s.c)
        .vectorize(qi)
        .unroll(pi);
    s.out.never_partition_all();
    s.sum.compute_at(s.out, qo)
        .bound_extent(s.q, vec * tile.n)
        .bound_extent(s.pi, tile.m)
        .bound_extent(s.po, 1)
        .vectorize(s.q)
        .unroll(s.pi);
    for (size_t u = 0; u < s.runs.size(); u++) {
        const ConvDepthwiseStages::Run &run = s.runs[u];
        Stage update = s.sum.update(static_cast<int>(u));
        if (run.unrolled_rows) {
            update.reorder(s.q, s.pi, run.row, run.column, s.po).unroll(run.row);
        } else {
            update.reorder(s.q, s.pi, run.column, run.row, s.po);
        }
        update.vectorize(s.q).unroll(s.pi);
        if (unrolled(run.filter)) {
            update.unroll(run.column);
        }
    }
    if (tile.pad) {
        s.image.compute_at(s.out, s.c).align_storage(s.x, vec);
        for (size_t u = 0; u < s.rows.size(); u++) {
            s.image.update(static_cast<int>(u)).split(s.x, xo, xi, vec, TailStrategy::RoundUp).reorder(xi, xo, s.rows[u]).vectorize(xi).never_partition_all();
        }
    }
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
