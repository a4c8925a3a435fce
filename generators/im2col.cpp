// im2col (unfold) of a strip: the matrix of input patches, one row per (channel, tap), one column per output pixel.
// Algorithm only; speed lives in schedules/*/im2col.cpp.
//
//     columns[c, t, p, q] = x[c, p*pitch + q + offset[t]]
//
// x is a strip of the padded, decimated image as in conv_direct, so that stride and dilation cost nothing here.
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/im2col.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class Im2col : public Generator<Im2col> {
public:
    /// 1: rows are written to their end and not beyond.
    GeneratorParam<int> exact{"exact", 0};

    /// Padded, decimated input of a strip, flat: (j, channel).
    Input<Buffer<float, 2>> x{"x"};
    /// Distance in x of each tap from its output pixel, in [0, offset_max].
    Input<Buffer<int32_t, 1>> offset{"offset"};
    Input<int32_t> offset_max{"offset_max"};
    /// Distance in x between output rows.
    Input<int32_t> pitch{"pitch"};
    /// (output column, output row, tap, channel). Unless exact, its width is a multiple of the vector length, although rows
    /// may lie closer together: they are written in order, each over the overhang of the one before.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var q("q"), p("p"), t("t"), c("c");
        out(q, p, t, c) = x(q + p * pitch + unsafe_promise_clamped(offset(t), 0, offset_max), c);
        stages = {out, q};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(offset);
        fourfold::require_origin(out);
        if (get_target().has_gpu_feature()) {
            fourfold::cuda::schedule_map(stages.out);
        } else {
            fourfold::cpu::schedule_im2col(stages, exact != 0, get_target());
        }
    }

private:
    fourfold::MemoryStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Im2col, im2col)
