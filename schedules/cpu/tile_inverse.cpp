// CPU schedule of tile_inverse: the mirror of tile_forward's. Columns first, into 2*t*(t/2+1) vectors (18 KB at t = 16, in L1;
// over 16 KB they lie in the workspace, not on the stack), then only the rows that are valid, of which only the valid columns are stored.
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

}  // namespace fourfold::cpu
