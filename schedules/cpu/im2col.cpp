// CPU schedule of im2col: each row segment is a copy in whole vectors. The runtime passes a width rounded up
// to the vector while rows lie o1 apart, so a row's overhang is overwritten by the next row, which this order guarantees.
// Bound by the stores to L2. What did not help: a guarded tail, which becomes scalar, 7 of 7 elements in a 7-wide layer.
//
// exact: whole columns for the caller, every vector under a mask (AMD EPYC, Zen 5, one thread, 2026-11-20; image and columns once,
// memory triad 38 GB/s; in brackets the time of torch.nn.functional.unfold over ours):
//   64 x 56^2 3x3    80 GB/s (14)    8 x 64 x 56^2 3x3   27 (14)    8 x 256 x 14^2 3x3   24 (4.6)    512^2 15x15   29 (15)
#include "schedules/cpu/im2col.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_im2col(MemoryStages &s, bool exact, const Target &target) {
    s.out.vectorize(s.x, target.natural_vector_size<float>(), exact ? TailStrategy::Predicate : TailStrategy::RoundUp);
}

}  // namespace fourfold::cpu
