// What winograd_inverse, winograd_inverse_2x2 and winograd_filters_gradient compute, each with a matrix of its own: tiles of points,
// interpolated along both axes.
//
//     out[row,y,tile,x] = (M p M^T)[y,x],  p[fy,fx] = in[fx,fy,tile,row]
#pragma once

#include "generators/post_op.h"
#include "generators/winograd_inverse.h"
#include "generators/winograd_points.h"

namespace fourfold::winograd {

/// The ports are those of winograd_inverse; the matrix has a row per output and a column per point.
inline WinogradInverseStages interpolate_tiles(const Matrix &matrix, Halide::GeneratorInput<Halide::Buffer<float, 6>> &in, Halide::GeneratorOutput<Halide::Buffer<float, 5>> &out) {
    using namespace Halide;
    const int outputs = static_cast<int>(matrix.size()), t = static_cast<int>(matrix.front().size());
    Var l("l"), x("x"), tile("tile"), y("y"), row("row"), fx("fx");

    std::vector<Expr> points, values;
    for (int fy = 0; fy < t; fy++) {
        points.push_back(in(l, row, 0, tile, fy, fx));
    }
    Func column("column"), columns("columns"), line("line");
    column(l, fx, tile, row) = Tuple(interpolate(matrix, points));
    columns(l, y, fx, tile, row) = mux(y, Tuple(column(l, fx, tile, row)).as_vector());
    for (int i = 0; i < t; i++) {
        values.push_back(columns(l, y, i, tile, row));
    }
    line(l, y, tile, row) = Tuple(interpolate(matrix, values));
    out(l, x, tile, y, row) = mux(x, Tuple(line(l, y, tile, row)).as_vector());

    require_origin(in);
    require_origin(out);
    in.dim(0).set_extent(16);
    in.dim(2).set_extent(1);
    in.dim(4).set_extent(t);
    in.dim(5).set_extent(t);
    out.dim(0).set_extent(16);
    out.dim(1).set_extent(outputs);
    return {out, line, columns, column, l, x, tile, y, row, fx, outputs, t};
}

}  // namespace fourfold::winograd
