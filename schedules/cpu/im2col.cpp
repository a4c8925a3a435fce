// CPU schedule of im2col: each row segment is a copy in whole vectors. The runtime passes a width rounded up
// to the vector while rows lie o1 apart, so a row's overhang is overwritten by the next row, which this order guarantees.
// Bound by the stores to L2. What did not help: a guarded tail, which becomes scalar, 7 of 7 elements in a 7-wide layer.
#include "schedules/cpu/im2col.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_im2col(MemoryStages &s, bool exact, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), exact ? TailStrategy::Predicate : TailStrategy::RoundUp);
}

}  // namespace fourfold::cpu
