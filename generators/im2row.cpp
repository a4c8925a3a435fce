// The patches of a strip as rows, the transpose of im2col: one row per output pixel, one column per (channel, tap). Algorithm
// only; speed lives in schedules/*/im2row.cpp.
//
//     out[p, q, u] = x[c, p*pitch + q + offset[t]]       u = c*taps + t
#include "generators/im2row.h"

#include "generators/post_op.h"
#include "schedules/cpu/im2row.h"

using namespace Halide;

namespace {

class Im2row : public Generator<Im2row> {
public:
    /// Padded, decimated input of a strip, flat: (j, channel).
    Input<Buffer<float, 2>> x{"x"};
    /// Distance in x of each tap from its output pixel, in [0, offset_max].
    Input<Buffer<int32_t, 1>> offset{"offset"};
    Input<int32_t> offset_max{"offset_max"};
    /// Distance in x between output rows.
    Input<int32_t> pitch{"pitch"};
    /// (channel*taps + tap, output column, output row). The first is a multiple of 16, where what lies beyond the last tap
    /// repeats it; the second a multiple of 8, although rows may lie closer together: they are written in order, each over the
    /// overhang of the one before.
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var u("u"), q("q"), p("p");
        const Expr taps = offset.dim(0).extent();
        const Expr uu = min(u, x.dim(1).extent() * taps - 1);
        const Expr tap_offset = unsafe_promise_clamped(offset(unsafe_promise_clamped(uu % taps, 0, taps - 1)), 0, offset_max);
        Func patches("patches");
        patches(q, p, u) = x(q + p * pitch + tap_offset, uu / taps);
        out(u, q, p) = patches(q, p, u);
        stages = {out, patches, u, q, p};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(offset);
        fourfold::require_origin(out);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::Im2rowStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Im2row, im2row)
