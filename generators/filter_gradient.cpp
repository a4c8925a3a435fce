// The gradient of the filters, in parts: each sums some rows of one image. Algorithm only; speed lives in
// schedules/*/filter_gradient.cpp.
//
//     out[z,g,i,c,t] = sum_{p,q} gy[n,g,i,p,q] * x[n,g,c, p*s0 + tap_row[t], q*s1 + tap_column[t]],    z = (n, block of rows p)
//
// Places outside the image are `value`. sum_parts adds the parts up: a sum of sums, which keeps long sums exact. All strides
// are free. With l > 1 each of l lanes sums every l-th pixel of a row, and the lanes' sums are folded in halves: where filters have few
// channels and taps, which alone would not occupy a warp.
#include "generators/filter_gradient.h"

#include "generators/post_op.h"
#include "schedules/cuda/filter_gradient.h"

using namespace Halide;

namespace {

class FilterGradient : public Generator<FilterGradient> {
public:
    GeneratorParam<int> m{"m", 8};      ///< output channels of a thread
    GeneratorParam<int> lanes{"l", 1};  ///< lanes that share the pixels of a channel and tap: 1, or a warp's 32

    /// (q, p, i, group, image).
    Input<Buffer<float, 5>> gy{"gy"};
    /// (column, row, channel, group, image).
    Input<Buffer<float, 5>> x{"x"};
    /// Of each tap, relative to the place of output pixel 0: negative in the padding.
    Input<Buffer<int32_t, 1>> tap_row{"tap_row"}, tap_column{"tap_column"};
    Input<int32_t> step_row{"step_row"}, step_column{"step_column"};
    /// Rows of gy in a part, and how many parts an image has.
    Input<int32_t> rows{"rows"}, row_blocks{"row_blocks"};
    Input<float> value{"value"};
    /// (channel*taps + tap, i, group, part).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var &ct = stages.ct, &i = stages.i, &ii = stages.ii, &io = stages.io, &g = stages.g, &z = stages.z, &lane = stages.lane;
        const Expr taps = tap_row.dim(0).extent(), channels = x.dim(2).extent();
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const int shared = lanes;
        const Expr pixels = gy.dim(0).extent();
        RDom k(0, shared == 1 ? pixels : (pixels + shared - 1) / shared, 0, rows, "k");
        const Expr p = z % row_blocks * rows + k.y, n = unsafe_promise_clamped(z / row_blocks, 0, x.dim(4).extent() - 1);
        const Expr q = shared == 1 ? Expr(k.x) : k.x * shared + lane;
        k.where(p < gy.dim(1).extent());
        if (shared > 1) {
            k.where(q < pixels);
        }
        const Expr iq = shared == 1 ? q : unsafe_promise_clamped(q, 0, pixels - 1), in = unsafe_promise_clamped(p, 0, gy.dim(1).extent() - 1);
        const Expr t = ct % taps, c = unsafe_promise_clamped(ct / taps, 0, channels - 1);
        const Expr row = p * step_row + tap_row(unsafe_promise_clamped(t, 0, taps - 1)), column = q * step_column + tap_column(unsafe_promise_clamped(t, 0, taps - 1));
        const Expr inside = row >= 0 && row < height && column >= 0 && column < width;
        // A thread may reach beyond the last output channel.
        const Expr channel = min(io * m + ii, gy.dim(2).extent() - 1);
        const Expr term = gy(iq, in, channel, g, n) * select(inside, x(clamp(column, 0, width - 1), clamp(row, 0, height - 1), c, g, n), value);
        Func sum("sum");
        Expr result;
        RDom tile(0, m, 0, (gy.dim(2).extent() + m - 1) / m, "tile");
        if (shared == 1) {
            sum(ct, ii, io, g, z) = 0.0f;
            sum(ct, ii, io, g, z) += term;
            result = sum(ct, tile.x, tile.y, g, z);
        } else {
            sum(lane, ct, ii, io, g, z) = 0.0f;
            sum(lane, ct, ii, io, g, z) += term;
            Func whole("whole");
            whole(lane, ct, ii, io, g, z) = sum(lane, ct, ii, io, g, z);
            stages.folds = {whole};
            for (int half = shared / 2; half >= 4; half /= 2) {
                Func fold("fold" + std::to_string(half));
                fold(lane, ct, ii, io, g, z) = stages.folds.back()(lane, ct, ii, io, g, z) + stages.folds.back()(lane + half, ct, ii, io, g, z);
                stages.folds.push_back(fold);
            }
            const auto last = [&](int l) { return stages.folds.back()(l, ct, tile.x, tile.y, g, z); };
            result = (last(0) + last(2)) + (last(1) + last(3));
        }
        const Expr outputs = gy.dim(2).extent();
        tile.where(tile.y * m + tile.x < outputs);
        out(ct, i, g, z) = undef<float>();
        out(ct, unsafe_promise_clamped(tile.y * m + tile.x, 0, out.dim(1).extent() - 1), g, z) = result;
        stages.out = out;
        stages.row = tile.x;
        stages.tile = tile.y;
        stages.sum = sum;
        stages.q = k.x;
        stages.p = k.y;
    }

    void schedule() {
        fourfold::require_origin(gy);
        fourfold::require_origin(x);
        fourfold::require_origin(tap_row);
        fourfold::require_origin(tap_column);
        fourfold::require_origin(out);
        gy.dim(0).set_stride(Expr());
        x.dim(0).set_stride(Expr());
        fourfold::cuda::schedule(stages, {m, lanes}, get_target());
    }

private:
    fourfold::FilterGradientStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(FilterGradient, filter_gradient)
