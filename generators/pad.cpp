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
        Var x("x"), y("y"), p("p");
        const Expr width = in.dim(0).extent(), height = in.dim(1).extent();
        if (mode == Mode::constant) {
            // Fill, then copy the part that lies in the image: no load needs a clamp.
            const Expr x_begin = first_inside(origin_x, step_x, out.dim(0).extent());
            const Expr x_end = first_inside(origin_x - width, step_x, out.dim(0).extent());
            const Expr y_begin = first_inside(origin_y, step_y, out.dim(1).extent());
            const Expr y_end = first_inside(origin_y - height, step_y, out.dim(1).extent());
            RDom image(x_begin, x_end - x_begin, y_begin, y_end - y_begin, "image");
            const Expr in_x = unsafe_promise_clamped(image.x * step_x + origin_x, 0, width - 1);
            const Expr in_y = unsafe_promise_clamped(image.y * step_y + origin_y, 0, height - 1);
            out(x, y, p) = value;
            out(image.x, image.y, p) = in(in_x, in_y, p);
            stages = {out, x, y, p, image.x, image.y};
            return;
        }
        Func extended;
        const Region image = {{0, width}, {0, height}};
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
        stages = {out, x, y, p, RVar(), RVar()};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        if (layout == fourfold::Layout::nhwc) {
            in.dim(0).set_stride(Expr());
        }
        fourfold::cpu::schedule(stages, step_x, get_target());
    }

private:
    /// The first index k in [0, count] with k*step + origin >= 0.
    static Expr first_inside(const Expr &origin, const Expr &step, const Expr &count) {
        return clamp((step - 1 - origin) / step, 0, count);
    }

    fourfold::PadStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Pad, pad)
