// CPU schedule of pad: rows in vectors, plane by plane. Steps 1 and 2 get loads of their own (dense, and two loads with a
// shuffle), other steps gather.
//
// What did not help: the boundary helpers for the constant mode too. Their edge vectors gather under a mask, which costs
// about as much as the rest of a 58-wide row.
#include "schedules/cpu/pad.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PadStages &s, const Expr &step_x, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    s.out.vectorize(s.x, vec, TailStrategy::GuardWithIf);
    if (s.out.has_update_definition()) {
        Stage copy = s.out.update();
        copy.reorder(s.image_x, s.image_y, s.p).vectorize(s.image_x, vec, TailStrategy::Predicate);
        copy.specialize(step_x == 1);
        copy.specialize(step_x == 2);
    } else {
        s.out.specialize(step_x == 1);
    }
}

}  // namespace fourfold::cpu
