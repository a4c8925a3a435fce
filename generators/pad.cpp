// Padding and decimation: the only stage that knows padding modes. Algorithm only; speed lives in schedules/*/pad.cpp.
//
//     out[p,y,x] = extend(in)[p, y*step_y + origin_y, x*step_x + origin_x]
//
// extend continues the image beyond its edges: a constant (zero padding is constant 0), reflect (edge not repeated),
// symmetric (edge repeated), replicate, circular. With a step the result is one phase of the image, decimated.
#include "generators/pad.h"

#include "generators/layout.h"
#include "generators/post_op.h"
#include "schedules/cpu/pad.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

enum class Mode { constant, reflect, symmetric, replicate, circular };

class Pad : public Generator<Pad> {
public:
    GeneratorParam<Mode> mode{"mode", Mode::constant, {{"constant", Mode::constant}, {"reflect", Mode::reflect}, {"symmetric", Mode::symmetric}, {"replicate", Mode::replicate}, {"circular", Mode::circular}}};

    GeneratorParam<fourfold::Layout> layout{"layout", fourfold::Layout::nchw, fourfold::kLayouts};

    /// Image planes (column, row, plane); in NHWC columns lie channels apart.
    Input<Buffer<float, 3>> in{"in"};
    Input<int32_t> step_x{"step_x"}, step_y{"step_y"};
    /// Position in the image of out's first column and row; negative inside the padding before.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"};
    /// What the constant mode reads outside the image.
    Input<float> value{"value"};
    /// (column, row, plane).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &x = stages.x, &y = stages.y, &p = stages.p;
        const Expr width = in.dim(0).extent(), height = in.dim(1).extent();
        if (mode == Mode::constant && !get_target().has_gpu_feature()) {
            constant();
            return;
        }
        Func extended;
        const Region image = {{0, width}, {0, height}};
        if (mode == Mode::constant) {
            const Expr column = x * step_x + origin_x, row = y * step_y + origin_y;
            out(x, y, p) = select(column >= 0 && column < width && row >= 0 && row < height, in(clamp(column, 0, width - 1), clamp(row, 0, height - 1), p), value);
            stages.out = out;
            return;
        }
        if (mode == Mode::reflect) {
            extended = BoundaryConditions::mirror_interior(in, image);
        } else if (mode == Mode::symmetric) {
            extended = BoundaryConditions::mirror_image(in, image);
        } else if (mode == Mode::replicate) {
            extended = BoundaryConditions::repeat_edge(in, image);
        } else {
            extended = BoundaryConditions::repeat_image(in, image);
        }
        out(x, y, p) = extended(x * step_x + origin_x, y * step_y + origin_y, p);
        stages.out = out;
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        if (layout == fourfold::Layout::nhwc) {
            in.dim(0).set_stride(Expr());
        }
        if (get_target().has_gpu_feature()) {
            fourfold::cuda::schedule_map(stages.out);
        } else {
            fourfold::cpu::schedule(stages, step_x, get_target());
        }
    }

private:
    /// Rows above the image, within, below; no load needs a clamp, and none looks outside the image.
    void constant() {
        Var &x = stages.x, &y = stages.y, &p = stages.p, &u = stages.u;
        const Expr width = in.dim(0).extent(), height = in.dim(1).extent();
        const Expr rows = out.dim(1).extent();
        const Expr x_begin = first_inside(origin_x, step_x, out.dim(0).extent());
        const Expr x_end = first_inside(origin_x - width, step_x, out.dim(0).extent());
        const Expr y_begin = first_inside(origin_y, step_y, rows);
        const Expr y_end = first_inside(origin_y - height, step_y, rows);
        const auto at = [&](const Expr &column, const Expr &row) {
            return in(unsafe_promise_clamped(column, 0, width - 1), unsafe_promise_clamped(row * step_y + origin_y, 0, height - 1), p);
        };
        // Columns that lie one or two apart are read under a mask and written once. Of other steps, where every lane is a
        // load of its own, the rows are filled first.
        const Expr masked = layout == fourfold::Layout::nchw ? step_x == 1 || step_x == 2 : Expr(false);
        const Expr copied = select(masked, 0, y_end - y_begin);
        out(x, y, p) = undef<float>();
        RDom above(0, y_begin + copied, "above"), below(y_end, rows - y_end, "below");
        out(x, above.x, p) = value;
        out(x, below.x, p) = value;
        stages.constant = {above.x, below.x};
        if (layout == fourfold::Layout::nchw) {
            const auto between = [&](const Expr &column, const Expr &row) {
                const Expr inside = column >= 0 && column < width;
                return select(inside, fourfold::load_if(inside, at(column, row)), value);
            };
            RDom one(y_begin, select(step_x == 1, y_end - y_begin, 0), "one"), two(y_begin, select(step_x == 2, y_end - y_begin, 0), "two");
            Func pair("pair");
            pair(u, y, p) = between(u + origin_x, y);
            out(x, one.x, p) = between(x + origin_x, one.x);
            out(x, two.x, p) = pair(2 * x, two.x, p);
            stages.pair = pair;
            stages.dense = {one.x, two.x};
        }
        RDom image(x_begin, x_end - x_begin, y_begin, copied, "image");
        out(image.x, image.y, p) = at(image.x * step_x + origin_x, image.y);
        stages.image_x = image.x;
        stages.image_y = image.y;
        stages.out = out;
    }

    /// The first index k in [0, count] with k*step + origin >= 0.
    static Expr first_inside(const Expr &origin, const Expr &step, const Expr &count) {
        return clamp((step - 1 - origin) / step, 0, count);
    }

    fourfold::PadStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Pad, pad)
