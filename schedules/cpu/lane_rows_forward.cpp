// CPU schedule of lane_rows_forward: row by row, transposed in blocks of 16 lanes x 8 columns in registers to a line on the
// stack (4.6 KB at n = 72), then `even` real transforms of `odd` points to the stack, then odd/2 + 1 of `even` points straight
// to the output. Each of those transforms fits the registers: 9 reals, 8 complex numbers.
//
// AMD Zen 5, 2026-11-20, one core, n = 72, 56 rows of 56 pixels in L2: 8.2 us = 121 GFLOP/s (2.5 N log2 N counted),
// transposition included. n = 48: 5.9 us for 48 rows.
//
// Unrolled over k, so that the real transform of k = 0 and the complex ones of the others share one loop over rows; what is
// computed in vain there the compiler drops. What did not help: transposed stores without a block in between (stores become
// scalar, 21.6 us).
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(LaneRowsForwardStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    Stage out = s.out.bound(s.l, 0, 16).update();
    out.split(s.l, lo, li, vec, TailStrategy::RoundUp).reorder(li, s.r_s, s.r_k, lo, s.y).vectorize(li).unroll(s.r_s).unroll(s.r_k);
    s.real.compute_at(s.out, s.r_k).vectorize(s.l);
    s.second.compute_at(s.out, s.r_k).vectorize(s.l);
    s.between.compute_at(s.out, lo).bound_extent(s.s, s.odd).reorder(s.l, s.s, s.j).vectorize(s.l).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.l);
    s.line.compute_at(s.out, s.y).bound(s.l, 0, 16).bound(s.x, 0, s.odd * s.even);
    s.line.update(0).reorder(s.l, s.r_xi, s.r_xo, s.y).vectorize(s.l).unroll(s.r_xi);
    s.turned.compute_at(s.line, s.r_xo).bound_extent(s.l, 16).bound_extent(s.x, 8).vectorize(s.l).vectorize(s.x);
    s.line.update(1).reorder(s.l, s.r_z, s.y).vectorize(s.l, vec);
    s.plane.compute_at(s.line, s.r_xo).bound_extent(s.x, 8).bound_extent(s.l, 16).vectorize(s.x).unroll(s.l);
}

}  // namespace fourfold::cpu
