// The gradient of the filters of a depthwise convolution over a strip of rows. Algorithm only; speed lives in
// schedules/*/conv_depthwise_backward_filters.cpp.
//
//     out[c,r,s] = total[c,r,s] + sum_{p,q} gy[c,p,q] * image[c, p*stride + r, q*stride + s]
//
// image is x between rows and columns of zeros, gy is read where it lies. Lanes run along q and are added up at the end of a
// plane; m rows of gy make a step, so that a vector of the image, loaded once, serves all of them. Where gy ends inside a vector
// or a step its place is taken by zeros.
//
// Halide lists dimensions innermost first.
#include "generators/conv_depthwise_backward_filters.h"

#include "generators/between_zeros.h"
#include "generators/post_op.h"
#include "schedules/cpu/conv_depthwise_backward_filters.h"

using namespace Halide;

namespace {

class ConvDepthwiseBackwardFilters : public Generator<ConvDepthwiseBackwardFilters> {
public:
    GeneratorParam<int> h{"h", 3};            ///< filter rows of a register tile
    GeneratorParam<int> v{"v", 3};            ///< filter columns of a register tile
    GeneratorParam<int> m{"m", 4};            ///< rows of gy of a step
    GeneratorParam<int> stride{"stride", 1};  ///< of rows and columns, 1 or 2

    /// (q, p, c).
    Input<Buffer<float, 3>> gy{"gy"};
    /// (column, row, c).
    Input<Buffer<float, 3>> x{"x"};
    /// Position in x of the first column and row that the first output pixel reads.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"};
    /// (s, r, c); read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 3>> total{"total"};
    Input<int32_t> accumulate{"accumulate"};
    /// (s, r, c).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &s = stages.s, &r = stages.r, &c = stages.c, &si = stages.si, &ri = stages.ri, &so = stages.so, &ro = stages.ro, &l = stages.l;
        const int vector = std::min(16, get_target().natural_vector_size<float>()), step = stride;
        const Expr f0 = out.dim(1).extent();
        const Expr width = gy.dim(0).extent(), height = gy.dim(1).extent();
        const Expr steps = (height + m - 1) / m;

        Func image("image");
        const Expr rows = (steps * m - 1) * step + (f0 + h - 1) / h * h;
        stages.copied = fourfold::between_zeros(image, x, origin_x, origin_y, rows, stages.x, stages.y, c);

        Func grad("grad"), lanes("lanes"), sum("sum");
        const Expr p = stages.po * m + stages.i, q = stages.qo * vector + l;
        const Expr valid = q < width && p < height;
        grad(l, stages.i, stages.qo, stages.po, c) = select(valid, fourfold::load_if(valid, gy(unsafe_promise_clamped(q, 0, width - 1), unsafe_promise_clamped(p, 0, height - 1), c)), 0.0f);

        RDom k(0, m, 0, (width + vector - 1) / vector, 0, steps, "k");
        RDom lane(0, vector, "lane");
        // The last register tile may have more taps than the filter; the image has rows and columns for them.
        const Expr tap_column = so * v + si, tap_row = ro * h + ri;
        lanes(l, si, ri, so, ro, c) = 0.0f;
        lanes(l, si, ri, so, ro, c) += grad(l, k.x, k.y, k.z, c) * image((k.y * vector + l) * step + tap_column, (k.z * m + k.x) * step + tap_row, c);
        sum(si, ri, so, ro, c) = 0.0f;
        sum(si, ri, so, ro, c) += lanes(lane, si, ri, so, ro, c);
        out(s, r, c) = sum(s % v, r % h, s / v, r / h, c) + select(accumulate != 0, total(s, r, c), 0.0f);

        stages.out = out;
        stages.sum = sum;
        stages.lanes = lanes;
        stages.grad = grad;
        stages.image = image;
        stages.lane = lane.x;
        stages.row = k.x;
        stages.vectors = k.y;
        stages.rows = k.z;
        stages.vector = vector;
    }

    void schedule() {
        fourfold::require_origin(gy);
        fourfold::require_origin(x);
        fourfold::require_origin(total);
        fourfold::require_origin(out);
        // Flipped filters are written backwards.
        total.dim(0).set_stride(Expr());
        out.dim(0).set_stride(Expr());
        fourfold::cpu::schedule(stages, {h, v, m}, accumulate, get_target());
    }

private:
    fourfold::ConvDepthwiseBackwardFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvDepthwiseBackwardFilters, conv_depthwise_backward_filters)
