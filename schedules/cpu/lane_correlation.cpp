// CPU schedule of lane_correlation: both parts of a vector of lanes at once, so that the four factors are loaded once. Memory binds:
// two loads for each of four multiplications.
#include "schedules/cpu/lane_correlation.h"

#include <algorithm>

using namespace Halide;

namespace fourfold::cpu {

void schedule_lane_correlation(MemoryStages &s, const Var &part, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var lo("lo"), li("li");
    s.out.bound(s.x, 0, 16).bound(part, 0, 2).split(s.x, lo, li, vec, TailStrategy::RoundUp).reorder(li, part, lo).vectorize(li).unroll(part);
}

}  // namespace fourfold::cpu
