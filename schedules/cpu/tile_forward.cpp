// CPU schedule of tile_forward: tile by tile, rows first into t*(t+2) vectors (18 KB at t = 16, in L1; over 16 KB they lie
// in the workspace, not on the stack), then
// column by column straight to the output.
//
// With by > 0 in two loops (generators/split_fft.h), rows too where they have more than 24 points. Intel Xeon (Emerald Rapids,
// AVX-512, guest of 2 cores, builds on the other), 2026-11-30, one core, FMA peak 174 GFLOP/s: vector moves on the stack per
// arithmetic instruction in the object (in two loops those between them are counted, which are meant), and GFLOP/s (2.5 N log2 N,
// all rows counted though the inverse does only the valid ones) with points in L2, 16 channels of 64, minimum of 5 rounds in turns:
//
//    t |   forward: straight |  two loops   |   inverse: straight |  two loops
//    8 |        26/94    85   |              |         8/98   147   |
//   12 |       60/214    91   |              |       70/232   104   |
//   16 |       69/275    83   |  48/201   83 |       57/294    95   |  48/214  109
//   20 |      154/442    65   |  50/267   71 |      207/473    54   |  74/197   88
//   24 |      263/579    67   |  70/365   78 |      291/621    54   |  94/286   88
//   32 |      484/730    53   | 123/449   66 |      513/798    57   | 120/484   99
//   36 |     658/1032    44   | 127/405   68 |    1026/1123    48   | 130/414  110
//   40 |     876/1136    39   | 137/542   52 |    1173/1225    46   | 146/600   98
//   48 |    1100/1453    40   | 240/608   52 |    1483/1559    45   | 260/661   81
//
// Layers, straight-line / two loops in milliseconds, bench in turns, minimum of 5 rounds (bwd-filters 3): 5x5 64 -> 64 56x56 b8 (t = 32) 8.82 / 8.32, 11x11
// (24) 16.4 / 15.9, 15x15 32 -> 32 64x64 b4 (48) 3.63 / 3.39, 11x11 3 -> 96 128x128 b8 (40) 29.0 / 23.1; bwd-filters 31x31 (48) 11.8 / 10.0.
// With AVX2's 16 registers (AMD EPYC, Zen 4 without AVX-512, guest of 2 cores, builds on the other, 2026-12-01, FMA peak 92 GFLOP/s), the best of
// t = 8, 16, 32 and whole planes / with 12, 20 to 48 in two loops, milliseconds, least of 0.2 s each: 5x5 64 -> 64 56x56 b8 14.7 / 13.0 (t = 32),
// 7x7 21.8 / 15.6 (36), 9x9 21.9 / 15.5 (36), 11x11 21.9 / 20.2 (40), 15x15 32 -> 32 64x64 b4 6.4 / 4.0 (48). t = 32 straight takes 1.07 to 1.3 times as
// long as by=4. By 4 at t = 24, by 6 at 36 and 48: 0.90 to 1.0 of the speed of 3, 4 and 3.
// What did not help: by=2 at t = 16 (five layers 0.96 to 1.02 times as fast), forward rows of 20 and 24 points in two loops
// (0.84 to 1.0 of the stage's speed), t = 12 (forward 1.0, inverse 1.1).
#include "schedules/cpu/tile_forward.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(TileForwardStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    s.out.bound(s.l, 0, 16)
        .bound(s.part, 0, 2)
        .bound(s.ky, 0, s.t)
        .split(s.l, lo, li, vec, TailStrategy::RoundUp)
        .reorder(li, s.part, s.ky, s.kx, lo, s.cb, s.tile)
        .vectorize(li)
        .unroll(s.part)
        .unroll(s.ky);
    s.column.compute_at(s.out, s.kx).vectorize(s.l);
    s.rows.compute_at(s.out, lo)
        .bound_extent(s.s, s.t + 2)
        .bound_extent(s.y, s.t)
        .reorder(s.l, s.s, s.y)
        .vectorize(s.l)
        .unroll(s.s);
    s.row.compute_at(s.rows, s.y).vectorize(s.l);
}

void schedule(TileForwardSplitStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    Stage out = s.out.bound(s.l, 0, 16).bound(s.part, 0, 2).bound(s.ky, 0, s.t).update();
    out.split(s.l, lo, li, vec, TailStrategy::RoundUp).reorder(li, s.r_s, s.r_k, s.kx, lo, s.cb, s.tile).vectorize(li).unroll(s.r_s).unroll(s.r_k);
    s.column_second.compute_at(s.out, s.r_k).vectorize(s.l);
    s.column_between.compute_at(s.out, s.kx).bound_extent(s.s, 2 * s.b).bound_extent(s.i, s.a).reorder(s.l, s.s, s.i).vectorize(s.l).unroll(s.s);
    s.column_first.compute_at(s.column_between, s.i).vectorize(s.l);
    s.rows.compute_at(s.out, lo).bound_extent(s.s, s.t + 2).bound_extent(s.q, s.t);
    if (!s.split_rows) {
        s.rows.reorder(s.l, s.s, s.q).vectorize(s.l).unroll(s.s);
        s.row.compute_at(s.rows, s.q).vectorize(s.l);
        return;
    }
    s.rows.vectorize(s.l);
    s.rows.update().reorder(s.l, s.rows_s, s.rows_k, s.q).vectorize(s.l).unroll(s.rows_s).unroll(s.rows_k);
    s.row_second.compute_at(s.rows, s.rows_k).vectorize(s.l);
    s.row_between.compute_at(s.rows, s.q).bound_extent(s.s, 2 * (s.b / 2 + 1)).bound_extent(s.i, s.a).reorder(s.l, s.s, s.i).vectorize(s.l).unroll(s.s);
    s.row_first.compute_at(s.row_between, s.i).vectorize(s.l);
}

}  // namespace fourfold::cpu
