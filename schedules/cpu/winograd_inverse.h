#pragma once

#include <algorithm>

#include "generators/winograd_inverse.h"

namespace fourfold::cpu {

/// Columns first, into vectors on the stack, then the lines that are asked for. winograd_inverse_2x2 and winograd_filters_gradient share it.
inline void schedule_winograd_columns(WinogradInverseStages &s, const Halide::Target &target) {
    using namespace Halide;
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    s.out.bound(s.l, 0, 16)
        .bound(s.x, 0, s.m)
        .split(s.l, lo, li, vec, TailStrategy::RoundUp)
        .reorder(li, s.x, s.y, lo, s.tile, s.row)
        .vectorize(li)
        .unroll(s.x);
    s.line.compute_at(s.out, s.y).vectorize(s.l);
    s.columns.compute_at(s.out, lo)
        .bound_extent(s.y, s.m)
        .bound_extent(s.fx, s.t)
        .reorder(s.l, s.y, s.fx)
        .vectorize(s.l)
        .unroll(s.y)
        .unroll(s.fx);
    s.column.compute_at(s.columns, s.fx).vectorize(s.l);
}

void schedule(WinogradInverseStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
