// CPU schedule of pad. Constant mode: every row is written once, in vectors, its image part read under a mask. Step 2 reads two
// vectors under masks, from which a shuffle takes every other column. Other steps, and the columns of NHWC, gather over rows
// filled before. The other modes: rows in vectors, step 1 with dense loads.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20; before: a fill, then a copy whose tail, over an RVar, was scalar):
//   planes, pad      step 1                  step 2
//   1 x 1024^2 p1    0.089 ms (0.114)        0.038 ms (0.063)
//   3 x 224^2 p3     0.0117 (0.0137)         0.0045 (0.0069)
//   63 x 56^2 p1     0.0178 (0.0231)         0.0065 (0.0131)
//   255 x 28^2 p1    0.0193 (0.0376)         0.0072 (0.0154)
//   1020 x 14^2 p1   0.027 (0.086)           0.0140 (0.0169)
// AVX2 without AVX-512: rows of a vector and more end with a vector that begins early, for stores under masks are dear there
// (whole_stores.h); what it gains has not been measured alone.
// What did not help: the boundary helpers for the constant mode too. Their edge vectors gather under a mask, which costs
// about as much as the rest of a 58-wide row.
#include "schedules/cpu/pad.h"

#include "schedules/cpu/whole_stores.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PadStages &s, const Expr &step_x, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    if (s.constant.empty()) {
        s.out.vectorize(s.x, vec, TailStrategy::GuardWithIf);
        s.out.specialize(step_x == 1);
        return;
    }
    Var xo("xo"), xi("xi"), xp("xp");
    int update = 0;
    const auto in_vectors = [&](const Var &outer, const RVar &row) {
        Stage stage = s.out.update(update++);
        const auto split = [&](Stage at, TailStrategy tail) {
            return at.split(s.x, outer, xi, vec, tail).reorder(xi, outer, row, s.p).vectorize(xi);
        };
        if (masked_stores_are_dear(target)) {
            split(stage.specialize(s.out.output_buffer().dim(0).extent() >= vec), TailStrategy::ShiftInwardsAndBlend);
        }
        split(stage, TailStrategy::PredicateStores).never_partition_all();
    };
    for (const RVar &row : s.constant) {
        in_vectors(xo, row);
    }
    if (!s.dense.empty()) {  // steps 1 and 2
        in_vectors(xo, s.dense[0]);
        in_vectors(xp, s.dense[1]);
        s.pair.compute_at(s.out, xp).bound_extent(s.u, 2 * vec).vectorize(s.u, vec).unroll(s.u);
    }
    s.out.update(update).reorder(s.image_x, s.image_y, s.p).vectorize(s.image_x, vec, TailStrategy::Predicate);
}

}  // namespace fourfold::cpu
