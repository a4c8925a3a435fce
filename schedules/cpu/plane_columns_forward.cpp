// CPU schedule of plane_columns_forward: 8 columns (AVX-512: 16) at a time, `even` real transforms of `odd` points to the stack, then odd/2 + 1 of
// `even` points, whose frequencies by columns, 8 by 8 (AVX-512: 16 by 16), are transposed in registers on the way out: stores at a
// distance of as many, all of which are unrolled, become a transposition (transposed_stores.h).
//
// AMD EPYC, Zen 4 without AVX-512, AVX2, 2026-12-01, one thread, other work beside it: 8 columns take 0.26 us at n = 72, 0.53 at 120,
// 1.2 to 1.8 at 240, 2.5 N log2 N counted 34 to 31 GFLOP/s; before transposed_stores.h, when of 2035 instructions for 8 columns of n = 72
// 689 were shuffles.
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaneColumnsForwardStages &s) {
    Var xo("xo"), xi("xi");
    Stage out = s.out.bound(s.l, 0, s.lanes).bound(s.part, 0, 2).update();
    out.split(s.x, xo, xi, s.lanes, TailStrategy::RoundUp).reorder(xi, s.r_q, s.r_part, s.r_k, xo).vectorize(xi).unroll(s.r_q).unroll(s.r_part).unroll(s.r_k);
    s.real.compute_at(s.out, s.r_k).vectorize(s.x);
    s.second.compute_at(s.out, s.r_k).vectorize(s.x);
    s.between.compute_at(s.out, xo).bound_extent(s.s, s.odd).reorder(s.x, s.s, s.j).vectorize(s.x).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.x);
}

}  // namespace fourfold::cpu
