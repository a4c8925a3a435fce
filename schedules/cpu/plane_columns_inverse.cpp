// CPU schedule of plane_columns_inverse: the mirror of plane_columns_forward's; blocks of 8 frequencies by 8 columns (AVX-512: 16 by 16)
// are transposed on the way in.
//
// AMD EPYC, Zen 4 without AVX-512, AVX2, 2026-12-01, one thread, other work beside it: 8 columns take 0.28 us at n = 72, 0.61 at 120 and
// 1.3 at 240; before transposed_stores.h.
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaneColumnsInverseStages &s) {
    Var xo("xo"), xi("xi");
    Stage out = s.out.update();
    out.split(s.x, xo, xi, s.lanes, TailStrategy::RoundUp).reorder(xi, s.r_i, s.r_j, xo).vectorize(xi).unroll(s.r_i);
    s.second.compute_at(s.out, s.r_j).vectorize(s.x);
    s.between.compute_at(s.out, xo).bound_extent(s.s, 2 * s.even).bound_extent(s.k, s.odd / 2 + 1).reorder(s.x, s.s, s.k).vectorize(s.x).unroll(s.s).unroll(s.k);
    s.real.compute_at(s.between, s.k).vectorize(s.x);
    s.first.compute_at(s.between, s.k).vectorize(s.x);
    for (Func *turned : {&s.turned_reals, &s.turned}) {
        turned->compute_at(s.between, s.k).bound_extent(s.x, s.lanes).bound_extent(s.l, s.group).bound_extent(s.part, 2);
        turned->reorder(s.l, s.x, s.part, s.b).vectorize(s.l).unroll(s.x).unroll(s.part).unroll(s.b);
    }
}

}  // namespace fourfold::cpu
