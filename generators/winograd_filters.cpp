// Winograd's transforms of 3x3 filters, in the order in which winograd_product reads them. Algorithm only; speed lives in
// schedules/*/winograd_filters.cpp.
//
//     packed[fx,fy,c,k] = (G g G^T)[fy,fx],  g[r,s] = filters[c,r,s,k]
//
// In double precision: it is paid once per plan, and the rounding of filters would be felt by every output.
#include "generators/winograd_filters.h"

#include "generators/post_op.h"
#include "generators/winograd_points.h"
#include "schedules/cpu/winograd_filters.h"

using namespace Halide;

namespace {

class WinogradFilters : public Generator<WinogradFilters> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (output channel, column, row, channel); output channels a multiple of 16.
    Input<Buffer<float, 4>> filters{"filters"};
    /// (output channel, 0, channel, fy, fx).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var k("k"), part("part"), c("c"), fy("fy"), fx("fx"), r("r");
        const winograd::Matrix matrix = winograd::filter_matrix(m);

        std::vector<Expr> taps, values;
        for (int s = 0; s < 3; s++) {
            taps.push_back(cast<double>(filters(k, s, r, c)));
        }
        Func line("line"), lines("lines"), column("column");
        line(k, r, c) = Tuple(winograd::evaluate(matrix, taps));
        lines(k, fx, r, c) = mux(fx, Tuple(line(k, r, c)).as_vector());
        for (int i = 0; i < 3; i++) {
            values.push_back(lines(k, fx, i, c));
        }
        column(k, fx, c) = Tuple(winograd::evaluate(matrix, values));
        out(k, part, c, fy, fx) = cast<float>(mux(fy, Tuple(column(k, fx, c)).as_vector()));

        stages = {out, column, lines, line, k, part, c, fy, fx, r, m + 2};
    }

    void schedule() {
        const int t = m + 2;
        fourfold::require_origin(filters);
        fourfold::require_origin(out);
        filters.dim(1).set_extent(3);
        filters.dim(2).set_extent(3);
        out.dim(1).set_extent(1);
        out.dim(3).set_extent(t);
        out.dim(4).set_extent(t);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::WinogradFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradFilters, winograd_filters)
