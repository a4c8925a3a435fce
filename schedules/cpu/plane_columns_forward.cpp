// CPU schedule of plane_columns_forward: 8 columns at a time, `even` real transforms of `odd` points to the stack, then odd/2 + 1 of
// `even` points, whose 8 frequencies by 8 columns are transposed in registers on the way out: stores at a distance of 8, all eight of
// which are unrolled, become one store of interleaved vectors.
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaneColumnsForwardStages &s) {
    Var xo("xo"), xi("xi");
    Stage out = s.out.bound(s.l, 0, kPlaneLanes).bound(s.part, 0, 2).update();
    out.split(s.x, xo, xi, kPlaneLanes, TailStrategy::RoundUp).reorder(xi, s.r_q, s.r_part, s.r_k, xo).vectorize(xi).unroll(s.r_q).unroll(s.r_part).unroll(s.r_k);
    s.real.compute_at(s.out, s.r_k).vectorize(s.x);
    s.second.compute_at(s.out, s.r_k).vectorize(s.x);
    s.between.compute_at(s.out, xo).bound_extent(s.s, s.odd).reorder(s.x, s.s, s.j).vectorize(s.x).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.x);
}

}  // namespace fourfold::cpu
