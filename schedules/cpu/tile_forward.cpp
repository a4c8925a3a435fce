// CPU schedule of tile_forward: tile by tile, rows first into t*(t+2) vectors (18 KB at t = 16, in L1; over 16 KB they lie
// in the workspace, not on the stack), then
// column by column straight to the output.
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

}  // namespace fourfold::cpu
