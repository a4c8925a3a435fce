// CPU schedule of tile_product: r tiles x v blocks of 16 output channels of complex accumulators.
//
// Registers (AVX-512): 2*r*v accumulators + 2*v of the filters + broadcasts: r=6 v=2 uses 24 + 4 of 32 for 48 FMAs a step of
// 4 loads and 12 broadcasts. A frequency's panel of filters (channels x 32 complex: 16 KB at 64
// channels) is reused by all tiles of the block before the next. mults=3: 3*r*v + 2*v or fewer, r=3 v=2 uses 18 + 6.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20; GFLOP/s as of four multiplications, FMA peak 260-270 in the same run):
//   channels x outputs x tiles x frequencies   r=4 v=2   r=6 v=2   r=3 v=2 mults=3
//   64 x 64 x 16 x 130                           269       240       292
//   64 x 64 x 48 x 130                           270       270       347
//   128 x 128 x 16 x 130                         246       224       207     (filters from L3, and a half more of them)
//   256 x 256 x 8 x 130                          172       119       146     (from memory)
// What did not help: a + b as a third part of x, written by the transform (r=4 v=2: 334, 347, 219, 146: no better where tiles
// are many, and a half more to write and read).
//
// AVX2: r=2 v=1 has 8 accumulators and 4 of the filters in 16 registers, 16 FMAs a step of 4 loads and 4 broadcasts. AMD EPYC, Zen 4
// without AVX-512, one thread, 2026-12-01, 64 x 64 channels, 128 tiles of 20 (7x7, batch 8, 56x56), least of 3: 12.6 ms, 79 % of the peak of 92
// GFLOP/s. What did not help: r=3 v=1, 12 accumulators, 27.7 ms; mults=3 with r=1 14.5, r=2 19.8; mults=3 with 8 output channels at a
// time, r=2, 3, 4: 16.4, 12.5, 20.5 (r=3: 9 FMAs need 9 loads, which take as long as the 12 FMAs of four multiplications).
#include "schedules/cpu/tile_product.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(TileProductStages &s, ProductTile tile, const Target &target) {
    schedule_complex_tile(s, tile, target);
}

}  // namespace fourfold::cpu
