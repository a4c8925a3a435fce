// unfold (im2col) of whole images: patches straight from the image, padding included. Algorithm only; speed lives in
// schedules/cuda/map.h.
//
//     out[n,c,t,p,q] = x[n,c, p*s0 + tap_row[t], q*s1 + tap_column[t]]        `value` outside the image
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class UnfoldImage : public Generator<UnfoldImage> {
public:
    /// (column, row, channel, image).
    Input<Buffer<float, 4>> x{"x"};
    /// Of each tap, relative to the place of output pixel 0: negative in the padding.
    Input<Buffer<int32_t, 1>> tap_row{"tap_row"}, tap_column{"tap_column"};
    Input<int32_t> step_row{"step_row"}, step_column{"step_column"};
    Input<float> value{"value"};
    /// (q, p, tap, channel, image).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var q("q"), p("p"), t("t"), c("c"), n("n");
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const Expr row = p * step_row + tap_row(t), column = q * step_column + tap_column(t);
        const Expr inside = row >= 0 && row < height && column >= 0 && column < width;
        out(q, p, t, c, n) = select(inside, x(clamp(column, 0, width - 1), clamp(row, 0, height - 1), c, n), value);
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(tap_row);
        fourfold::require_origin(tap_column);
        fourfold::require_origin(out);
        x.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map(out);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(UnfoldImage, unfold_image)
