// An image of 16 channels innermost to 16 planes, finished: the transposition behind tile_inverse with bias, residual and
// post-op. Algorithm only; speed lives in schedules/*/unblock_channels.cpp.
//
//     out[l,y,x] = post(in[y,x,l] + bias[l] + residual[l,y,x])
#include "generators/block_channels.h"
#include "generators/post_op.h"
#include "schedules/cpu/unblock_channels.h"

using namespace Halide;

namespace {

class UnblockChannels : public Generator<UnblockChannels> {
public:
    /// (plane, column, row), readable up to the last column rounded up to 16. The column stride is the caller's.
    Input<Buffer<float, 3>> in{"in"};
    Input<Buffer<float, 1>> bias{"bias"};
    /// (column, row, plane); read only when use_residual is not 0, and may then be out itself.
    Input<Buffer<float, 3>> residual{"residual"};
    Input<int32_t> use_residual{"use_residual"};
    Input<int32_t> post{"post"};
    Input<float> lo{"lo"}, hi{"hi"};
    /// (column, row, plane), at most 16 planes.
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
        fourfold::cpu::schedule(stages, use_residual, get_target());
    }

private:
    fourfold::UnblockChannelsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(UnblockChannels, unblock_channels)
