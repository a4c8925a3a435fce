// CPU schedule of complex_transpose: blocks of 8 x 8, read along p, turned in registers by a vectorised store of both
// dimensions, written along q.
//
// AMD EPYC (Zen 5), one thread, 2026-11-20, minimum: a product b32 ic64 i56x29 oc64 takes 15.3 ms channel-first where it takes 9.3
// with channels last: 6 ms for x and y, 27 MB each, into the cache and out of it. What matters is the run of frequencies that a
// task reads of each plane: 16 (two cache lines) 18.0 ms, 32 16.7, 64 15.1, 128 14.7, 256 14.2, with scratch to match; 64 is used.
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
