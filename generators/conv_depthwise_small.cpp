// Depthwise convolution of planes up to 8 columns wide, where rows would leave most lanes of a vector empty: lanes are 16
// channels. Algorithm only; speed lives in schedules/*/conv_depthwise_small.cpp.
//
//     out[c,p,q] = post(bias[c] + residual[c,p,q] + sum_{y,x} image[c,y,x] * w[c, y - p + pad_y, x - q + pad_x])
//
// The sum runs over the pixels of the image, not over the taps of the filter: with a filter larger than the image most taps
// never meet it. w is zero beyond its last column, for which `packed` has room, and rows beyond its last are left out.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise_small.h"

#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise_small.h"
#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace {

class ConvDepthwiseSmall : public Generator<ConvDepthwiseSmall> {
public:
    GeneratorParam<int> n{"n", 8};  ///< columns of the output at most; 8

    /// Filters (c % 16, x - q + n-1, row, c / 16), zero outside the filter and beyond the last channel.
    Input<Buffer<float, 4>> packed{"packed"};
    /// (column, row, c), up to 8 columns.
    Input<Buffer<float, 3>> x{"x"};
    Input<int32_t> pad_y{"pad_y"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (q, p, c); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    /// The post-op: clamp to [lo, hi]; none is clamp(-inf, inf).
    Input<float> lo{"lo"}, hi{"hi"};
    /// (q, p, c), up to n columns.
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &q = stages.q, &p = stages.p, &c = stages.c, &l = stages.l, &b = stages.b;
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent(), channels = x.dim(2).extent();
        Func planes("planes"), image("image"), sum("sum"), rows("rows");
        const Expr channel = b * 16 + l;
        const Expr inside = stages.x < width && channel < channels;
        planes(stages.x, stages.y, l, b) = select(inside, fourfold::load_if(inside, x(unsafe_promise_clamped(stages.x, 0, width - 1), stages.y, unsafe_promise_clamped(channel, 0, channels - 1))), 0.0f);
        image(l, stages.x, stages.y, b) = planes(stages.x, stages.y, l, b);

        RDom k(0, width, 0, height, "k");
        const Expr row = k.y - p + pad_y, last = packed.dim(2).extent() - 1;
        k.where(row >= 0 && row <= last);
        sum(l, q, p, b) = 0.0f;
        sum(l, q, p, b) += image(l, k.x, k.y, b) * packed(l, k.x - q + (n - 1), unsafe_promise_clamped(row, 0, last), b);
        rows(q, p, c) = sum(c % 16, q, p, c / 16);

        const Expr v = rows(q, p, c) + bias(min(c, channels - 1));
        const Expr valid = q < out.dim(0).extent() && c < channels;
        out(q, p, c) = fourfold::post_op(select(use_residual != 0, v + fourfold::load_if(valid, residual(unsafe_promise_clamped(q, 0, out.dim(0).extent() - 1), p, unsafe_promise_clamped(c, 0, channels - 1))), v), 1, lo, hi);
        stages.out = out;
        stages.rows = rows;
        stages.sum = sum;
        stages.image = image;
        stages.planes = planes;
        stages.k_x = k.x;
        stages.k_y = k.y;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        packed.dim(0).set_extent(16);
        packed.dim(1).set_stride(16);
        fourfold::cpu::schedule(stages, use_residual, get_target());
        fourfold::cpu::choose_whole_stores(get_pipeline(), get_target());
    }

private:
    fourfold::ConvDepthwiseSmallStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwiseSmall, conv_depthwise_small)
