// CPU schedule of block_channels: a block of 16 channels x 8 columns at a time, read along rows, transposed in registers by
// a vectorised store of both dimensions; the last block of a row begins early instead of reading on.
#include "schedules/cpu/block_channels.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(BlockChannelsStages &s, const Target &) {
    Var xo("xo"), xi("xi");
    s.out.bound(s.l, 0, 16)
        .split(s.x, xo, xi, 8, TailStrategy::ShiftInwards)
        .reorder(s.l, xi, xo, s.y)
        .vectorize(s.l)
        .vectorize(xi);
    s.plane.compute_at(s.out, xo).vectorize(s.x).unroll(s.l);
}

void schedule_copy(BlockChannelsStages &s, const Expr &channels, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    s.out.bound(s.l, 0, 16).vectorize(s.l, vec).specialize(channels == 16);
}

}  // namespace fourfold::cpu
