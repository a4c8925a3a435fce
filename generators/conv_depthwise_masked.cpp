// Depthwise convolution that reads every plane where it lies, its zero padding included: what a vector would read beyond an edge is
// masked, and rows beyond the image are zeros. Algorithm only; speed lives in schedules/*/conv_depthwise_masked.cpp.
//
//     out[c,o,p,q] = post(bias[c,o] + residual[c,o,p,q] + sum_{r,s} packed[c,o,s,r] * x[c, origin_y + p*stride + r, origin_x + q*stride + s])
//
// Lanes run along q. With stride 2 two neighbouring tap columns read the even and the odd pixels of the same two vectors. They are
// taken apart by one shuffle each, which on x86 keeps to its 128 bits of either vector: the sums stay in the order that this leaves
// the columns in, and are put in order once, when they are finished. m output rows are summed together, as a row of the image that is
// read once serves all of them: row i of the (m-1)*stride + f that they read is row i - pi*stride of the filter for the pi-th.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise_masked.h"

#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise_masked.h"
#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace {

class ConvDepthwiseMasked : public Generator<ConvDepthwiseMasked> {
public:
    GeneratorParam<int> m{"m", 2};            ///< output rows of a register tile
    GeneratorParam<int> n{"n", 1};            ///< vectors of output columns of a register tile
    GeneratorParam<int> f{"f", 3};            ///< filter height and width
    GeneratorParam<int> stride{"stride", 1};  ///< of rows and columns, 1 or 2

    /// Filters (r, s, o, c), as correlation.
    Input<Buffer<float, 4>> packed{"packed"};
    /// (column, row, c), at least one of each.
    Input<Buffer<float, 3>> x{"x"};
    /// Position in x of the first column and row that the first output pixel reads.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"};
    /// 1; here so that conv_depthwise is called alike.
    Input<int32_t> dilation_x{"dilation_x"};
    /// (o, c).
    Input<Buffer<float, 2>> bias{"bias"};
    /// (q, p, o, c); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 4>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    /// The post-op: clamp to [lo, hi]; none is clamp(-inf, inf).
    Input<float> lo{"lo"}, hi{"hi"};
    /// (q, p, o, c).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var &q = stages.q, &p = stages.p, &o = stages.o, &c = stages.c;
        Var &a = stages.a, &b = stages.b, &d = stages.d, &u = stages.u, &pi = stages.pi, &po = stages.po, &i = stages.i, &t = stages.t, &y = stages.y;
        Var &j = stages.j;
        const int vec = lanes(), step = stride, taps = f, rows = m;
        // A single vector of sums would wait for itself: the rows of the filter have one each.
        const int chains = rows * n == 1 ? taps : 1;

        Func columns("columns");
        columns(i, u, t, y, c) = pixel(u * (vec * step) + t * step + i, y);

        RDom k(0, step, 0, (taps + step - 1) / step, 0, taps + (rows - 1) * step, "k");
        const Expr s = k.y * step + k.x, r = k.z - pi * step;
        k.where(s < taps && r >= 0 && r < taps);
        if (chains > 1) {
            k.where(r == j);
        }
        Func sum("sum");
        sum(a, b, d, u, j, pi, po, o, c) = select(j == 0, bias(o, c), 0.0f);
        sum(a, b, d, u, j, pi, po, o, c) += packed(unsafe_promise_clamped(r, 0, taps - 1), unsafe_promise_clamped(s, 0, taps - 1), o, c) * columns(lane(a, b, d) * step + k.x, u, k.y, po * (rows * step) + k.z, c);

        Func ordered("ordered");
        const Expr in_vector = q % vec;
        Expr all = sum_at(sum, in_vector, 0);
        for (int chain = 1; chain < chains; chain++) {
            all += sum_at(sum, in_vector, chain);
        }
        ordered(q, pi, po, o, c) = all;
        const Expr v = ordered(q, p % rows, p / rows, o, c);
        const Expr width_out = out.dim(0).extent(), height_out = out.dim(1).extent();
        const Expr added = residual(unsafe_promise_clamped(q, 0, width_out - 1), unsafe_promise_clamped(p, 0, height_out - 1), o, c);
        out(q, p, o, c) = fourfold::post_op(select(use_residual != 0, v + fourfold::load_if(q < width_out && p < height_out, added), v), 1, lo, hi);
        stages.out = out;
        stages.ordered = ordered;
        stages.chains = chains;
        stages.sum = sum;
        stages.columns = columns;
        stages.parity = k.x;
        stages.column = k.y;
        stages.row = k.z;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        packed.dim(0).set_extent(f);
        packed.dim(1).set_extent(f).set_stride(f);
        fourfold::cpu::schedule(stages, {m, n, f, stride}, use_residual, get_target());
        fourfold::cpu::choose_whole_stores(get_pipeline(), get_target(), true);
    }

private:
    int lanes() {
        return get_target().natural_vector_size<float>();
    }

    /// Column of the output, within a vector of them, of a lane: with stride 2 in the order that a shuffle of two vectors leaves
    /// their even pixels in, two of the first and two of the second in each 128 bits.
    Expr lane(const Expr &a, const Expr &b, const Expr &d) {
        return stride == 1 ? a : a + d * 2 + b * (lanes() / 2);
    }

    /// Sum j of a column of the output: the inverse of lane().
    Expr sum_at(const Func &sum, const Expr &in_vector, int j) {
        const Var &q = stages.q, &pi = stages.pi, &po = stages.po, &o = stages.o, &c = stages.c;
        const int vec = lanes();
        if (stride == 1) {
            return sum(in_vector, 0, 0, q / vec, j, pi, po, o, c);
        }
        return sum(in_vector % 2, in_vector / (vec / 2), in_vector / 2 % (vec / 4), q / vec, j, pi, po, o, c);
    }

    /// A pixel of the image, counted from the origin, or zero. Tiles that keep to the image need no mask: that is what is likely.
    Expr pixel(const Expr &column, const Expr &row) {
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const Expr at_x = column + origin_x, at_y = row + origin_y;
        const Expr inside = at_x >= 0 && at_x < width;
        const Expr value = x(unsafe_promise_clamped(at_x, 0, width - 1), clamp(likely(at_y), 0, height - 1), stages.c);
        return select(at_y >= 0 && at_y < height, likely(select(inside, fourfold::load_if(likely(inside), value), 0.0f)), 0.0f);
    }

    fourfold::ConvDepthwiseMaskedStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwiseMasked, conv_depthwise_masked)
