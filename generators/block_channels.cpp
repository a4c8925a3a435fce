// 16 channels of an image to vectors of 16 channels, as transforms of tiles read them: a transposition of planes, or from NHWC a copy.
// Algorithm only; speed lives in schedules/*/block_channels.cpp.
//
//     out[y,x,l] = in[l,y,x]      zero for l beyond the last channel
#include "generators/block_channels.h"

#include "generators/layout.h"

#include "generators/post_op.h"
#include "schedules/cpu/block_channels.h"

using namespace Halide;

namespace {

class BlockChannels : public Generator<BlockChannels> {
public:
    GeneratorParam<fourfold::Layout> layout{"layout", fourfold::Layout::nchw, fourfold::kLayouts};

    /// (column, row, channel), at most 16 channels; at least 8 columns, or in NHWC channels of stride 1.
    Input<Buffer<float, 3>> in{"in"};
    /// (channel, column, row).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var l("l"), x("x"), y("y");
        const Expr channels = in.dim(2).extent();
        Func plane("plane");
        plane(x, y, l) = select(l < channels, in(x, y, clamp(l, 0, channels - 1)), 0.0f);
        out(l, x, y) = plane(x, y, l);
        stages = {out, plane, l, x, y};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        out.dim(0).set_extent(16);
        out.dim(1).set_stride(16);
        if (layout == fourfold::Layout::nhwc) {
            in.dim(0).set_stride(Expr());
            in.dim(2).set_stride(1);
            fourfold::cpu::schedule_copy(stages, in.dim(2).extent(), get_target());
        } else {
            fourfold::cpu::schedule(stages, get_target());
        }
    }

private:
    fourfold::BlockChannelsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(BlockChannels, block_channels)
