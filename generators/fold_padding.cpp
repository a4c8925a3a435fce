// The gradient of a padded image back onto the image: each pixel adds up the places of the padded image that repeat it. Algorithm only;
// speed lives in schedules/cuda/map.h.
//
//     out[n,c,y,x] = post(bias[c] + residual[n,c,y,x] + sum_{a in rows(y)} sum_{b in columns(x)} padded[n,c,a,b])
//
// rows(y) are row[row_begin[y]] ... row[row_begin[y+1] - 1], and columns(x) alike.
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class FoldPadding : public Generator<FoldPadding> {
public:
    /// (column, row, channel, image).
    Input<Buffer<float, 4>> padded{"padded"};
    Input<Buffer<int32_t, 1>> row_begin{"row_begin"}, row{"row"}, column_begin{"column_begin"}, column{"column"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// As out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 4>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, channel, image).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var x("x"), y("y"), c("c"), n("n");
        // A pixel of an edge may repeat all along the padding: the bound is the whole list, the loops are as long as the pixel's.
        const Expr first_row = row_begin(y), rows = row_begin(y + 1) - first_row, first_column = column_begin(x), columns = column_begin(x + 1) - first_column;
        RDom k(0, column.dim(0).extent(), 0, row.dim(0).extent(), "k");
        k.where(k.y < rows && k.x < columns);
        const Expr a = row(unsafe_promise_clamped(first_row + k.y, 0, row.dim(0).extent() - 1)), b = column(unsafe_promise_clamped(first_column + k.x, 0, column.dim(0).extent() - 1));
        sum(x, y, c, n) = 0.0f;
        sum(x, y, c, n) += padded(unsafe_promise_clamped(b, 0, padded.dim(0).extent() - 1), unsafe_promise_clamped(a, 0, padded.dim(1).extent() - 1), c, n);
        const Expr v = sum(x, y, c, n) + bias(c);
        out(x, y, c, n) = fourfold::post_op(select(use_residual != 0, v + residual(x, y, c, n), v), post, lo, hi);
    }

    void schedule() {
        fourfold::require_origin(padded);
        fourfold::require_origin(row_begin);
        fourfold::require_origin(row);
        fourfold::require_origin(column_begin);
        fourfold::require_origin(column);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        residual.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map_of_sums(out, {sum});
    }

private:
    Func sum{"sum"};
};

}  // namespace

HALIDE_REGISTER_GENERATOR(FoldPadding, fold_padding)
