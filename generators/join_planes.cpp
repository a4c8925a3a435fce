// The valid parts of transformed planes, as cut_planes numbers them, finished where they belong. Algorithm only; speed lives in
// schedules/cuda/map.h.
//
//     out[n,k,p,q] = post(bias[k] + residual + in[v,k, p % advance_y, q % advance_x]),  v = (n*tiles_y + p/advance_y)*tiles_x + q/advance_x
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class JoinPlanes : public Generator<JoinPlanes> {
public:
    /// (column, row, channel, tile), any strides.
    Input<Buffer<float, 4>> in{"in"};
    Input<int32_t> tiles_x{"tiles_x"}, tiles_y{"tiles_y"};  ///< of an image
    Input<int32_t> advance_x{"advance_x"}, advance_y{"advance_y"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// As out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 4>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, channel, image), any strides.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var q("q"), p("p"), k("k"), n("n");
        const auto within = [&](const Expr &i, int d) { return unsafe_promise_clamped(i, 0, in.dim(d).extent() - 1); };
        const Expr tile = (n * tiles_y + p / advance_y) * tiles_x + q / advance_x;
        const Expr v = in(within(q % advance_x, 0), within(p % advance_y, 1), k, within(tile, 3)) + bias(k);
        out(q, p, k, n) = fourfold::post_op(select(use_residual != 0, v + residual(q, p, k, n), v), post, lo, hi);
    }

    void schedule() {
        fourfold::require_origin(in);
        in.dim(0).set_stride(Expr());
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        residual.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map(out);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(JoinPlanes, join_planes)
