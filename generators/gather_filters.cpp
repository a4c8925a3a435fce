// Filters laid out in transform-sized planes, as place_filters does, but read from the plane's side, which needs no order of writing
// on a GPU. Algorithm only; speed lives in schedules/cuda/map.h.
//
//     out[k,c,y,x] = sum_{a,b} w[k,c,row[y,a],column[x,b]]        taps that wrap around onto one place add up; negative: none
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class GatherFilters : public Generator<GatherFilters> {
public:
    /// Filters (column, row, channel, output channel).
    Input<Buffer<float, 4>> w{"w"};
    /// The filter's rows at each row of the plane, and its columns at each column (place, which of them), or negative.
    Input<Buffer<int32_t, 2>> row{"row"}, column{"column"};
    /// Planes (column, row, channel, output channel).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var x("x"), y("y"), c("c"), k("k");
        RDom tap(0, column.dim(1).extent(), 0, row.dim(1).extent(), "tap");
        const Expr s = column(x, tap.x), r = row(y, tap.y);
        Func taps("taps");
        taps(x, y, c, k) = 0.0f;
        taps(x, y, c, k) += select(s >= 0 && r >= 0, w(clamp(s, 0, w.dim(0).extent() - 1), clamp(r, 0, w.dim(1).extent() - 1), c, k), 0.0f);
        out(x, y, c, k) = taps(x, y, c, k);
    }

    void schedule() {
        fourfold::require_origin(w);
        fourfold::require_origin(row);
        fourfold::require_origin(column);
        fourfold::require_origin(out);
        w.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map(out);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(GatherFilters, gather_filters)
