// CPU schedule of lane_columns: column by column, three loops through two blocks on the stack (2*n vectors each, 9 KB at n = 72):
// `even` transforms of `odd` points; `odd` times transform, product and inverse of `even` points without leaving the
// registers; `even` inverses of `odd` points straight to the output. 8 complex numbers take 16 of 32 registers, 9 take 18.
//
// AMD Zen 5, 2026-11-20, one core, spectra in L2, 5 N log2 N counted for each direction: n = 72: 14.3 us for 37 columns =
// 184 GFLOP/s, two thirds of the core's peak in FMAs; n = 40: 194, n = 36: 183, n = 48: 155 and n = 80: 131 (16 points spill),
// n = 144: 110 (spectra beyond L2).
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(LaneColumnsStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    Stage out = s.out.bound(s.l, 0, 16).update();
    out.split(s.l, lo, li, vec, TailStrategy::RoundUp).reorder(li, s.r_s, s.r_j, lo, s.kx).vectorize(li).unroll(s.r_s);
    if (s.product) {
        s.third.compute_at(s.out, s.r_j).vectorize(s.l);
        s.back.compute_at(s.out, lo).bound_extent(s.s, 2 * s.even).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s);
        s.second.compute_at(s.back, s.k).vectorize(s.l);
    } else {
        s.second.compute_at(s.out, s.r_j).vectorize(s.l);
    }
    s.between.compute_at(s.out, lo).bound_extent(s.s, 2 * s.odd).reorder(s.l, s.s, s.j).vectorize(s.l).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.l);
}

}  // namespace fourfold::cpu
