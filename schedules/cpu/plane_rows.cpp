// CPU schedule of plane_rows: block by block, three loops through two blocks on the stack, as lane_columns.
//
// AMD EPYC, Zen 4 without AVX-512, AVX2, 2026-12-01, one thread, other work beside it: a block of 8 rows there and back takes 0.84 us at
// n = 72 (42 GFLOP/s, 10 N log2 N counted), 1.9 at 120 and 3.2 to 3.6 at 240. All of fft_tiled, least of three, beside lane_columns'
// best plan or fft: 1000x1000 with 15x15 2.6 (2.9) ms, 31x31 3.3 (5.2), 63x63 5.1 (6.3). 80 x 80 was no faster than 72 x 72, and
// 160 x 160 slower than 120 or 240.
//
// Intel Sapphire Rapids, AVX-512, 2026-12-01, one thread, other work beside it (FMA peak 136 GFLOP/s in that run), least of two interleaved
// rounds, n = 240 (the lane_columns that was chosen): 1000x1000 with 31x31 3.3 (5.1) ms, 63x63 5.2 (9.3; n = 120 7.0), 4K with 21x21 29.9 (35.6 at
// n = 120, where 72 by 120 was chosen), 101x101 51.8 (94.7); with 15x15 3.3 (3.2). n = 72 and n = 80, one round: 4.3 and 4.8 ms for the last, 5.4 and 5.5 for 31x31. Of 63x63 rows are 38 %, columns 16 % each
// way, crop 18 %.
// On the stack: what lies between the loops of 240 points is more than Halide leaves there by itself.
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PlaneRowsStages &s) {
    Stage out = s.out.bound(s.l, 0, s.lanes).update();
    out.reorder(s.l, s.r_s, s.r_j, s.b).vectorize(s.l, s.lanes, TailStrategy::RoundUp).unroll(s.r_s);
    if (s.product) {
        s.third.compute_at(s.out, s.r_j).vectorize(s.l);
        s.back.compute_at(s.out, s.b).store_in(MemoryType::Stack).bound_extent(s.s, 2 * s.even).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s);
        s.second.compute_at(s.back, s.k).vectorize(s.l);
    } else {
        s.second.compute_at(s.out, s.r_j).vectorize(s.l);
    }
    s.between.compute_at(s.out, s.b).store_in(MemoryType::Stack).bound_extent(s.s, 2 * s.odd).reorder(s.l, s.s, s.j).vectorize(s.l).unroll(s.s);
    s.first.compute_at(s.between, s.j).vectorize(s.l);
}

}  // namespace fourfold::cpu
