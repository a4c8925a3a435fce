// Depthwise convolution: every output plane reads one input plane. Algorithm only; speed lives in
// schedules/*/conv_depthwise.cpp.
//
//     out[c,o,p,q] = post(bias[c,o] + residual[c,o,p,q] + sum_{r,s} packed[c,o,s,r] * image[c, p*stride + r, q*stride + s*dilation_x])
//
// image is x between rows and columns of zeros, or x itself. Lanes run along q. m output rows are summed together, so that a
// vector of the image, loaded once, serves all of them: row i of the (m-1)*stride + f0 that they read is row i - pi*stride of
// the filter for the pi-th of them. Where the filter's height is not known at compile time the rows are cut in three runs: the
// first few, which only the first output rows read; those which all read; the last few. Nothing is multiplied by padded filters.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise.h"

#include "generators/between_zeros.h"
#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise.h"
#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace {

class ConvDepthwise : public Generator<ConvDepthwise> {
public:
    GeneratorParam<int> m{"m", 4};            ///< output rows of a register tile
    GeneratorParam<int> n{"n", 4};            ///< vectors of output columns of a register tile
    GeneratorParam<int> f{"f", 3};            ///< filter height and width; 0: any width, any height over (m-1)*stride
    GeneratorParam<int> stride{"stride", 1};  ///< of rows and columns, 1 or 2
    GeneratorParam<int> pad{"pad", 1};        ///< 0: x is read where it lies, the origin is not used

    /// Filters (r, s, o, c), as correlation.
    Input<Buffer<float, 4>> packed{"packed"};
    /// (column, row, c). With pad=0 readable up to the last output column and row, rounded up to a register tile.
    Input<Buffer<float, 3>> x{"x"};
    /// Position in x of the first column and row that the first output pixel reads.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"};
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
        Var &q = stages.q, &p = stages.p, &o = stages.o, &c = stages.c, &pi = stages.pi, &po = stages.po;
        Func image("image");
        if (pad) {
            const int step = stride;
            const Expr rows = (out.dim(1).extent() + m - 1) / m * (m * step) + f0() - step;
            stages.rows = fourfold::between_zeros(image, x, origin_x, origin_y, rows, stages.x, stages.y, c);
        } else {
            image(stages.x, stages.y, c) = x(stages.x, stages.y, c);
        }

        Func sum("sum");
        sum(q, pi, po, o, c) = bias(o, c);
        const int step = stride, shared = (m - 1) * step;
        if (f > 0) {
            RDom k(0, f, 0, f + shared, "k");
            add(sum, image, k.x, k.y, k, k.y >= pi * stride && k.y - pi * stride < f, true);
        } else {
            if (m > 1) {
                RDom first(0, f1(), 0, shared, "first");
                add(sum, image, first.x, first.y, first, first.y >= pi * stride, true);
            }
            RDom all(0, f1(), shared, f0() - shared, "all");
            add(sum, image, all.x, all.y, all, Expr(), false);
            if (m > 1) {
                RDom last(0, f1(), 0, shared, "last");
                add(sum, image, last.x, last.y + f0(), last, last.y < pi * stride, true);
            }
        }
        const Expr v = sum(q, p % m, p / m, o, c);
        out(q, p, o, c) = fourfold::post_op(select(use_residual != 0, v + fourfold::load_if(q < out.dim(0).extent() && p < out.dim(1).extent(), residual(unsafe_promise_clamped(q, 0, out.dim(0).extent() - 1), unsafe_promise_clamped(p, 0, out.dim(1).extent() - 1), o, c)), v), 1, lo, hi);
        stages.out = out;
        stages.sum = sum;
        stages.image = image;
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        if (f > 0) {
            packed.dim(1).set_stride(f);
            packed.dim(0).set_extent(f);
            packed.dim(1).set_extent(f);
        }
        fourfold::cpu::schedule(stages, {m, n, pad != 0}, use_residual, get_target());
        fourfold::cpu::choose_whole_stores(get_pipeline(), get_target());
    }

private:
    Expr f0() {
        return f > 0 ? Expr(int(f)) : packed.dim(0).extent();
    }
    Expr f1() {
        return f > 0 ? Expr(int(f)) : packed.dim(1).extent();
    }

    /// Adds a run of rows: tap column s and row i of those that a tile reads.
    void add(Func &sum, const Func &image, const RVar &s, const Expr &i, RDom &k, const Expr &where, bool unrolled_rows) {
        Var &q = stages.q, &o = stages.o, &c = stages.c, &pi = stages.pi, &po = stages.po;
        const int step = stride;
        const Expr row = po * (m * step) + i;
        if (where.defined()) {
            k.where(where);
        }
        if (pad && (f > 5 || !unrolled_rows)) {
            // A large filter sees many rows of zeros.
            k.where(row + origin_y >= 0 && row + origin_y < x.dim(1).extent());
        }
        const Expr r = i - pi * stride;
        sum(q, pi, po, o, c) += packed(unsafe_promise_clamped(r, 0, f0() - 1), s, o, c) * image(q * stride + s * dilation(), row, c);
        stages.runs.push_back({k.x, k.y, unrolled_rows, f});
    }
    Expr dilation() {
        return f > 0 ? Expr(1) : Expr(dilation_x);
    }

    fourfold::ConvDepthwiseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwise, conv_depthwise)
