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
