// Winograd's transforms of the overlapping tiles of images, read where they lie, a thread to a tile and channel. Algorithm only; speed
// lives in schedules/cuda/winograd_gpu.h.
//
//     out[fy,fx,c,tile] = (B^T d B)[fy,fx],  d[y,x] = x[n,c, ty*m + y - top, tx*m + x - left]
//
// Tiles are numbered through, tx fastest, then ty, then images n; beyond the last image they repeat. Places outside the image are
// `value`; other padding modes come through pad first. Tiles are innermost in memory, as forward multiplies them, or channels, as the
// gradient of the filters does; of these there may be more than the image has, which repeat its last.
#include "generators/post_op.h"
#include "generators/winograd_passes.h"
#include "schedules/cuda/winograd_gpu.h"

using namespace Halide;

namespace {

enum class Inner { kTiles, kChannels };

class WinogradCut : public Generator<WinogradCut> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis
    GeneratorParam<Inner> layout{"layout", Inner::kTiles, {{"tiles", Inner::kTiles}, {"channels", Inner::kChannels}}};  ///< what is innermost

    /// (column, row, channel, image), any strides.
    Input<Buffer<float, 4>> x{"x"};
    Input<int32_t> tiles_x{"tiles_x"}, tiles_y{"tiles_y"};  ///< of an image
    Input<int32_t> left{"left"}, top{"top"};
    Input<float> value{"value"};
    /// (tile, channel, fx, fy); tiles a multiple of 32, or channels.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        Var tile("tile"), c("c"), fx("fx"), fy("fy");
        Var &j = stages.j;
        const int t = m + 2;
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const Expr n = clamp(tile / (tiles_x * tiles_y), 0, x.dim(3).extent() - 1);
        const Expr row = tile / tiles_x % tiles_y * m - top + j, column = tile % tiles_x * m - left;
        const bool channels_inside = layout == Inner::kChannels;
        const Expr channel = channels_inside ? min(c, x.dim(2).extent() - 1) : Expr(c);
        std::vector<Expr> samples;
        for (int s = 0; s < t; s++) {
            const Expr at = column + s, inside = row >= 0 && row < height && at >= 0 && at < width;
            samples.push_back(select(inside, x(clamp(at, 0, width - 1), clamp(row, 0, height - 1), channel, n), value));
        }
        winograd::transform_lines(stages, winograd::evaluate, winograd::input_matrix(m), samples, tile, c);
        out(tile, c, fx, fy) = mux(fy, Tuple(stages.last(fx, tile, c)).as_vector());
        stages.out = out;
        fourfold::require_origin(x);
        fourfold::require_origin(out);
        x.dim(0).set_stride(Expr());
        out.dim(2).set_extent(t);
        out.dim(3).set_extent(t);
        out.bound(fx, 0, t).bound(fy, 0, t);
        if (channels_inside) {
            out.dim(0).set_stride(Expr());
            out.dim(1).set_stride(1);
            fourfold::cuda::schedule_winograd(stages, 32, TailStrategy::RoundUp, c, tile, fx, fy);
        } else {
            fourfold::cuda::schedule_winograd(stages, 32, TailStrategy::RoundUp, tile, c, fx, fy);
        }
    }

private:
    fourfold::WinogradGpuStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradCut, winograd_cut)
