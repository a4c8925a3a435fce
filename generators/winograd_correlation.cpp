// The product of transformed tiles of the image with those of the gradient, summed over the tiles: per point a real (channels x
// tiles)(tiles x outputs) GEMM. Algorithm only; speed lives in schedules/*/winograd_correlation.cpp.
//
//     out[f,c,k] = total[f,c,k] + sum_tile x[f,tile,c] * g[f,tile,k]
//
// The ports are those of tile_correlation with one part instead of two. im2col's bwd-data uses it for another product of panels.
#include "generators/post_op.h"
#include "generators/winograd_product.h"
#include "schedules/cpu/winograd_correlation.h"

using namespace Halide;

namespace {

class WinogradCorrelation : public Generator<WinogradCorrelation> {
public:
    GeneratorParam<int> r{"r", 8};  ///< channels of a register tile
    GeneratorParam<int> v{"v", 2};  ///< blocks of 16 outputs of a register tile

    /// (channel, 0, tile, point), readable up to the last channel rounded up to r.
    Input<Buffer<float, 4>> x{"x"};
    /// (output % (16*v), 0, tile, output / (16*v), point).
    Input<Buffer<float, 5>> g{"g"};
    /// As out; read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 4>> before{"before"};
    Input<int32_t> accumulate{"accumulate"};
    /// (output, 0, channel, point), writable up to the last channel rounded up to r.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var k("k"), part("part"), c("c"), f("f"), b("b");
        const int width = 16 * v;
        const Expr tiles = g.dim(2).extent();
        RDom t(0, kBlock, "t");
        RDom tb(0, (tiles + kBlock - 1) / kBlock, "tb");
        const Expr term = b * kBlock + t;
        t.where(term < tiles);
        const Expr tile = unsafe_promise_clamped(term, 0, tiles - 1);
        Func sum("sum"), total("total");
        sum(k, c, f, b) += x(c, 0, tile, f) * g(k % width, 0, tile, k / width, f);
        total(k, c, f) += sum(k, c, f, tb);
        out(k, part, c, f) = total(k, c, f) + select(accumulate != 0, before(k, part, c, f), 0.0f);
        stages = {out, total, sum, k, part, c, f, b, t.x, tb.x};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(g);
        fourfold::require_origin(before);
        fourfold::require_origin(out);
        x.dim(1).set_extent(1);
        g.dim(0).set_extent(16 * v);
        g.dim(1).set_extent(1);
        g.dim(2).set_stride(16 * v);
        out.dim(1).set_extent(1);
        fourfold::cpu::schedule_correlation(stages, {r, v}, accumulate, get_target());
    }

private:
    /// Tiles that one accumulator sums up before it is added to the total: bounds the error of long sums.
    static constexpr int kBlock = 512;

    /// The stages of winograd_product with other names: its tiles are our channels, its channels our tiles.
    fourfold::WinogradProductStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradCorrelation, winograd_correlation)
