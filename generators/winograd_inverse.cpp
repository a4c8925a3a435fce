// Winograd's transforms of product tiles to m x m outputs, 16 output channels at a time. Algorithm only; speed lives in
// schedules/*/winograd_inverse.cpp.
//
//     out[row,y,tile,x] = (A^T p A)[y,x],  p[fy,fx] = in[fx,fy,tile,row]
//
// The ports are those of tile_inverse with one part instead of two.
#include "generators/winograd_inverse.h"

#include "generators/post_op.h"
#include "generators/winograd_points.h"
#include "schedules/cpu/winograd_inverse.h"

using namespace Halide;

namespace {

class WinogradInverse : public Generator<WinogradInverse> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, row of tiles, 0, tile, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel, column in the tile, tile, row in the tile, row of tiles); at most m rows.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var l("l"), x("x"), tile("tile"), y("y"), row("row"), fx("fx");
        const int t = m + 2;
        const winograd::Matrix matrix = winograd::output_matrix(m);

        std::vector<Expr> points, values;
        for (int fy = 0; fy < t; fy++) {
            points.push_back(in(l, row, 0, tile, fy, fx));
        }
        Func column("column"), columns("columns"), line("line");
        column(l, fx, tile, row) = Tuple(winograd::interpolate(matrix, points));
        columns(l, y, fx, tile, row) = mux(y, Tuple(column(l, fx, tile, row)).as_vector());
        for (int i = 0; i < t; i++) {
            values.push_back(columns(l, y, i, tile, row));
        }
        line(l, y, tile, row) = Tuple(winograd::interpolate(matrix, values));
        out(l, x, tile, y, row) = mux(x, Tuple(line(l, y, tile, row)).as_vector());

        stages = {out, line, columns, column, l, x, tile, y, row, fx, m, t};
    }

    void schedule() {
        const int t = m + 2;
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(2).set_extent(1);
        in.dim(4).set_extent(t);
        in.dim(5).set_extent(t);
        out.dim(0).set_extent(16);
        out.dim(1).set_extent(m);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradInverse, winograd_inverse)
