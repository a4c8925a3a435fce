// fold (col2im) of one phase of the stride: every pixel gathers what the columns hold for it. Algorithm only; speed lives in
// schedules/*/fold.cpp.
//
//     out[c,y,x] = sum_{r,s} columns[c, r, s, y + origin_y - r*step_y, x + origin_x - s*step_x]
//
// where the output pixel lies outside the columns' image the term is zero. Each filter row has a sum of its own, so that no
// chain of additions is longer than a filter's side.
#include "generators/fold.h"

#include "generators/post_op.h"
#include "schedules/cpu/fold.h"

using namespace Halide;

namespace {

class Fold : public Generator<Fold> {
public:
    /// Vectors of a register tile.
    GeneratorParam<int> n{"n", 2};

    /// (output column, output row, filter column, filter row, channel): the taps of the phase.
    Input<Buffer<float, 5>> columns{"columns"};
    /// The output pixel that the first tap of out's first pixel belongs to; and how far it moves back from tap to tap.
    Input<int32_t> origin_x{"origin_x"}, origin_y{"origin_y"}, step_x{"step_x"}, step_y{"step_y"};
    /// (column, row, channel); columns lie apart where the stride is over 1, and in NHWC.
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var &x = stages.x, &y = stages.y, &c = stages.c, &u = stages.u;
        const Expr width = columns.dim(0).extent(), height = columns.dim(1).extent();
        RDom taps(0, columns.dim(2).extent(), "taps"), rows(0, columns.dim(3).extent(), "rows");
        const Expr q = x + origin_x - taps.x * step_x;
        const Expr inside = q >= 0 && q < width;
        const Expr p = y + origin_y - rows.x * step_y;
        rows.where(p >= 0 && p < height);
        const Expr row = unsafe_promise_clamped(y + origin_y - u * step_y, 0, height - 1);
        Func line("line"), total("total");
        line(x, y, c, u) = 0.0f;
        line(x, y, c, u) += select(inside, fourfold::load_if(inside, columns(unsafe_promise_clamped(q, 0, width - 1), row, taps.x, u, c)), 0.0f);
        total(x, y, c) = 0.0f;
        total(x, y, c) += line(x, y, c, rows.x);
        out(x, y, c) = total(x, y, c);
        stages.out = out;
        stages.total = total;
        stages.line = line;
        stages.rows = rows.x;
        stages.taps = taps.x;
    }

    void schedule() {
        fourfold::require_origin(columns);
        fourfold::require_origin(out);
        out.dim(0).set_stride(Expr());
        fourfold::cpu::schedule(stages, n, out.dim(0).stride(), get_target());
    }

private:
    fourfold::FoldStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Fold, fold)
