// Winograd's transforms of sums of products to gradients of 3x3 filters, 16 output channels at a time: the adjoint of
// winograd_filters. Algorithm only; speed lives in schedules/*/winograd_filters_gradient.cpp.
//
//     out[row,y,c,x] = (G^T p G)[y,x],  p[fy,fx] = in[fx,fy,c,row]
//
// The ports are those of winograd_inverse, input channels c in place of tiles.
#include "generators/winograd_inverse.h"

#include "generators/post_op.h"
#include "generators/winograd_points.h"
#include "schedules/cpu/winograd_filters_gradient.h"

using namespace Halide;

namespace {

class WinogradFiltersGradient : public Generator<WinogradFiltersGradient> {
public:
    GeneratorParam<int> m{"m", 4};  ///< gradients of outputs of a tile in each axis

    /// (output channel, 0, 0, input channel, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (output channel, column, input channel, row, 0).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var l("l"), x("x"), tile("tile"), y("y"), row("row"), fx("fx");
        const int t = m + 2;
        const winograd::Matrix matrix = winograd::transposed(winograd::filter_matrix(m));

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

        stages = {out, line, columns, column, l, x, tile, y, row, fx, 3, t};
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
        out.dim(1).set_extent(3);
        fourfold::cpu::schedule_filters_gradient(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradFiltersGradient, winograd_filters_gradient)
