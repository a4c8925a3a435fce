// CPU schedule of complex_gemm: r rows x w complex columns; the blocks of columns run inside the rows, so that a row of x and of
// the result is touched once while the frequency's panels (depth x columns: 32 KB at 64 x 64) stay in L1 or L2.
//
// Registers (AVX-512): 2*r*w/8 accumulators + w/8 of the right operand: r=2 w=32 uses 16 + 4 of 32; x comes as broadcasts. A step is
// 16 FMAs, 8 cycles, for 8 loads. Taller tiles load less but waste rows where images are no multiple of r (36 for 32 at r=6).
//
// AMD EPYC (Zen 5), one thread, 2026-11-20, minimum, packed, milliseconds (b32 ic64 i56x29 oc64 | b128 ic32 i28x15 oc64):
//
//     r2_w32   9.24 | 4.04   (71 and 80 % of the FMA peak of that run; 65 to 74 and 70 to 80 % from run to run)
//     r4_w16   9.77 | 4.31      r3_w32   9.33 | 4.47      r6_w16  11.31 | 4.51      r8_w8  12.94 | 5.47      r1_w64  12.35 | 10.30
//
// The first reads and writes 106 MB, half of them filters, which is 3 ms of the machine's memory against 6.5 of arithmetic.
// Columns outside the rows, so that a panel stays in L1: 10.6 | 5.0 (r3_w32) and 15.6 | 7.9 (r6_w16), since x is read again for
// each panel and its rows lie a whole image's spectrum apart, where no prefetcher follows.
//
// So the next tile's rows of x are prefetched. Intel Xeon (Emerald Rapids, 2 MB of L2, memory 10 GB/s), one thread, 2026-11-26:
//
//     none     25.2 | 15.1    (38 and 33 % of peak)      next tile's rows   18.8 | 13.2      those of the tile after it   20.2 | 13.9
//
// All of the above with neighbours exchanged through memory, 160 cycles a tile, where the unaligned loads wait for the stores (Zen 4). In
// registers, AMD EPYC (Zen 4, peak 118 GFLOP/s), one thread, 2026-11-29, r2_w32, before -> now, three turns, other work on the other core:
//
//     b128 ic1 i28x15 oc32   1.19 -> 0.454     b128 ic32 i28x15 oc64   10.5 -> 10.2     b32 ic64 i56x29 oc64   19.4 -> 18.5 (78 % of peak)
//
// What did not help, relative to none (Zen 5): prefetching the next frequency's rows of x (0.95 to 1.1), its panels at the tile
// (1.2) or at each step (1.3); panels in groups that fit L1 (1.0 at 128 x 128 and 256 x 256); huge pages (0.95 to 1.0).
#include "schedules/cpu/complex_gemm.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ComplexGemmStages &s, ComplexTile tile, const Expr &accumulate, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    Var jo("jo"), ji("ji"), no("no"), ni("ni");
    s.out.split(s.j, jo, ji, 2 * tile.w, TailStrategy::GuardWithIf)
        .split(s.n, no, ni, tile.r, TailStrategy::GuardWithIf)
        .reorder(ji, ni, jo, no, s.f)
        .vectorize(ji, vec)
        .unroll(ji)
        .unroll(ni);
    s.prefetch_x(no, 1);
    s.out.specialize(accumulate == 0);
    s.combined.compute_at(s.out, jo)
        .bound_extent(s.j, 2 * tile.w)
        .bound_extent(s.n, tile.r)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.n);
    s.sum.compute_at(s.out, jo)
        .bound_extent(s.j, 2 * tile.w)
        .bound_extent(s.n, tile.r)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.n);
    s.sum.update()
        .reorder(s.j, s.n, s.c)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.n);
}

}  // namespace fourfold::cpu
