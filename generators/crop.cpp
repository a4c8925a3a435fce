// The valid part of padded planes, finished: scale, bias, residual, post-op. Algorithm only; speed lives in
// schedules/*/crop.cpp.
//
//     out[k,y,x] = post(scale * in[k,y,x] + bias[k] + residual[k,y,x])
#include "generators/layout.h"
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/crop.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class Crop : public Generator<Crop> {
public:
    GeneratorParam<fourfold::Layout> layout{"layout", fourfold::Layout::nchw, fourfold::kLayouts};

    /// Planes (column, row, k), larger than out.
    Input<Buffer<float, 3>> in{"in"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (column, row, k); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<float> scale{"scale"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, k); in NHWC columns of this and of the residual lie channels apart.
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var x("x"), y("y");
        const Expr v = scale * in(x, y, k) + bias(k);
        out(x, y, k) = fourfold::post_op(select(use_residual != 0, v + residual(x, y, k), v), post, lo, hi);
        stages = {out, x};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        if (get_target().has_gpu_feature()) {
            in.dim(0).set_stride(Expr());
        }
        if (layout == fourfold::Layout::nhwc) {
            residual.dim(0).set_stride(Expr());
            out.dim(0).set_stride(Expr());
        }
        if (get_target().has_gpu_feature()) {
            fourfold::cuda::schedule_map(stages.out);
        } else {
            fourfold::cpu::schedule_crop(stages, k, layout == fourfold::Layout::nhwc, use_residual, post, get_target());
        }
    }

private:
    Var k{"k"};
    fourfold::MemoryStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Crop, crop)
