// CPU schedule of crop: rows in vectors, the last one under a mask; without residual and post-op it is a scaled copy. To NHWC, of a vector
// of planes and more, vectors run along the channels, gathered from planes whose lines serve the next columns too: Emerald Rapids, one thread, 2026-11-30, all of im2col with vectors along columns |
// so, 1x1 64 -> 256 56x56 4.04 | 1.72 ms, 256 -> 1024 14x14 with a residual 1.33 | 0.84, 3x3 64 -> 64 56x56 1.96 | 1.65.
// What did not help: PredicateStores and masked loads in every vector (never_partition_all), 5-25 % slower for rows of 14 to
// 224: GuardWithIf on a pure variable is masked too, in a tail of its own.
#include "schedules/cpu/crop.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_crop(MemoryStages &s, const Var &k, bool nhwc, const Expr &use_residual, const Expr &post, const Target &target) {
    if (nhwc) {
        const int vec = target.natural_vector_size<float>();
        const auto channels = s.out.output_buffer().dim(2);
        Stage dense = s.out.specialize(channels.stride() == 1 && channels.extent() >= vec);
        dense.reorder(k, s.x, s.out.args()[1]).vectorize(k, vec, TailStrategy::GuardWithIf);
        dense.specialize(use_residual == 0 && post == 0);
        dense.specialize(use_residual == 0);
    }
    s.out.vectorize(s.x, target.natural_vector_size<float>(), TailStrategy::GuardWithIf);
    s.out.specialize(use_residual == 0 && post == 0);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
