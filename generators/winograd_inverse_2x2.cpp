// Winograd's transforms of product tiles to (m + 1) x (m + 1) outputs where filters have 2x2 taps: the phases of 3x3 filters with
// stride 2. 16 output channels at a time. Algorithm only; speed lives in schedules/*/winograd_inverse_2x2.cpp.
//
//     out[row,y,tile,x] = (A^T p A)[y,x],  p[fy,fx] = in[fx,fy,tile,row]
//
// F(m + 1, 2) has the t = m + 2 points of F(m, 3), so that winograd_forward and winograd_filters, whose third taps are zero, serve both.
// m is odd: all points are finite. The ports are those of winograd_inverse.
#include "generators/winograd_inverse.h"

#include "generators/post_op.h"
#include "generators/winograd_points.h"
#include "schedules/cpu/winograd_inverse_2x2.h"

using namespace Halide;

namespace {

class WinogradInverse2x2 : public Generator<WinogradInverse2x2> {
public:
    GeneratorParam<int> m{"m", 3};  ///< of the tile's F(m, 3), odd: it has m + 1 outputs in each axis

    /// (channel, row of tiles, 0, tile, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel, column in the tile, tile, row in the tile, row of tiles); at most m + 1 rows.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var l("l"), x("x"), tile("tile"), y("y"), row("row"), fx("fx");
        const int t = m + 2;
        const winograd::Matrix matrix = winograd::output_matrix(m, m + 1);

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

        stages = {out, line, columns, column, l, x, tile, y, row, fx, m + 1, t};
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
        out.dim(1).set_extent(m + 1);
        fourfold::cpu::schedule_inverse_2x2(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradInverse2x2, winograd_inverse_2x2)
