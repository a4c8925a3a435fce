// Vectors of 16 channels to 16 channels of an image, finished: a transposition to planes, or to NHWC a copy, with bias,
// residual and post-op. Algorithm only; speed lives in schedules/*/unblock_channels.cpp.
//
//     out[l,y,x] = post(in[y,x,l] + bias[l] + residual[l,y,x])
#include "generators/block_channels.h"
#include "generators/layout.h"
#include "generators/post_op.h"
#include "schedules/cpu/unblock_channels.h"

using namespace Halide;

namespace {

class UnblockChannels : public Generator<UnblockChannels> {
public:
    GeneratorParam<fourfold::Layout> layout{"layout", fourfold::Layout::nchw, fourfold::kLayouts};

    /// (channel, column, row), readable up to the last column rounded up to 16. The column stride is the caller's.
    Input<Buffer<float, 3>> in{"in"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (column, row, channel), strides as out; read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, channel), at most 16 channels; stride 1 has the column, or in NHWC the channel.
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var x("x"), y("y"), l("l");
        Func blocked("blocked"), plane("plane");
        blocked(l, x, y) = in(l, x, y);
        plane(x, y, l) = blocked(l, x, y);
        const Expr v = plane(x, y, l) + bias(l);
        out(x, y, l) = fourfold::post_op(select(use_residual != 0, v + residual(x, y, l), v), post, lo, hi);
        stages = {out, plane, blocked, x, y, l};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(bias);
        fourfold::require_origin(residual);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        if (layout == fourfold::Layout::nhwc) {
            residual.dim(0).set_stride(Expr());
            residual.dim(2).set_stride(1);
            out.dim(0).set_stride(Expr());
            out.dim(2).set_stride(1);
            fourfold::cpu::schedule_copy(stages, use_residual, get_target());
        } else {
            fourfold::cpu::schedule(stages, use_residual, get_target());
        }
    }

private:
    fourfold::UnblockChannelsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(UnblockChannels, unblock_channels)
