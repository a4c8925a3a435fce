// CPU schedule of conv_direct: see register_tile.h for the loop nest.
//
// Registers: m*n accumulators + n vectors of x + broadcasts folded into the FMA (AVX-512) or one more register (AVX2):
// m=8 n=3 uses 24 + 3 of 32, m=4 n=2 uses 8 + 2 + 1 of 16.
//
// Evidence: see the table beside this file (conv_direct.json) and README; measured numbers per variant are printed by
// `fourfold bench --all-variants`.
// What did not help: one loop over channel*tap with a table of offsets (5-8 % slower: one more load per step), unrolling
// the tap loop by 2 or 4 (noise, +15 % code).
#include "schedules/cpu/conv_direct.h"

namespace fourfold::cpu {

void schedule(ConvDirectStages &s, RegisterTile tile, const Halide::Target &target) {
    schedule_register_tile(s.out, s.total, s.block, s.j, s.i, {s.t, s.c}, s.kb, tile, target);
}

}  // namespace fourfold::cpu
