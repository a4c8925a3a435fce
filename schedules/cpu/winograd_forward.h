#pragma once

#include <algorithm>

#include "generators/winograd_forward.h"

namespace fourfold::cpu {

/// Tile by tile: lines first, into vectors on the stack, then column by column straight to the output. winograd_gradient shares it.
inline void schedule_winograd_tiles(WinogradForwardStages &s, const Halide::Target &target) {
    using namespace Halide;
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    s.out.bound(s.l, 0, 16)
        .bound(s.part, 0, 1)
        .bound(s.fy, 0, s.t)
        .bound(s.fx, 0, s.t)
        .split(s.l, lo, li, vec, TailStrategy::RoundUp)
        .reorder(li, s.part, s.fy, s.fx, lo, s.tile, s.row)
        .vectorize(li)
        .unroll(s.fy)
        .unroll(s.fx);
    s.column.compute_at(s.out, s.fx).vectorize(s.l);
    s.lines.compute_at(s.out, lo)
        .bound_extent(s.fx, s.t)
        .bound_extent(s.y, s.height)
        .reorder(s.l, s.fx, s.y)
        .vectorize(s.l)
        .unroll(s.fx)
        .unroll(s.y);
    s.line.compute_at(s.lines, s.y).vectorize(s.l);
}

void schedule(WinogradForwardStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
