// Direct convolution, one panel of K output channels in the lanes. Algorithm only; speed lives in
// schedules/*/conv_direct_oc.cpp.
//
//     out[j,k] = post(initial[j,k] + sum_{c,t} packed[c,t,k] * x[c, position[j] + offset[t]])        0 <= k < K
//
// j runs through any list of output pixels: position[j] says where in a channel of x the first tap of pixel j reads,
// offset[t] how far from there tap t does. So stride, dilation, row ends and even the next image are entries of a table,
// no lane computes what nobody reads, and x may be the caller's image itself. x is read by scalars, with any distance
// between channels: planes (NCHW) or neighbours (NHWC).
//
// Halide lists dimensions innermost first.
#include "generators/conv_direct_oc.h"

#include "generators/post_op.h"
#include "schedules/cpu/conv_direct_oc.h"

using namespace Halide;

namespace {

class ConvDirectOc : public Generator<ConvDirectOc> {
public:
    GeneratorParam<int> r{"r", 14};  ///< pixels of a register tile
    GeneratorParam<int> v{"v", 2};   ///< blocks of 16 output channels of a register tile: K = 16*v

    /// Filters (k, filter), K of k, a filter to each channel and tap. See pack_filters.
    Input<Buffer<float, 2>> packed{"packed"};
    Input<Buffer<float, 1>> x{"x"};
    /// Of each pixel, in [0, position_max]; readable up to the last pixel rounded up to r.
    Input<Buffer<int32_t, 1>> position{"position"};
    Input<int32_t> position_max{"position_max"};
    /// (0, term): distance in x from the pixel's position, in [0, offset_max]; (1, term): which filter it meets.
    Input<Buffer<int32_t, 2>> term{"term"};
    Input<int32_t> offset_max{"offset_max"};
    /// (k, pixel): the bias with pixel stride 0, or, where earlier channels were summed before, out itself.
    Input<Buffer<float, 2>> initial{"initial"};
    /// Terms summed before the partial sum joins the total: sums of thousands of positive terms keep their last bits.
    Input<int32_t> term_block{"term_block"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (k, pixel), at most K of k; the pixel stride is the caller's.
    Output<Buffer<float, 2>> out{"out"};

    void generate() {
        Var k("k"), j("j"), b("b");
        const Expr terms = term.dim(1).extent();
        RDom kb(0, (terms + term_block - 1) / term_block, "kb");
        RDom rk(0, term_block, "rk");
        rk.where(b * term_block + rk.x < terms);
        // The where above keeps the term in range, the caller position and offset: none needs a clamp in the inner loop.
        const Expr d = unsafe_promise_clamped(b * term_block + rk.x, 0, terms - 1);
        const Expr distance = unsafe_promise_clamped(term(0, d), 0, offset_max);
        const Expr filter = unsafe_promise_clamped(term(1, d), 0, packed.dim(1).extent() - 1);

        Func at("at"), block("block"), total("total");
        at(j) = position(j);
        block(k, j, b) = 0.0f;
        block(k, j, b) += packed(k, filter) * x(unsafe_promise_clamped(at(j), 0, position_max) + distance);
        total(k, j) = 0.0f;
        total(k, j) += block(k, j, kb);
        out(k, j) = fourfold::post_op(initial(k, j) + total(k, j), post, lo, hi);

        stages = {out, total, block, at, k, j, b, rk.x, kb.x};
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(position);
        fourfold::require_origin(term);
        fourfold::require_origin(initial);
        fourfold::require_origin(out);
        term.dim(0).set_extent(2);
        term.dim(1).set_stride(2);
        packed.dim(0).set_extent(16 * v);
        packed.dim(1).set_stride(16 * v);
        fourfold::cpu::schedule(stages, {r, v}, get_target());
    }

private:
    fourfold::ConvDirectOcStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDirectOc, conv_direct_oc)
