// The product of transformed tiles with transformed filters: per point a real (tiles x channels)(channels x outputs) GEMM.
// Algorithm only; speed lives in schedules/*/winograd_product.cpp.
//
//     out[f,tile,k] = sum_c x[f,tile,c] * w[f,c,k]
//
// The ports are those of tile_product with one part instead of two.
#include "generators/winograd_product.h"

#include "generators/post_op.h"
#include "generators/wide_loads.h"
#include "schedules/cpu/winograd_product.h"
#include "schedules/cuda/winograd_product.h"

using namespace Halide;

namespace {

class WinogradProduct : public Generator<WinogradProduct> {
public:
    GeneratorParam<int> r{"r", 4};  ///< tiles of a register tile
    GeneratorParam<int> v{"v", 2};  ///< blocks of 16 output channels of a register tile

    /// (channel, 0, tile, point), readable up to the last tile rounded up to r.
    Input<Buffer<float, 4>> x{"x"};
    /// (output channel % (16*v), 0, channel, output channel / (16*v), point). See winograd_filters.
    Input<Buffer<float, 5>> packed{"packed"};
    /// (output channel, 0, tile, point), writable up to the last tile rounded up to r.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var k("k"), part("part"), tile("tile"), f("f"), b("b");
        const int width = 16 * v;
        const Expr channels = packed.dim(2).extent();
        RDom c(0, kBlock, "c");
        RDom cb(0, (channels + kBlock - 1) / kBlock, "cb");
        const Expr term = b * kBlock + c;
        c.where(term < channels);
        const Expr channel = unsafe_promise_clamped(term, 0, channels - 1);
        Func sum("sum"), total("total");
        if (get_target().has_gpu_feature()) {
            // Functions of their own, so that a thread may load several together. Threads may reach beyond the last block of output channels.
            Func &filters = stages.filters, &tiles = stages.tiles;
            const Expr at = unsafe_promise_clamped(b * kBlock + stages.channel, 0, channels - 1);
            filters(stages.kk, stages.kb, stages.channel, b, f) = packed(stages.kk, 0, at, min(stages.kb, packed.dim(3).extent() - 1), f);
            tiles(tile, stages.channel, b, f) = x(at, 0, tile, f);
            sum(k, tile, f, b) += tiles(tile, c, b, f) * filters(k % width, k / width, c, b, f);
        } else {
            sum(k, tile, f, b) += x(channel, 0, tile, f) * packed(k % width, 0, channel, k / width, f);
        }
        total(k, tile, f) += sum(k, tile, f, cb);
        out(k, part, tile, f) = total(k, tile, f);
        stages.out = out;
        stages.total = total;
        stages.sum = sum;
        stages.k = k;
        stages.part = part;
        stages.tile = tile;
        stages.f = f;
        stages.b = b;
        stages.c = c.x;
        stages.cb = cb.x;
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(packed);
        fourfold::require_origin(out);
        packed.dim(0).set_extent(16 * v);
        x.dim(1).set_extent(1);
        packed.dim(1).set_extent(1);
        out.dim(1).set_extent(1);
        if (get_target().has_gpu_feature()) {
            // Tiles are innermost there.
            x.dim(0).set_stride(Expr());
            x.dim(2).set_stride(1);
            out.dim(0).set_stride(Expr());
            out.dim(2).set_stride(1);
            fourfold::require_wide_loads(packed);
            fourfold::require_wide_loads(x, 2);
            packed.dim(2).set_stride(16 * v);
            fourfold::cuda::schedule_winograd_product(stages, r, v);
        } else {
            packed.dim(2).set_stride(16 * v);
            fourfold::cpu::schedule(stages, {r, v}, get_target());
        }
    }

private:
    /// Channels that one accumulator sums up before it is added to the total: bounds the error of long sums.
    static constexpr int kBlock = 512;

    fourfold::WinogradProductStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradProduct, winograd_product)
