// CPU schedule of crop: rows in vectors, the last one under a mask; without residual and post-op it is a scaled copy.
// What did not help: PredicateStores and masked loads in every vector (never_partition_all), 5-25 % slower for rows of 14 to
// 224: GuardWithIf on a pure variable is masked too, in a tail of its own.
#include "schedules/cpu/crop.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_crop(MemoryStages &s, const Expr &use_residual, const Expr &post, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), TailStrategy::GuardWithIf);
    s.out.specialize(use_residual == 0 && post == 0);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
