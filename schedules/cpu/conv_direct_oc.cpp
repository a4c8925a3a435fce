// CPU schedule of conv_direct_oc: r pixels x v blocks of 16 output channels of accumulators.
//
// Registers (AVX-512): r*v accumulators + v vectors of filters + the broadcasts, at least one: r=10 v=2 uses 20 + 2 of 32,
// r=6 v=4 24 + 4. The addresses of the r pixels take general registers, which bound r: with r=12 (of 15 free) LLVM loads
// all broadcasts ahead of the FMAs and spills accumulators (118 GFLOP/s instead of 244). A panel's terms are one loop over a
// table of (distance in x, filter), so that 1x1 filters and a choice of taps cost no more than 3x3.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20, FMA peak measured in the same run at 254 to 260 GFLOP/s), the kernel
// alone: r=10 v=2 248 GFLOP/s at 256 channels 14x14 3x3 (96 %), 246 at 512 channels 7x7 3x3 (94 %), 237 at 512 -> 2048 1x1
// (94 %, filters from L3); r=6 v=4 wins where the filters stay in L2 (64 channels 56x56 3x3: 251). r=7 and r=6 divide the
// borders of 7x7 and 14x14 images better, r=10 asks least of L2.
// The whole convolution, 256 channels 14x14 3x3 p1: 0.79-0.84 ms; the form with lanes along pixels: 1.14.
//
// AVX2 (Zen 4 without AVX-512, one thread, 2026-12-01, machine shared with builds, least of 5 or 6 interleaved rounds), images copied to vectors
// of 16 channels (runtime/algorithm_direct_oc.cpp) against planes, r=6 v=1: 512 -> 2048 at 7x7 1.43 ms (1.83), 256 -> 256 at 28x28 3x3
// with stride 2 2.85 (3.09), 256 -> 512 at 56x56 1x1 with stride 2 3.11 (3.75). r=5 v=1 divides 49 pixels better: 1.36 ms; 3x3 with
// stride 2 3.02. v=2 and v=3 spill (r=3 v=2, r=2 v=3: twice as long); r=4 v=1 1.56 and 3.10 ms.
//
// What did not help: pixels a constant step apart (no table of positions: 250 instead of 248, but tiles end with their row),
// r=9 v=3 and r=10 v=1 (spills; bound by loads), loops over channels and taps of their own (spills).
#include "schedules/cpu/conv_direct_oc.h"

#include <algorithm>

#include "schedules/cpu/register_tile.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDirectOcStages &s, PixelTile tile, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    const int width = 16 * tile.v;
    Var jo("jo"), ji("ji"), ko("ko"), ki("ki");
    s.out.split(s.j, jo, ji, tile.r, TailStrategy::GuardWithIf)
        .split(s.k, ko, ki, width, TailStrategy::GuardWithIf)
        .reorder(ki, ji, jo, ko)
        .vectorize(ki, vec)
        .unroll(ki)
        .unroll(ji);
    s.at.compute_at(s.out, jo).bound_extent(s.j, tile.r).unroll(s.j);
    accumulate_in_registers(s.total, s.out, jo, s.k, width, s.j, tile.r, {s.kb}, vec);
    accumulate_in_registers(s.block, s.total, s.kb, s.k, width, s.j, tile.r, {s.d}, vec);
}

}  // namespace fourfold::cpu
