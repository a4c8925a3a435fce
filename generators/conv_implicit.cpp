// Convolution as a matrix product whose right operand, the columns of im2col, is never stored (implicit GEMM). Algorithm only; speed
// lives in schedules/*/conv_implicit.cpp.
//
//     out[n,g,i,p,q] = post(bias[g,i] + residual[n,g,i,p,q] + sum_{c,t} packed[g, i/m, c, t, i%m] * x[n,g,c, p*s0 + tap_row[t], q*s1 + tap_column[t]])
//
// and, transposed, the gradient of the input from that of the output, which is x then:
//
//     ... sum_{c,t} packed[...] * x[n,g,c, (p + tap_row[t])/s0, (q + tap_column[t])/s1]      where s0 and s1 divide
//
// Pixels (p,q) are numbered through, so that no thread waits at a row's end. Places outside the image are `value`; other padding
// modes come through pad first. All strides are free: NHWC and views are read and written as they are.
//
// Halide lists dimensions innermost first.
#include "generators/conv_implicit.h"

#include "generators/post_op.h"
#include "generators/wide_loads.h"
#include "schedules/cuda/conv_implicit.h"

using namespace Halide;

namespace {

enum class Form { forward, transposed };

class ConvImplicit : public Generator<ConvImplicit> {
public:
    GeneratorParam<Form> form{"form", Form::forward, {{"forward", Form::forward}, {"transposed", Form::transposed}}};
    GeneratorParam<int> m{"m", 8};  ///< output channels of a thread
    GeneratorParam<int> n{"n", 4};  ///< pixels of a thread, one lane count apart
    GeneratorParam<int> threads{"w", 4};  ///< rows of threads to a block: w*m output channels

    /// Filters (i % m, tap, channel, i / m, group), zero beyond the last output channel. See pack_filters.
    Input<Buffer<float, 5>> packed{"packed"};
    /// (column, row, channel, group, image).
    Input<Buffer<float, 5>> x{"x"};
    /// Of each tap, relative to the place of output pixel 0: negative in the padding.
    Input<Buffer<int32_t, 1>> tap_row{"tap_row"}, tap_column{"tap_column"};
    /// (i, group).
    Input<Buffer<float, 2>> bias{"bias"};
    /// As out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 5>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> step_row{"step_row"}, step_column{"step_column"};
    Input<float> value{"value"};
    /// Channels and taps summed before the partial sum joins the total, and how many such blocks there are.
    Input<int32_t> channel_block{"channel_block"}, tap_block{"tap_block"}, blocks{"blocks"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (q, p, i, group, image).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var &q = stages.q, &p = stages.p, &i = stages.i, &g = stages.g, &image = stages.n, &jl = stages.jl, &u = stages.u, &jb = stages.jb, &b = stages.b, &ii = stages.ii, &ib = stages.ib;
        const int lanes = stages.lanes, vectors = n;
        const Expr taps = packed.dim(1).extent(), channels = packed.dim(2).extent();
        const Expr tap_blocks = (taps + tap_block - 1) / tap_block;
        RDom k(0, channel_block, 0, tap_block, "k");
        RDom kb(0, blocks, "kb");
        const auto tap = [&](const Expr &y) { return b % tap_blocks * tap_block + y; };
        const auto channel = [&](const Expr &x) { return b / tap_blocks * channel_block + x; };
        k.where(tap(k.y) < taps && channel(k.x) < channels);
        const auto tap_of = [&](const Expr &y) { return unsafe_promise_clamped(tap(y), 0, taps - 1); };
        const auto channel_of = [&](const Expr &x) { return unsafe_promise_clamped(channel(x), 0, channels - 1); };
        const Expr t = tap_of(k.y), c = channel_of(k.x);

        // A block of threads may reach beyond the last output channel.
        const Expr pixel = (jb * vectors + u) * lanes + jl;
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const Expr out_width = out.dim(0).extent(), out_height = out.dim(1).extent();
        const Expr p_of = pixel / out_width, q_of = pixel % out_width;
        Expr row, column, inside;
        if (form == Form::forward) {
            row = p_of * step_row + tap_row(t);
            column = q_of * step_column + tap_column(t);
            inside = row >= 0 && row < height && column >= 0 && column < width;
        } else {
            const Expr high = p_of + tap_row(t), wide = q_of + tap_column(t);
            row = high / step_row;
            column = wide / step_column;
            inside = high >= 0 && row < height && high % step_row == 0 && wide >= 0 && column < width && wide % step_column == 0;
        }
        const Expr at = x(clamp(column, 0, width - 1), clamp(row, 0, height - 1), c, g, image);

        Func filters("filters"), block("block"), total("total");
        // A function of its own, so that a thread may load its m together.
        Var ky("ky"), kx("kx");
        filters(ii, ib, g, b, kx, ky) = packed(ii, tap_of(ky), channel_of(kx), min(ib, packed.dim(3).extent() - 1), g);
        block(jl, u, ii, ib, jb, g, image, b) = 0.0f;
        block(jl, u, ii, ib, jb, g, image, b) += filters(ii, ib, g, b, k.x, k.y) * select(inside, at, value);
        total(jl, u, ii, ib, jb, g, image) = 0.0f;
        total(jl, u, ii, ib, jb, g, image) += block(jl, u, ii, ib, jb, g, image, kb);
        const Expr pixels = out_width * out_height;
        RDom tile(0, vectors, 0, lanes, 0, (pixels + lanes * vectors - 1) / (lanes * vectors), "tile");
        const Expr to = (tile.z * vectors + tile.x) * lanes + tile.y;
        tile.where(to < pixels);
        const Expr to_q = unsafe_promise_clamped(to % out_width, 0, out_width - 1), to_p = unsafe_promise_clamped(to / out_width, 0, out_height - 1);
        const Expr v = total(tile.y, tile.x, i % m, i / m, tile.z, g, image) + bias(i, g);
        out(q, p, i, g, image) = undef<float>();
        out(to_q, to_p, i, g, image) = fourfold::post_op(select(use_residual != 0, v + residual(to_q, to_p, i, g, image), v), post, lo, hi);

        stages.out = out;
        stages.total = total;
        stages.block = block;
        stages.filters = filters;
        stages.c = k.x;
        stages.t = k.y;
        stages.kb = kb.x;
        stages.lane = tile.y;
        stages.vector = tile.x;
        stages.tile = tile.z;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(tap_row);
        fourfold::require_origin(tap_column);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        x.dim(0).set_stride(Expr());
        residual.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        packed.dim(0).set_extent(m);
        if (m % 2 == 0) {
            fourfold::require_wide_loads(packed, 0, m % 4 == 0 ? 4 : 2);
        }
        packed.dim(1).set_stride(m);
        fourfold::cuda::schedule(stages, {m, n, threads});
    }

private:
    fourfold::ConvImplicitStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvImplicit, conv_implicit)
