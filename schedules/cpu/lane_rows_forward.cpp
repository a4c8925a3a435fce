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
