// The gradient of the input of a depthwise convolution of stride 2, or a transposed convolution. Algorithm only; speed lives in
// schedules/*/conv_depthwise_strided_gradient.cpp.
//
//     out[c,a,b] = post(bias[c] + residual[c,a,b] + sum_{p,q: 2p + r = a + pad_y, 2q + s = b + pad_x} gy[c,p,q] * w[c,r,s])
//
// A row whose a + pad_y is even sees even r only, an odd one odd r, and columns likewise: a quarter of the taps for each pixel.
// The 2x2 pixels that begin at an even row and column are summed together, each over taps of its own parities, from the same
// vectors of gy; the two columns are then stored side by side. With an odd pad_x the second column is the one of the even taps,
// which read a column further on, and rows likewise.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise_strided_gradient.h"

#include "generators/between_zeros.h"
#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise_strided_gradient.h"
#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace {

class ConvDepthwiseStridedGradient : public Generator<ConvDepthwiseStridedGradient> {
public:
    GeneratorParam<int> m{"m", 2};  ///< pairs of rows of a register tile
    GeneratorParam<int> n{"n", 2};  ///< vectors of pairs of columns of a register tile
    GeneratorParam<int> f{"f", 3};  ///< filter height and width; 0: any

    /// Filters (s, r, c), as correlation.
    Input<Buffer<float, 3>> packed{"packed"};
    /// (q, p, c).
    Input<Buffer<float, 3>> gy{"gy"};
    /// Column and row of gy that the last even tap reads for the first pair: pad/2 - (taps - 1)/2.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"};
    /// Whether the padding is odd.
    Input<int32_t> odd_x{"odd_x"}, odd_y{"odd_y"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (b, a, c); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    /// The post-op: clamp to [lo, hi]; none is clamp(-inf, inf).
    Input<float> lo{"lo"}, hi{"hi"};
    /// (b, a, c).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &b = stages.b, &a = stages.a, &c = stages.c, &v = stages.v, &q = stages.q, &e = stages.e, &pi = stages.pi, &po = stages.po;
        const Expr taps_x = (f1() + 1) / 2, taps_y = (f0() + 1) / 2;  // of the even ones

        // gy between zeros, from (origin_x, origin_y) on.
        Func image("image");
        const Expr pairs_of_rows = (out.dim(1).extent() + 1) / 2;
        const Expr rows = (pairs_of_rows + m - 1) / m * m + taps_y;
        stages.rows = fourfold::between_zeros(image, gy, origin_x, origin_y, rows, stages.x, stages.y, c);

        Func sum("sum");
        sum(stages.dx, q, stages.dy, pi, po, c) = bias(c);
        for (bool both_rows : {true, false}) {
            for (bool both_columns : {true, false}) {
                if ((f == 1 && (both_columns || both_rows)) || (f > 0 && f % 2 == 0 && !(both_columns && both_rows))) {
                    continue;  // no such taps
                }
                RDom k(0, both_columns ? f1() / 2 : f1() % 2, 0, both_rows ? f0() / 2 : f0() % 2, "k");
                const Expr dx = both_columns ? Expr(stages.dx) : Expr(0), dy = both_rows ? Expr(stages.dy) : Expr(0);
                const Expr i = both_rows ? Expr(k.y) : f0() / 2 + k.y, j = both_columns ? Expr(k.x) : f1() / 2 + k.x;
                const Expr weight = packed(unsafe_promise_clamped(2 * j + dx, 0, f1() - 1), unsafe_promise_clamped(2 * i + dy, 0, f0() - 1), c);
                sum(dx, q, dy, pi, po, c) += weight * image(q + odd(odd_x) * (1 - dx) + taps_x - 1 - j, po * m + pi + odd(odd_y) * (1 - dy) + taps_y - 1 - i, c);
                stages.updates.push_back({k.x, k.y, both_columns, both_rows});
            }
        }
        Func block("block");
        const auto row = [&](const Expr &dx) { return select(odd(odd_y) == 0, sum(dx, q, e, pi, po, c), sum(dx, q, 1 - e, pi, po, c)); };
        block(v, q, e, pi, po, c) = select(odd(odd_x) == 0, row(v), row(1 - v));
        const Expr value = block(b % 2, b / 2, a % 2, a / 2 % m, a / 2 / m, c);
        const Expr height_out = out.dim(1).extent(), width_out = out.dim(0).extent();
        const Expr added = residual(unsafe_promise_clamped(b, 0, width_out - 1), unsafe_promise_clamped(a, 0, height_out - 1), c);
        out(b, a, c) = fourfold::post_op(select(use_residual != 0, value + fourfold::load_if(b < width_out && a < height_out, added), value), 1, lo, hi);
        stages.out = out;
        stages.block = block;
        stages.sum = sum;
        stages.image = image;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(gy);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        if (f > 0) {
            packed.dim(0).set_extent(f);
            packed.dim(1).set_extent(f).set_stride(f);
        }
        fourfold::cpu::schedule(stages, {m, n, f > 0}, use_residual == 0, odd_x, odd_y, get_target());
        fourfold::cpu::choose_whole_stores(get_pipeline(), get_target());
    }

private:
    Expr f0() {
        return f > 0 ? Expr(int(f)) : packed.dim(1).extent();
    }
    Expr f1() {
        return f > 0 ? Expr(int(f)) : packed.dim(0).extent();
    }
    static Expr odd(const Expr &parity) {
        return unsafe_promise_clamped(parity, 0, 1);
    }

    fourfold::ConvDepthwiseStridedGradientStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwiseStridedGradient, conv_depthwise_strided_gradient)
