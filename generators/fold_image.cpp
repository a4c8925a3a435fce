// fold (col2im) of whole images: every pixel gathers what the columns hold for it. Algorithm only; speed lives in schedules/cuda/map.h.
//
//     out[n,c,y,x] = sum_{r,s} columns[n,c,r,s, (y + tap_row[r])/s0, (x + tap_column[s])/s1]        where s0 and s1 divide
//
// Each filter row has a sum of its own, so that no chain of additions is longer than a filter's side.
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class FoldImage : public Generator<FoldImage> {
public:
    /// (q, p, filter column, filter row, channel, image).
    Input<Buffer<float, 6>> columns{"columns"};
    /// Where pixel 0 would read by a tap, times the stride: the padding before less the tap's distance.
    Input<Buffer<int32_t, 1>> tap_row{"tap_row"}, tap_column{"tap_column"};
    Input<int32_t> step_row{"step_row"}, step_column{"step_column"};
    /// (column, row, channel, image).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var x("x"), y("y"), c("c"), n("n"), u("u");
        const Expr width = columns.dim(0).extent(), height = columns.dim(1).extent();
        RDom taps(0, columns.dim(2).extent(), "taps"), rows(0, columns.dim(3).extent(), "rows");
        const Expr wide = x + tap_column(taps.x), high = y + tap_row(u);
        const Expr q = wide / step_column, p = high / step_row;
        const Expr inside = wide >= 0 && q < width && wide % step_column == 0 && high >= 0 && p < height && high % step_row == 0;
        line(x, y, c, n, u) = 0.0f;
        line(x, y, c, n, u) += select(inside, columns(clamp(q, 0, width - 1), clamp(p, 0, height - 1), taps.x, u, c, n), 0.0f);
        total(x, y, c, n) = 0.0f;
        total(x, y, c, n) += line(x, y, c, n, rows.x);
        out(x, y, c, n) = total(x, y, c, n);
        row = rows.x;
    }

    void schedule() {
        fourfold::require_origin(columns);
        fourfold::require_origin(tap_row);
        fourfold::require_origin(tap_column);
        fourfold::require_origin(out);
        out.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map_of_sums(out, {total, line}, {row});
    }

private:
    Func line{"line"}, total{"total"};
    RVar row;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(FoldImage, fold_image)
