// The product of tile spectra with tile spectra, summed over the tiles: per frequency a complex (channels x tiles)(tiles x
// outputs) GEMM, the conjugate of the second factor taken. Algorithm only; speed lives in schedules/*/tile_correlation.cpp.
//
//     out[f,c,k] = total[f,c,k] + sum_tile x[f,tile,c] * conj(g[f,tile,k])        (complex, real and imaginary parts apart)
#include "generators/post_op.h"
#include "generators/tile_product.h"
#include "schedules/cpu/tile_correlation.h"

using namespace Halide;

namespace {

class TileCorrelation : public Generator<TileCorrelation> {
public:
    GeneratorParam<int> r{"r", 4};  ///< channels of a register tile
    GeneratorParam<int> v{"v", 2};  ///< blocks of 16 outputs of a register tile

    /// (channel, part, tile, frequency), readable up to the last channel rounded up to r.
    Input<Buffer<float, 4>> x{"x"};
    /// (output % (16*v), part, tile, output / (16*v), frequency).
    Input<Buffer<float, 5>> g{"g"};
    /// As out; read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 4>> total{"total"};
    Input<int32_t> accumulate{"accumulate"};
    /// (output, part, channel, frequency), writable up to the last channel rounded up to r.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var k("k"), part("part"), c("c"), f("f");
        RDom tile(0, g.dim(2).extent(), "tile");
        const int width = 16 * v;
        Func sum("sum");
        const Expr xr = x(c, 0, tile, f), xi = x(c, 1, tile, f);
        const Expr gr = g(k % width, 0, tile, k / width, f), gi = g(k % width, 1, tile, k / width, f);
        sum(k, c, f) = Tuple(0.0f, 0.0f);
        sum(k, c, f) = Tuple(sum(k, c, f)[0] + xr * gr + xi * gi,
                             sum(k, c, f)[1] + xi * gr - xr * gi);
        const Expr value = select(part == 0, sum(k, c, f)[0], sum(k, c, f)[1]);
        out(k, part, c, f) = value + select(accumulate != 0, total(k, part, c, f), 0.0f);
        stages = {out, sum, k, part, c, f, tile.x};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(g);
        fourfold::require_origin(total);
        fourfold::require_origin(out);
        x.dim(1).set_extent(2);
        g.dim(0).set_extent(16 * v);
        g.dim(1).set_extent(2).set_stride(16 * v);
        g.dim(2).set_stride(32 * v);
        out.dim(1).set_extent(2);
        fourfold::cpu::schedule_correlation(stages, {r, v}, accumulate, get_target());
    }

private:
    /// The stages of tile_product with other names: its tiles are our channels, its channels our tiles.
    fourfold::TileProductStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileCorrelation, tile_correlation)
