// Both passes of Winograd's transforms where a thread has a tile (or a filter) to itself.
#pragma once

#include "generators/winograd_gpu.h"
#include "generators/winograd_points.h"

namespace fourfold::winograd {

/// evaluate or interpolate.
using Product = std::vector<Expr>(const Matrix &matrix, const std::vector<Expr> &x);

/// last(i, a, b)[n] = (M d M^T)[n,i] of the tile at (a, b), where `line` is line j of its d.
inline void transform_lines(WinogradGpuStages &s, Product product, const Matrix &matrix, const std::vector<Expr> &line, const Halide::Var &a, const Halide::Var &b) {
    using namespace Halide;
    s.length = static_cast<int>(matrix.size());
    s.count = static_cast<int>(line.size());
    s.first(s.j, a, b) = Tuple(product(matrix, line));
    s.lines(s.i, s.j, a, b) = mux(s.i, Tuple(s.first(s.j, a, b)).as_vector());
    std::vector<Expr> values;
    for (int n = 0; n < s.count; n++) {
        values.push_back(s.lines(s.i, n, a, b));
    }
    s.last(s.i, a, b) = Tuple(product(matrix, values));
}

}  // namespace fourfold::winograd
