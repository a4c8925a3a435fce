// CPU schedule of unblock_channels: 16 columns of all 16 channels are loaded as they lie and transposed into a block on the
// stack, from which rows are finished and stored.
// What did not help: PredicateStores without partitioning, within the noise for rows of 7 to 56: the tail of GuardWithIf is
// masked too.
#include "schedules/cpu/unblock_channels.h"

#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(UnblockChannelsStages &s, const Expr &use_residual, const Target &target) {
    Var xo("xo"), xi("xi"), lo("lo"), li("li");
    const auto split = [&](Stage stage, TailStrategy tail) {
        stage.split(s.x, xo, xi, 16, tail).reorder(xi, s.l, xo, s.y).vectorize(xi);
    };
    if (masked_stores_are_dear(target)) {
        // The last columns are finished again, which a residual that is out itself forbids.
        split(s.out.specialize(use_residual == 0 && s.out.output_buffer().dim(0).extent() >= 16), TailStrategy::ShiftInwards);
    }
    split(s.out, TailStrategy::GuardWithIf);
    s.plane.compute_at(s.out, xo)
        .bound_extent(s.l, 16)
        .bound_extent(s.x, 16)
        .split(s.l, lo, li, 8)
        .split(s.x, xo, xi, 16)
        .reorder(xi, li, lo, xo)
        .vectorize(xi)
        .vectorize(li)
        .unroll(lo).unroll(xo);
    s.blocked.compute_at(s.plane, lo).vectorize(s.l).unroll(s.x);
    s.out.specialize(use_residual == 0);
}

void schedule_copy(UnblockChannelsStages &s, const Expr &use_residual, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    s.out.reorder(s.l, s.x, s.y).vectorize(s.l, vec, TailStrategy::GuardWithIf);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
