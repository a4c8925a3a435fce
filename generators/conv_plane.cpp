// Convolution of groups with one input channel on a GPU: depthwise layers and single-channel images. Algorithm only; speed lives in
// schedules/*/conv_plane.cpp.
//
//     out[n,g,i,p,q] = post(bias[g,i] + residual[n,g,i,p,q] + sum_{r,s} packed[g, i/m, r*f1 + s, i%m] * xpad[n,g, p*s0 + r*d0, q*s1 + s*d1])
//
// Pixels are cut into blocks of 32 x (n*w), numbered across and down; what each reads of xpad is its tile.
// Other padding modes come through pad first. All strides are free: NHWC and views are read and written as they are. A filter's row is
// summed before it joins the total: the partial sums that keep the error of large filters small.
//
// Halide lists dimensions innermost first.
#include "generators/conv_plane.h"

#include "generators/post_op.h"
#include "generators/wide_loads.h"
#include "schedules/cuda/conv_plane.h"

using namespace Halide;

namespace {

class ConvPlane : public Generator<ConvPlane> {
public:
    GeneratorParam<int> m{"m", 1};  ///< output channels of a thread
    GeneratorParam<int> n{"n", 4};  ///< rows of pixels of a thread
    GeneratorParam<int> threads{"w", 8};  ///< rows of threads to a block

    /// Filters (i % m, tap, input channel 0, i / m, group), zero beyond the last output channel. See pack_filters.
    Input<Buffer<float, 5>> packed{"packed"};
    /// (column, row, group, image).
    Input<Buffer<float, 4>> x{"x"};
    /// (i, group).
    Input<Buffer<float, 2>> bias{"bias"};
    /// As out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 5>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> filter_width{"filter_width", 1, 1, 1 << 15}, filter_height{"filter_height", 1, 1, 1 << 15};
    Input<int32_t> step_row{"step_row", 1, 1, 1 << 15}, step_column{"step_column", 1, 1, 1 << 15};
    Input<int32_t> dilation_row{"dilation_row", 1, 1, 1 << 15}, dilation_column{"dilation_column", 1, 1, 1 << 15};
    /// Padding before the image.
    Input<int32_t> top{"top"}, left{"left"};
    Input<float> value{"value"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (q, p, i, group, image).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var &q = stages.q, &p = stages.p, &i = stages.i, &g = stages.g, &image = stages.n, &jl = stages.jl, &jr = stages.jr, &a = stages.a, &d = stages.d, &ii = stages.ii, &ib = stages.ib;
        const int each = n, rows = each * threads;
        // A block's part of the image, beginning where its first pixel reads.
        const Expr width = x.dim(0).extent(), height = x.dim(1).extent();
        const Expr at_column = a * (kLanes * step_column) + stages.column - left, at_row = d * (rows * step_row) + stages.line - top;
        const Expr inside = at_column >= 0 && at_column < width && at_row >= 0 && at_row < height;
        Func tile("tile"), filters("filters"), row("row"), total("total");
        tile(stages.column, stages.line, g, image, a, d) = select(inside, x(clamp(at_column, 0, width - 1), clamp(at_row, 0, height - 1), g, image), value);

        RDom kx(0, filter_width, "kx"), ky(0, filter_height, "ky");
        Var k("k"), tap("tap");
        // A function of its own, so that a thread may load its m together.
        filters(ii, tap, ib, g) = packed(ii, tap, 0, min(ib, packed.dim(3).extent() - 1), g);
        row(jl, jr, ii, ib, g, image, a, d, k) = 0.0f;
        row(jl, jr, ii, ib, g, image, a, d, k) += filters(ii, k * filter_width + kx, ib, g) * tile(jl * step_column + kx * dilation_column, jr * step_row + k * dilation_row, g, image, a, d);
        total(jl, jr, ii, ib, g, image, a, d) = 0.0f;
        total(jl, jr, ii, ib, g, image, a, d) += row(jl, jr, ii, ib, g, image, a, d, ky);

        const Expr out_width = out.dim(0).extent(), out_height = out.dim(1).extent();
        RDom at(0, each, 0, kLanes, 0, threads, 0, (out_width + kLanes - 1) / kLanes, 0, (out_height + rows - 1) / rows, "at");
        const Expr line = at[2] * each + at[0], to_q = at[3] * kLanes + at[1], to_p = at[4] * rows + line;
        // Both are less, said so that bounds do not follow from it: every block's tile is of one size.
        at.where(((to_q - out_width) & (to_p - out_height)) < 0);
        const Expr q_of = unsafe_promise_clamped(to_q, 0, out_width - 1), p_of = unsafe_promise_clamped(to_p, 0, out_height - 1);
        const Expr v = total(at[1], line, i % m, i / m, g, image, at[3], at[4]) + bias(i, g);
        out(q, p, i, g, image) = undef<float>();
        out(q_of, p_of, i, g, image) = fourfold::post_op(select(use_residual != 0, v + residual(q_of, p_of, i, g, image), v), post, lo, hi);

        stages.out = out;
        stages.total = total;
        stages.row = row;
        stages.filters = filters;
        stages.tile = tile;
        stages.kx = kx;
        stages.ky = ky;
        stages.u = at[0];
        stages.lane = at[1];
        stages.thread = at[2];
        stages.across = at[3];
        stages.down = at[4];
    }

    void schedule() {
        fourfold::require_origin(packed);
        fourfold::require_origin(x);
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
    static constexpr int kLanes = 32;
    fourfold::ConvPlaneStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvPlane, conv_plane)
