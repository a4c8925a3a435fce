// Winograd's transforms of product tiles to m x m outputs each, finished where they belong, a thread to a tile and channel. Algorithm
// only; speed lives in schedules/cuda/winograd_gpu.h.
//
//     out[n,k,ty*m + y,tx*m + x] = post(bias[k] + residual + (A^T p A)[y,x]),  p[fy,fx] = in[fy,fx,k,tile]
//
// Tiles as winograd_cut numbers them; what of a tile lies beyond the image is dropped.
#include "generators/post_op.h"
#include "generators/winograd_passes.h"
#include "schedules/cuda/winograd_gpu.h"

using namespace Halide;

namespace {

class WinogradJoin : public Generator<WinogradJoin> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (tile, channel, fx, fy).
    Input<Buffer<float, 4>> in{"in"};
    Input<int32_t> tiles_x{"tiles_x"}, tiles_y{"tiles_y"};  ///< of an image
    Input<Buffer<float, 1>> bias{"bias"};
    /// As out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 4>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, channel, image), any strides.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var tile("tile"), k("k"), q("q"), p("p"), n("n");
        Var &j = stages.j;
        const int t = m + 2;
        std::vector<Expr> points;
        for (int fy = 0; fy < t; fy++) {
            points.push_back(in(tile, k, j, fy));
        }
        winograd::transform_lines(stages, winograd::interpolate, winograd::output_matrix(m), points, tile, k);
        const Expr width = out.dim(0).extent(), height = out.dim(1).extent(), images = out.dim(3).extent();
        RDom to(0, m, 0, m, 0, tiles_x * tiles_y * images, "to");
        const Expr column = to.z % tiles_x * m + to.x, row = to.z / tiles_x % tiles_y * m + to.y;
        to.where(column < width && row < height);
        const Expr tq = unsafe_promise_clamped(column, 0, width - 1), tp = unsafe_promise_clamped(row, 0, height - 1), tn = unsafe_promise_clamped(to.z / (tiles_x * tiles_y), 0, images - 1);
        const Expr v = mux(to.x, Tuple(stages.last(to.y, to.z, k)).as_vector()) + bias(k);
        out(q, p, k, n) = undef<float>();
        out(tq, tp, k, tn) = fourfold::post_op(select(use_residual != 0, v + residual(tq, tp, k, tn), v), post, lo, hi);
        stages.out = out;
        fourfold::require_origin(in);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        residual.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_winograd_join(stages, to.x, to.y, to.z, k);
    }

private:
    fourfold::WinogradGpuStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradJoin, winograd_join)
