// Filters laid out in transform-sized planes. Algorithm only; speed lives in schedules/*/place_filters.cpp.
//
//     out[k,y,x] = sum of w[k,r,s] over the taps with row[r] == y and column[s] == x, and zero elsewhere
//
// Negative positions mean that a tap belongs to another phase of a strided problem. Taps that wrap around the plane onto
// the same place add up, as the cyclic convolution would have them.
#include "generators/place_filters.h"

#include "generators/post_op.h"
#include "schedules/cpu/place_filters.h"

using namespace Halide;

namespace {

class PlaceFilters : public Generator<PlaceFilters> {
public:
    /// Filters (column, row, output channel).
    Input<Buffer<float, 3>> w{"w"};
    /// Place in the plane of each filter row and column, or negative.
    Input<Buffer<int32_t, 1>> row{"row"}, column{"column"};
    /// Planes (column, row, output channel).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var x("x"), y("y"), k("k");
        RDom tap(0, w.dim(0).extent(), 0, w.dim(1).extent(), "tap");
        const Expr cx = column(tap.x), cy = row(tap.y);
        tap.where(cx >= 0 && cy >= 0);
        const Expr px = unsafe_promise_clamped(cx, 0, out.dim(0).extent() - 1);
        const Expr py = unsafe_promise_clamped(cy, 0, out.dim(1).extent() - 1);
        out(x, y, k) = 0.0f;
        out(px, py, k) += w(tap.x, tap.y, k);
        stages = {out, x, y, k, tap.x, tap.y};
    }

    void schedule() {
        fourfold::require_origin(w);
        fourfold::require_origin(row);
        fourfold::require_origin(column);
        fourfold::require_origin(out);
        w.dim(0).set_stride(Expr());
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::PlaceFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PlaceFilters, place_filters)
