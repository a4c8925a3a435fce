// CPU schedule of plane_rows: block by block, three loops through two blocks on the stack, as lane_columns.
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaneRowsStages &s) {
    Stage out = s.out.bound(s.l, 0, kPlaneLanes).update();
    out.reorder(s.l, s.r_s, s.r_j, s.b).vectorize(s.l, kPlaneLanes, TailStrategy::RoundUp).unroll(s.r_s);
    if (s.product) {
        s.third.compute_at(s.out, s.r_j).vectorize(s.l);
        s.back.compute_at(s.out, s.b).bound_extent(s.s, 2 * s.even).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s);
        s.second.compute_at(s.back, s.k).vectorize(s.l);
    } else {
        s.second.compute_at(s.out, s.r_j).vectorize(s.l);
    }
    s.between.compute_at(s.out, s.b).bound_extent(s.s, 2 * s.odd).reorder(s.l, s.s, s.j).vectorize(s.l).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.l);
}

}  // namespace fourfold::cpu
