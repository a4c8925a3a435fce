// Winograd's transforms of tiles of m x m gradients of outputs, read where they lie, in the order in which winograd_product reads filters: a
// thread to a tile and channel. The adjoint of winograd_join's transform. Algorithm only; speed lives in schedules/cuda/winograd_gpu.h.
//
//     packed[fy,fx,part*blocks + k/16,tile,k%16] = (A g A^T)[fy,fx],  g[y,x] = gy[n,k, ty*m + y, tx*m + x]
//
// Tiles as winograd_cut numbers them, tile 0 of a part following the last of the part before. Zero beyond the image, the last image and the
// last channel.
#include "generators/post_op.h"
#include "generators/winograd_passes.h"
#include "schedules/cuda/winograd_gpu.h"

using namespace Halide;

namespace {

class WinogradGradientPack : public Generator<WinogradGradientPack> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (column, row, k, image), any strides.
    Input<Buffer<float, 4>> gy{"gy"};
    Input<int32_t> tiles_x{"tiles_x"}, tiles_y{"tiles_y"};  ///< of an image
    /// (k % 16 + 16 * tile of the part, part * blocks + k / 16, fx, fy); an even number of tiles to a part.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var a("a"), b("b"), fx("fx"), fy("fy");
        Var &j = stages.j;
        const int t = m + 2;
        const Expr width = gy.dim(0).extent(), height = gy.dim(1).extent(), channels = gy.dim(2).extent(), images = gy.dim(3).extent();
        const Expr blocks = (channels + 15) / 16;
        const Expr k = b % blocks * 16 + a % 16, tile = b / blocks * (out.dim(0).extent() / 16) + a / 16;
        const Expr row = tile / tiles_x % tiles_y * m + j, column = tile % tiles_x * m, n = tile / (tiles_x * tiles_y);
        std::vector<Expr> samples;
        for (int s = 0; s < m; s++) {
            const Expr at = column + s, inside = k < channels && n < images && row < height && at < width;
            samples.push_back(select(inside, gy(clamp(at, 0, width - 1), clamp(row, 0, height - 1), clamp(k, 0, channels - 1), clamp(n, 0, images - 1)), 0.0f));
        }
        winograd::transform_lines(stages, winograd::evaluate, winograd::transposed(winograd::output_matrix(m)), samples, a, b);
        out(a, b, fx, fy) = mux(fy, Tuple(stages.last(fx, a, b)).as_vector());
        stages.out = out;
        fourfold::require_origin(gy);
        fourfold::require_origin(out);
        gy.dim(0).set_stride(Expr());
        out.dim(2).set_extent(t);
        out.dim(3).set_extent(t);
        out.bound(fx, 0, t).bound(fy, 0, t);
        fourfold::cuda::schedule_winograd(stages, 32, TailStrategy::RoundUp, a, b, fx, fy);
    }

private:
    fourfold::WinogradGpuStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradGradientPack, winograd_gradient_pack)
