// Winograd's transforms of tiles of m x m gradients of outputs, 16 channels at a time: the adjoint of winograd_inverse. Algorithm
// only; speed lives in schedules/*/winograd_gradient.cpp.
//
//     out[fx,fy,tile,row] = (A g A^T)[fy,fx],  g[y,x] = in[row,y,tile,x]
//
// The ports are those of winograd_forward but for the size of a tile.
#include "generators/winograd_forward.h"

#include "generators/post_op.h"
#include "generators/winograd_points.h"
#include "schedules/cpu/winograd_gradient.h"

using namespace Halide;

namespace {

class WinogradGradient : public Generator<WinogradGradient> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, column in the tile, tile, row in the tile, row of tiles).
    Input<Buffer<float, 5>> in{"in"};
    /// (channel, row of tiles, 0, tile, fy, fx).
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var l("l"), row("row"), part("part"), tile("tile"), fx("fx"), fy("fy"), y("y");
        const int t = m + 2;
        const winograd::Matrix matrix = winograd::transposed(winograd::output_matrix(m));

        std::vector<Expr> samples, values;
        for (int x = 0; x < m; x++) {
            samples.push_back(in(l, x, tile, y, row));
        }
        Func line("line"), lines("lines"), column("column");
        line(l, y, tile, row) = Tuple(winograd::evaluate(matrix, samples));
        lines(l, fx, y, tile, row) = mux(fx, Tuple(line(l, y, tile, row)).as_vector());
        for (int i = 0; i < m; i++) {
            values.push_back(lines(l, fx, i, tile, row));
        }
        column(l, fx, tile, row) = Tuple(winograd::evaluate(matrix, values));
        out(l, row, part, tile, fy, fx) = mux(fy, Tuple(column(l, fx, tile, row)).as_vector());

        stages = {out, column, lines, line, l, row, part, tile, fx, fy, y, t, m};
    }

    void schedule() {
        const int t = m + 2;
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(1).set_extent(m);
        out.dim(0).set_extent(16);
        out.dim(2).set_extent(1);
        out.dim(4).set_extent(t);
        out.dim(5).set_extent(t);
        fourfold::cpu::schedule_gradient(stages, get_target());
    }

private:
    fourfold::WinogradForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradGradient, winograd_gradient)
