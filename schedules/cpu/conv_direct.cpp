// CPU schedule of conv_direct: see register_tile.h for the loop nest.
//
// Registers: m*n accumulators + n vectors of x + broadcasts folded into the FMA (AVX-512) or one more register (AVX2):
// m=8 n=3 uses 24 + 3 of 32, m=4 n=3 uses 12 + 3 + 1 of 16.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20, FMA peak measured in the same run at 255 GFLOP/s):
//   b1 ic64 i56 oc64 f3 p1    m8_n3  0.947 ms  244 GFLOP/s  96 %      b1 ic3 i224 oc64 f7 s2 p3  m8_n3  1.07 ms  220  87 %
//   b1 ic1 i1000 oc1 f15      m2_n8  2.70 ms   162 GFLOP/s  64 %, row blocks of 2 (m1_n8, without them: 5.8 ms)
// What did not help: one loop over channel*tap with a table of offsets (5-8 % slower: one more load per step), unrolling
// the tap loop by 2 or 4 (noise, +15 % code).
#include "schedules/cpu/conv_direct.h"

namespace fourfold::cpu {

void schedule(ConvDirectStages &s, const Halide::Expr &one_block, RegisterTile tile, const Halide::Target &target) {
    schedule_register_tile(s.out, s.total, s.block, s.j, s.i, {s.t, s.c}, s.kb, one_block, tile, target);
}

}  // namespace fourfold::cpu
