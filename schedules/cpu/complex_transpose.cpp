// CPU schedule of complex_transpose: blocks of 8 x 8, read along p, turned in registers by a vectorised store of both
// dimensions, written along q.
#include "schedules/cpu/complex_transpose.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ComplexTransposeStages &s, const Target &) {
    Var po("po"), pi("pi"), qo("qo"), qi("qi");
    s.out.split(s.p, po, pi, 8, TailStrategy::GuardWithIf)
        .split(s.q, qo, qi, 8, TailStrategy::GuardWithIf)
        .reorder(qi, pi, po, qo, s.o)
        .vectorize(qi)
        .unroll(pi);
    s.turned.compute_at(s.out, po)
        .bound_extent(s.q, 8)
        .bound_extent(s.p, 8)
        .vectorize(s.q)
        .vectorize(s.p);
    s.block.compute_at(s.out, po)
        .bound_extent(s.q, 8)
        .bound_extent(s.p, 8)
        .vectorize(s.p)
        .unroll(s.q);
}

}  // namespace fourfold::cpu
