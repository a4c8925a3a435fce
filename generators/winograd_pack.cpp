// Winograd's transforms of 3x3 filters in the order in which winograd_product reads them, a thread to a filter. Algorithm only; speed
// lives in schedules/cuda/winograd_gpu.h.
//
//     packed[fy,fx,k/16,c,k%16] = (G g G^T)[fy,fx],  g[r,s] = w[k,c,r,s]      zero for k beyond the last output channel
#include "generators/post_op.h"
#include "generators/winograd_passes.h"
#include "schedules/cuda/winograd_gpu.h"

using namespace Halide;

namespace {

class WinogradPack : public Generator<WinogradPack> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// Filters (column, row, channel, output channel), any strides.
    Input<Buffer<float, 4>> w{"w"};
    /// (k % 16 + 16 * channel, k / 16, fx, fy).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var a("a"), b("b"), fx("fx"), fy("fy");
        Var &j = stages.j;
        const Expr k = b * 16 + a % 16, c = clamp(a / 16, 0, w.dim(2).extent() - 1), last = w.dim(3).extent() - 1;
        std::vector<Expr> taps;
        for (int s = 0; s < 3; s++) {
            taps.push_back(select(k <= last, w(s, j, c, clamp(k, 0, last)), 0.0f));
        }
        winograd::transform_lines(stages, winograd::evaluate, winograd::filter_matrix(m), taps, a, b);
        out(a, b, fx, fy) = mux(fy, Tuple(stages.last(fx, a, b)).as_vector());
        stages.out = out;
        fourfold::require_origin(w);
        fourfold::require_origin(out);
        w.dim(0).set_extent(3).set_stride(Expr());
        w.dim(1).set_extent(3);
        out.dim(2).set_extent(m + 2);
        out.dim(3).set_extent(m + 2);
        out.bound(fx, 0, m + 2).bound(fy, 0, m + 2);
        fourfold::cuda::schedule_winograd(stages, 16, TailStrategy::RoundUp, a, b, fx, fy);
    }

private:
    fourfold::WinogradGpuStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradPack, winograd_pack)
