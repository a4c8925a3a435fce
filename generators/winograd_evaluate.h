// What winograd_forward and winograd_gradient compute, each with a matrix of its own: tiles of samples, evaluated at the points along both
// axes.
//
//     out[fx,fy,tile,row] = (M d M^T)[fy,fx],  d[y,x] = in[row,y,tile,x]
#pragma once

#include "generators/post_op.h"
#include "generators/winograd_forward.h"
#include "generators/winograd_points.h"

namespace fourfold::winograd {

/// The ports are those of winograd_forward; the matrix has a row per point and a column per row and column of a tile.
inline WinogradForwardStages evaluate_tiles(const Matrix &matrix, Halide::GeneratorInput<Halide::Buffer<float, 5>> &in, Halide::GeneratorOutput<Halide::Buffer<float, 6>> &out) {
    using namespace Halide;
    const int t = static_cast<int>(matrix.size()), height = static_cast<int>(matrix.front().size());
    Var l("l"), row("row"), part("part"), tile("tile"), fx("fx"), fy("fy"), y("y");

    std::vector<Expr> samples, values;
    for (int x = 0; x < height; x++) {
        samples.push_back(in(l, x, tile, y, row));
    }
    Func line("line"), lines("lines"), column("column");
    line(l, y, tile, row) = Tuple(evaluate(matrix, samples));
    lines(l, fx, y, tile, row) = mux(fx, Tuple(line(l, y, tile, row)).as_vector());
    for (int i = 0; i < height; i++) {
        values.push_back(lines(l, fx, i, tile, row));
    }
    column(l, fx, tile, row) = Tuple(evaluate(matrix, values));
    out(l, row, part, tile, fy, fx) = mux(fy, Tuple(column(l, fx, tile, row)).as_vector());

    require_origin(in);
    require_origin(out);
    in.dim(0).set_extent(16);
    in.dim(1).set_extent(height);
    out.dim(0).set_extent(16);
    out.dim(2).set_extent(1);
    out.dim(4).set_extent(t);
    out.dim(5).set_extent(t);
    return {out, column, lines, line, l, row, part, tile, fx, fy, y, t, height};
}

}  // namespace fourfold::winograd
