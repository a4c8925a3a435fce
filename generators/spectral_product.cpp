// The FFT-domain product summed over input channels: per frequency a complex (b x ic)(ic x oc) GEMM. Algorithm only; speed
// lives in schedules/*/spectral_product.cpp.
//
//     y[n,g,k,f] = sum_c x[n,g,c,f] * w[g,k,c,f]        (complex64)
//
// Spectra stay as the transforms leave them, one plane of interleaved (re, im) per channel, so nothing is transposed; the
// filters, packed once, come split into planes of `lanes` real and `lanes` imaginary parts, in the order of reading.
#include "generators/spectral_product.h"

#include "generators/post_op.h"
#include "generators/wide_loads.h"
#include "schedules/cpu/spectral_product.h"
#include "schedules/cuda/spectral_product.h"

using namespace Halide;

namespace {

class SpectralProduct : public Generator<SpectralProduct> {
public:
    GeneratorParam<int> n_tile{"n", 1};    ///< images of a register tile
    GeneratorParam<int> k_tile{"k", 4};    ///< output channels of a register tile
    GeneratorParam<int> lanes{"l", 16};    ///< frequencies packed together; a multiple of the vector length

    /// Input spectra (part, frequency, channel, group, image), readable up to the last frequency rounded up to l and the
    /// last image rounded up to n.
    Input<Buffer<float, 5>> x{"x"};
    /// Filter spectra (f % l, part, k % k_tile, channel, k / k_tile, f / l, group). See pack_spectra.
    Input<Buffer<float, 7>> packed{"packed"};
    /// Output spectra (part, frequency, k, group, image), writable up to the last frequency rounded up to l.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var part("part"), f("f"), k("k"), g("g"), n("n");
        RDom c(0, packed.dim(3).extent(), "c");
        Func sum("sum");
        Expr xr = x(0, f, c, g, n), xi = x(1, f, c, g, n);
        if (get_target().has_gpu_feature()) {
            // A function of its own, so that a thread may load both parts together.
            Var channel("channel");
            stages.pairs(part, f, channel, g, n) = x(part, f, channel, g, n);
            xr = stages.pairs(0, f, c, g, n);
            xi = stages.pairs(1, f, c, g, n);
        }
        // Threads of a GPU may reach beyond the last block of output channels.
        const Expr block = get_target().has_gpu_feature() ? min(k / k_tile, packed.dim(4).extent() - 1) : k / k_tile;
        const Expr wr = packed(f % lanes, 0, k % k_tile, c, block, f / lanes, g);
        const Expr wi = packed(f % lanes, 1, k % k_tile, c, block, f / lanes, g);
        sum(f, k, g, n) = Tuple(0.0f, 0.0f);
        sum(f, k, g, n) = Tuple(sum(f, k, g, n)[0] + xr * wr - xi * wi,
                                sum(f, k, g, n)[1] + xr * wi + xi * wr);
        out(part, f, k, g, n) = select(part == 0, sum(f, k, g, n)[0], sum(f, k, g, n)[1]);

        stages.out = out;
        stages.sum = sum;
        stages.part = part;
        stages.f = f;
        stages.k = k;
        stages.g = g;
        stages.n = n;
        stages.c = c.x;
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(packed);
        fourfold::require_origin(out);
        x.dim(0).set_extent(2).set_stride(1);
        x.dim(1).set_stride(2);
        out.dim(0).set_extent(2).set_stride(1);
        out.dim(1).set_stride(2);
        packed.dim(0).set_extent(lanes);
        packed.dim(1).set_extent(2).set_stride(lanes);
        packed.dim(2).set_extent(k_tile).set_stride(2 * lanes);
        packed.dim(3).set_stride(2 * lanes * k_tile);
        if (get_target().has_gpu_feature()) {
            fourfold::require_wide_loads(x, 0, 2);
            x.dim(1).set_stride(2);
            fourfold::cuda::schedule(stages, {n_tile, k_tile, lanes});
        } else {
            fourfold::cpu::schedule(stages, {n_tile, k_tile, lanes}, get_target());
        }
    }

private:
    fourfold::SpectralProductStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(SpectralProduct, spectral_product)
