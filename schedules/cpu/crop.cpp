// CPU schedule of crop: rows in vectors, the last one under a mask; without residual and post-op it is a scaled copy.
#include "schedules/cpu/crop.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_crop(MemoryStages &s, const Expr &use_residual, const Expr &post, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), TailStrategy::GuardWithIf);
    s.out.specialize(use_residual == 0 && post == 0);
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
