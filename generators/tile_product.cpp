// The product of tile spectra with filter spectra: per frequency a complex (tiles x channels)(channels x outputs) GEMM.
// Algorithm only; speed lives in schedules/*/tile_product.cpp.
//
//     out[f,tile,k] = sum_c x[f,tile,c] * w[f,c,k]        (complex, real and imaginary parts apart)
//
// with four real multiplications, or with Gauss's three: of x = a + ib and w = c + id the sums of c(a + b), a(d - c) and b(c + d)
// give the real part as first less third, the imaginary part as first plus second; d - c and c + d are packed beforehand.
#include "generators/tile_product.h"

#include "generators/post_op.h"
#include "schedules/cpu/tile_product.h"

using namespace Halide;

namespace {

class TileProduct : public Generator<TileProduct> {
public:
    GeneratorParam<int> r{"r", 4};  ///< tiles of a register tile
    GeneratorParam<int> v{"v", 2};  ///< blocks of 16 output channels of a register tile
    GeneratorParam<int> mults{"mults", 4};  ///< real multiplications of a complex one, 4 or 3

    /// (channel, part, tile, frequency), readable up to the last tile rounded up to r.
    Input<Buffer<float, 4>> x{"x"};
    /// (output channel % (16*v), part or Gauss's factor, channel, output channel / (16*v), frequency). Filters' parts are re, im,
    /// Gauss's factors re, im - re, re + im.
    Input<Buffer<float, 5>> packed{"packed"};
    /// (output channel, part, tile, frequency), writable up to the last tile rounded up to r.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var k("k"), part("part"), tile("tile"), f("f");
        RDom c(0, packed.dim(2).extent(), "c");
        const int width = 16 * v;
        Func sum("sum");
        const Expr xr = x(c, 0, tile, f), xi = x(c, 1, tile, f);
        const auto w = [&](int i) { return packed(k % width, i, c, k / width, f); };
        if (mults == 4) {
            sum(k, tile, f) = Tuple(0.0f, 0.0f);
            sum(k, tile, f) = Tuple(sum(k, tile, f)[0] + xr * w(0) - xi * w(1),
                                    sum(k, tile, f)[1] + xr * w(1) + xi * w(0));
            out(k, part, tile, f) = select(part == 0, sum(k, tile, f)[0], sum(k, tile, f)[1]);
        } else {
            sum(k, tile, f) = Tuple(0.0f, 0.0f, 0.0f);
            sum(k, tile, f) = Tuple(sum(k, tile, f)[0] + (xr + xi) * w(0), sum(k, tile, f)[1] + xr * w(1), sum(k, tile, f)[2] + xi * w(2));
            out(k, part, tile, f) = sum(k, tile, f)[0] + select(part == 0, -sum(k, tile, f)[2], sum(k, tile, f)[1]);
        }
        stages = {out, sum, k, part, tile, f, c.x};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(packed);
        fourfold::require_origin(out);
        x.dim(1).set_extent(2);
        packed.dim(0).set_extent(16 * v);
        const int factors = mults == 4 ? 2 : 3;
        packed.dim(1).set_extent(factors).set_stride(16 * v);
        packed.dim(2).set_stride(factors * 16 * v);
        out.dim(1).set_extent(2);
        fourfold::cpu::schedule(stages, {r, v}, get_target());
    }

private:
    fourfold::TileProductStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileProduct, tile_product)
