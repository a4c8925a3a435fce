// Winograd's transforms of 3x3 filters, in the order in which winograd_product reads them. Algorithm only; speed lives in
// schedules/*/winograd_filters.cpp.
//
//     packed[fx,fy,k/K,c,k%K] = (G g G^T)[fy,fx],  g = filters[k,c] or, flipped, its rotation by 180 degrees;
//                               zero for k beyond the last
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

    /// (column, row, channel, output channel).
    Input<Buffer<float, 4>> filters{"filters"};
    Input<int32_t> flip{"flip"};
    /// (k % K, 0, channel, k / K, fy, fx); K is its first extent.
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var ki("ki"), part("part"), c("c"), ko("ko"), fy("fy"), fx("fx"), r("r");
        const winograd::Matrix matrix = winograd::filter_matrix(m);
        const Expr k = ko * out.dim(0).extent() + ki;
        const Expr last = filters.dim(3).extent() - 1;

        std::vector<Expr> taps, values;
        for (int s = 0; s < 3; s++) {
            const Expr tap = filters(select(flip != 0, 2 - s, s), clamp(select(flip != 0, 2 - r, r), 0, 2), c, clamp(k, 0, last));
            taps.push_back(cast<double>(select(k <= last, tap, 0.0f)));
        }
        Func line("line"), lines("lines"), column("column");
        line(ki, r, c, ko) = Tuple(winograd::evaluate(matrix, taps));
        lines(ki, fx, r, c, ko) = mux(fx, Tuple(line(ki, r, c, ko)).as_vector());
        for (int i = 0; i < 3; i++) {
            values.push_back(lines(ki, fx, i, c, ko));
        }
        column(ki, fx, c, ko) = Tuple(winograd::evaluate(matrix, values));
        out(ki, part, c, ko, fy, fx) = cast<float>(mux(fy, Tuple(column(ki, fx, c, ko)).as_vector()));

        stages = {out, column, lines, line, ki, part, c, ko, fy, fx, r, m + 2};
    }

    void schedule() {
        const int t = m + 2;
        fourfold::require_origin(filters);
        fourfold::require_origin(out);
        filters.dim(0).set_extent(3);
        filters.dim(1).set_extent(3);
        out.dim(1).set_extent(1);
        out.dim(4).set_extent(t);
        out.dim(5).set_extent(t);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::WinogradFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradFilters, winograd_filters)
