// CPU schedule of tile_inverse: the mirror of tile_forward's. Columns first, into 2*t*(t/2+1) vectors (18 KB at t = 16, in L1;
// over 16 KB they lie in the workspace, not on the stack), then only the rows that are valid, of which only the valid columns are stored.
// With by > 0 in two loops, rows too where they have more than 16 points: tile_forward.cpp has the times.
#include "schedules/cpu/tile_inverse.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(TileInverseStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li"), xo("xo"), xi("xi");
    s.out.bound(s.l, 0, 16)
        .split(s.l, lo, li, vec, TailStrategy::RoundUp)
        .split(s.x, xo, xi, s.t, TailStrategy::GuardWithIf)
        .reorder(li, xi, xo, s.y, lo, s.tile, s.kb)
        .vectorize(li)
        .unroll(xi);
    s.row.compute_at(s.out, s.y).vectorize(s.l);
    s.columns.compute_at(s.out, lo)
        .bound_extent(s.s, 2 * s.t)
        .bound_extent(s.kx, s.t / 2 + 1)
        .reorder(s.l, s.s, s.kx)
        .vectorize(s.l)
        .unroll(s.s);
    s.column.compute_at(s.columns, s.kx).vectorize(s.l);
}

void schedule(TileInverseSplitStages &s, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li"), xo("xo"), xi("xi");
    s.out.bound(s.l, 0, 16);
    if (s.split_rows) {
        Stage out = s.out.update();
        out.split(s.l, lo, li, vec, TailStrategy::RoundUp).reorder(li, s.r_j, s.r_i, s.y, lo, s.tile, s.kb).vectorize(li).unroll(s.r_j);
        s.row_second.compute_at(s.out, s.r_i).vectorize(s.l);
        s.row_between.compute_at(s.out, s.y).bound_extent(s.s, 2 * s.a).bound_extent(s.k, s.b / 2 + 1).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s).unroll(s.k);
        s.row_first.compute_at(s.row_between, s.k).vectorize(s.l);
    } else {
        s.out.split(s.l, lo, li, vec, TailStrategy::RoundUp)
            .split(s.x, xo, xi, s.t, TailStrategy::GuardWithIf)
            .reorder(li, xi, xo, s.y, lo, s.tile, s.kb)
            .vectorize(li)
            .unroll(xi);
        s.row.compute_at(s.out, s.y).vectorize(s.l);
    }
    s.columns.compute_at(s.out, lo)
        .bound_extent(s.s, 2 * s.b)
        .bound_extent(s.i, s.a)
        .bound_extent(s.kx, s.t / 2 + 1)
        .reorder(s.l, s.s, s.i, s.kx)
        .vectorize(s.l)
        .unroll(s.s);
    s.column_second.compute_at(s.columns, s.i).vectorize(s.l);
    s.column_between.compute_at(s.columns, s.kx).bound_extent(s.s, 2 * s.a).bound_extent(s.k, s.b).reorder(s.l, s.s, s.k).vectorize(s.l).unroll(s.s).unroll(s.k);
    s.column_first.compute_at(s.column_between, s.k).vectorize(s.l);
}

}  // namespace fourfold::cpu
