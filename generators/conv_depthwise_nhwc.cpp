// Depthwise convolution of NHWC images: lanes are channels. Algorithm only; speed lives in
// schedules/*/conv_depthwise_nhwc.cpp.
//
//     out[p,q,c] = post(bias[c] + residual[p,q,c] + sum_{r,s} packed[r,s,c] * x[p,r,q,s,c])
//
// x is a view of the image in which stride and dilation are strides of memory: output pixel (p, q) reads, for tap (r, s), the
// pixel at p*x.stride(p) + r*x.stride(r) + q*x.stride(q) + s*x.stride(s). All pixels of a call have the same taps; the caller
// leaves out those that padding leaves out, and may exchange rows and columns.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise_nhwc.h"

#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise_nhwc.h"
#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace {

class ConvDepthwiseNhwc : public Generator<ConvDepthwiseNhwc> {
public:
    GeneratorParam<int> m{"m", 8};        ///< pixels of a register tile
    GeneratorParam<int> n{"n", 2};        ///< blocks of 16 channels of a register tile
    GeneratorParam<int> mask{"mask", 1};  ///< 0: the channels are a multiple of 16*n

    /// Filters (c, s, r), as correlation.
    Input<Buffer<float, 3>> packed{"packed"};
    /// (c, s, q, r, p).
    Input<Buffer<float, 5>> x{"x"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (c, q, p); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    /// The post-op: clamp to [lo, hi]; none is clamp(-inf, inf).
    Input<float> lo{"lo"}, hi{"hi"};
    /// (c, q, p).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &c = stages.c, &q = stages.q, &p = stages.p;
        const Expr channels = out.dim(0).extent(), columns = out.dim(1).extent();
        const Expr valid = c < channels;
        const auto load = [&](const Expr &value) { return mask ? fourfold::load_if(valid, value) : value; };
        const Expr channel = mask ? unsafe_promise_clamped(c, 0, channels - 1) : Expr(c);
        RDom k(0, packed.dim(1).extent(), 0, packed.dim(2).extent(), "k");
        Func at("at"), sum("sum");
        // Tiles are computed in full: pixels beyond the last read what the last one reads.
        at(q) = min(q, columns - 1);
        sum(c, q, p) = load(bias(channel));
        sum(c, q, p) += load(packed(channel, k.x, k.y)) * load(x(channel, k.x, unsafe_promise_clamped(at(q), 0, columns - 1), k.y, p));
        const Expr v = sum(c, q, p);
        out(c, q, p) = fourfold::post_op(select(use_residual != 0, v + load(residual(channel, unsafe_promise_clamped(q, 0, columns - 1), p)), v), 1, lo, hi);
        stages.out = out;
        stages.sum = sum;
        stages.at = at;
        stages.s = k.x;
        stages.r = k.y;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        fourfold::cpu::schedule(stages, {m, n, mask != 0}, use_residual, get_target());
        fourfold::cpu::choose_whole_stores(get_pipeline(), get_target());
    }

private:
    fourfold::ConvDepthwiseNhwcStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwiseNhwc, conv_depthwise_nhwc)
