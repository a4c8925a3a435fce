// Winograd's transforms of sums of products to gradients of 3x3 filters, where those lie, a thread to a filter: the adjoint of winograd_pack.
// Algorithm only; speed lives in schedules/cuda/winograd_gpu.h.
//
//     out[k,c,r,s] = before + (G^T p G)[r,s],  p[fy,fx] = sum_part in[fy,fx,part,k,c]
#include "generators/post_op.h"
#include "generators/winograd_passes.h"
#include "schedules/cuda/winograd_gpu.h"

using namespace Halide;

namespace {

class WinogradGradientJoin : public Generator<WinogradGradientJoin> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, output channel, part, fx, fy).
    Input<Buffer<float, 5>> in{"in"};
    /// As out; read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 4>> before{"before"};
    Input<int32_t> accumulate{"accumulate"};
    /// (channel, output channel, column, row), any strides.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var c("c"), k("k"), s("s"), r("r"), fx("fx"), fy("fy");
        Var &j = stages.j;
        const int t = m + 2;
        RDom part(0, in.dim(2).extent(), "part");
        stages.sum(fy, fx, c, k) = 0.0f;
        stages.sum(fy, fx, c, k) += in(c, k, part, fx, fy);
        std::vector<Expr> points;
        for (int p = 0; p < t; p++) {
            points.push_back(stages.sum(p, j, c, k));
        }
        winograd::transform_lines(stages, winograd::interpolate, winograd::transposed(winograd::filter_matrix(m)), points, c, k);
        out(c, k, s, r) = mux(s, Tuple(stages.last(r, c, k)).as_vector()) + select(accumulate != 0, before(c, k, s, r), 0.0f);
        stages.out = out;
        fourfold::require_origin(in);
        fourfold::require_origin(before);
        fourfold::require_origin(out);
        before.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        out.dim(2).set_extent(3);
        out.dim(3).set_extent(3);
        out.bound(s, 0, 3).bound(r, 0, 3);
        fourfold::cuda::schedule_winograd(stages, 32, TailStrategy::GuardWithIf, c, k, r, s);
        fourfold::cuda::schedule_sum(stages, fy, part);
    }

private:
    fourfold::WinogradGpuStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradGradientJoin, winograd_gradient_join)
