// Direct convolution over flattened rows. Algorithm only; speed lives in schedules/*/conv_direct.cpp.
//
//     out[g,i,j] = post(bias[g,i] + sum_{c,t} packed[g, i/m, c, t, i%m] * x[g, c, j + offset[t]])
//
// j runs through the output pixels of a strip in the *pitch of the padded input*, p*pitch + q, so that a filter tap is one
// constant distance and every load is contiguous, whatever the filter, stride and dilation: with stride s the planes of x
// are the s0*s1 decimated phases of the padded image, and offset[t] says in which phase, row and column tap t reads.
// Columns j with q >= o1 hold garbage, which crop leaves behind.
//
// Halide lists dimensions innermost first.
#include "generators/conv_direct.h"

#include "generators/post_op.h"
#include "schedules/cpu/conv_direct.h"

using namespace Halide;

namespace {

class ConvDirect : public Generator<ConvDirect> {
public:
    GeneratorParam<int> m{"m", 8};  ///< output channels of a register tile
    GeneratorParam<int> n{"n", 3};  ///< vectors of pixels of a register tile

    /// Filters (i % m, tap, channel, i / m, group), zero beyond the last output channel. See pack_filters.
    Input<Buffer<float, 5>> packed{"packed"};
    /// Padded, decimated input of a strip, flat: (j, channel, group). Readable up to the last j, rounded up to a register
    /// tile, plus offset_max.
    Input<Buffer<float, 3>> x{"x"};
    /// Distance in x of each tap from its output pixel, in [0, offset_max].
    Input<Buffer<int32_t, 1>> offset{"offset"};
    Input<int32_t> offset_max{"offset_max"};
    /// (i, group), readable up to the last i rounded up to m.
    Input<Buffer<float, 2>> bias{"bias"};
    /// Channels and taps summed before the partial sum joins the total: sums of thousands of positive terms keep their
    /// last bits.
    Input<int32_t> channel_block{"channel_block"}, tap_block{"tap_block"};
    /// Of channel_block channels and tap_block taps.
    Input<int32_t> blocks{"blocks"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (j, i, group).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var j("j"), i("i"), g("g"), b("b");
        const Expr taps = packed.dim(1).extent(), channels = packed.dim(2).extent();
        const Expr tap_blocks = (taps + tap_block - 1) / tap_block;
        RDom k(0, tap_block, 0, channel_block, "k");
        RDom kb(0, blocks, "kb");
        const Expr tap = b % tap_blocks * tap_block + k.x;
        const Expr channel = b / tap_blocks * channel_block + k.y;
        k.where(tap < taps && channel < channels);
        // The where above keeps tap and channel in range, the caller the offset: none needs a clamp in the inner loop.
        const Expr t = unsafe_promise_clamped(tap, 0, taps - 1);
        const Expr c = unsafe_promise_clamped(channel, 0, channels - 1);
        const Expr tap_offset = unsafe_promise_clamped(offset(t), 0, offset_max);

        Func block("block"), total("total");
        block(j, i, g, b) = 0.0f;
        block(j, i, g, b) += packed(i % m, t, c, i / m, g) * x(j + tap_offset, c, g);
        total(j, i, g) = bias(i, g);
        total(j, i, g) += block(j, i, g, kb);
        out(j, i, g) = fourfold::post_op(total(j, i, g), post, lo, hi);

        stages = {out, total, block, j, i, g, b, k.x, k.y, kb.x};
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(offset);
        fourfold::require_origin(bias);
        fourfold::require_origin(out);
        packed.dim(0).set_extent(m);
        packed.dim(1).set_stride(m);
        fourfold::cpu::schedule(stages, blocks == 1, {m, n}, get_target());
    }

private:
    fourfold::ConvDirectStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDirect, conv_direct)
