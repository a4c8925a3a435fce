// CPU schedule of complex_multiply: r planes of x by w planes of the right operand by v vectors of frequencies, which go through a
// run of frequencies innermost, so that few planes are read and written at a time. Tiles beyond the edges read the last plane
// again, and frequencies under a mask, which loop partitioning takes out of the whole tiles.
//
// Registers: 2*r*w*v accumulators, and the real and the imaginary parts of a vector of the right operand, each twice, by a shuffle.
// One channel has nothing to keep in them and is memory's: one stream of stores is better than several. Longer sums want
// the right operand, which is read from the L2 for each tile of rows, as seldom as possible.
//
// Intel Xeon (Emerald Rapids, guest of 2 cores, others at work on the machine), one thread, 2026-11-30, minimum, filters packed, milliseconds:
//
//                                        r1_w1_v4   r2_w2_v2   r4_w3_v1   complex_gemm between transpositions
//     b128 ic1 i28x15 oc32                  0.584      0.676      0.789    2.39
//     the same, bwd-data                    0.490      0.474      0.599    2.1
//     the same, bwd-filters                 0.669      0.673      0.801    1.79
//     b128 ic4 i28x15 oc32                   1.15       1.05      0.984    2.89
//     b128 ic32 i28x15 oc64, bwd-data        15.4       12.7       11.3    14.5
//     b32 ic64 i56x29 oc64, bwd-filters      45.0       31.8       33.4    36.5
//
// With arrays that do not start at a cache line 1.25 times as much. Alone, r2_w1_v4, r4_w2_v1 and r1_w1_v8 were no better than these.
#include "schedules/cpu/complex_multiply.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ComplexMultiplyStages &s, MultiplyTile tile, const Expr &accumulate, const Target &target) {
    const int vec = target.natural_vector_size<float>(), width = tile.v * vec;
    Var jo("jo"), ji("ji"), ko("ko"), ki("ki"), no("no"), ni("ni");
    s.out.split(s.j, jo, ji, width, TailStrategy::GuardWithIf)
        .split(s.k, ko, ki, tile.w, TailStrategy::GuardWithIf)
        .split(s.n, no, ni, tile.r, TailStrategy::GuardWithIf)
        .reorder(ji, ki, ni, jo, ko, no)
        .vectorize(ji, vec)
        .unroll(ji)
        .unroll(ki)
        .unroll(ni);
    s.out.specialize(accumulate == 0);
    const auto in_registers = [&](Func f) {
        f.compute_at(s.out, jo)
            .bound_extent(s.j, width)
            .bound_extent(s.k, tile.w)
            .bound_extent(s.n, tile.r)
            .vectorize(s.j, vec)
            .unroll(s.j)
            .unroll(s.k)
            .unroll(s.n);
    };
    in_registers(s.combined);
    in_registers(s.sum);
    s.sum.update().reorder(s.j, s.k, s.n, s.c).vectorize(s.j, vec).unroll(s.j).unroll(s.k).unroll(s.n);
    s.right.compute_at(s.sum, s.c)
        .bound_extent(s.j, width)
        .bound_extent(s.k, tile.w)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.k);
}

}  // namespace fourfold::cpu
