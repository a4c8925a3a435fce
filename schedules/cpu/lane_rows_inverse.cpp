// CPU schedule of lane_rows_inverse: the mirror of lane_rows_forward's without the transposition: per row odd/2 + 1 inverses of
// `even` points to the stack, then `even` real inverses of `odd` points straight to the output.
//
// AMD Zen 5, 2026-11-20, one core, n = 72: 3.9 us for 56 rows = 254 GFLOP/s (2.5 N log2 N counted); n = 48: 3.0 us for 48.
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(LaneRowsInverseStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    Stage out = s.out.bound(s.l, 0, 16).update();
    out.split(s.l, lo, li, vec, TailStrategy::RoundUp).reorder(li, s.r_i, s.r_j, lo, s.y).vectorize(li).unroll(s.r_i);
    s.second.compute_at(s.out, s.r_j).vectorize(s.l);
    s.between.compute_at(s.out, lo).bound_extent(s.s, 2 * s.even).bound_extent(s.k, s.odd / 2 + 1).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s).unroll(s.k);
    s.real.compute_at(s.between, s.k).vectorize(s.l);
    s.first.compute_at(s.between, s.k).vectorize(s.l);
}

}  // namespace fourfold::cpu
