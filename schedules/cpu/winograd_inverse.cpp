// CPU schedule of winograd_inverse: the mirror of winograd_forward's. Columns first, into m*t vectors on the stack, then the
// lines that are valid.
//
// Measured on a Zen 5 server core, 2026-11-20, a tile of 16 channels: m = 2 12 ns, m = 4 31 ns, m = 6 56 to 83 ns (AVX-512; 50
// to 90 GB/s of points, no spills).
#include "schedules/cpu/winograd_inverse.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(WinogradInverseStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    s.out.bound(s.l, 0, 16)
        .bound(s.x, 0, s.m)
        .split(s.l, lo, li, vec, TailStrategy::RoundUp)
        .reorder(li, s.x, s.y, lo, s.tile, s.row)
        .vectorize(li)
        .unroll(s.x);
    s.line.compute_at(s.out, s.y).vectorize(s.l);
    s.columns.compute_at(s.out, lo)
        .bound_extent(s.y, s.m)
        .bound_extent(s.fx, s.m + 2)
        .reorder(s.l, s.y, s.fx)
        .vectorize(s.l)
        .unroll(s.y)
        .unroll(s.fx);
    s.column.compute_at(s.columns, s.fx).vectorize(s.l);
}

}  // namespace fourfold::cpu
