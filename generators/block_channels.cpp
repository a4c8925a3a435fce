// 16 planes to one image of 16 channels innermost: the transposition in front of tile_forward. Algorithm only; speed lives in
// schedules/*/block_channels.cpp.
//
//     out[y,x,l] = in[l,y,x]      zero for l beyond the last plane
#include "generators/block_channels.h"

#include "generators/post_op.h"
#include "schedules/cpu/block_channels.h"

using namespace Halide;

namespace {

class BlockChannels : public Generator<BlockChannels> {
public:
    /// (column, row, plane), at least 8 columns, at most 16 planes.
    Input<Buffer<float, 3>> in{"in"};
    /// (plane, column, row).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var l("l"), x("x"), y("y");
        const Expr planes = in.dim(2).extent();
        Func plane("plane");
        plane(x, y, l) = select(l < planes, in(x, y, clamp(l, 0, planes - 1)), 0.0f);
        out(l, x, y) = plane(x, y, l);
        stages = {out, plane, l, x, y};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        out.dim(0).set_extent(16);
        out.dim(1).set_stride(16);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::BlockChannelsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(BlockChannels, block_channels)
