// CPU schedule of fold: n vectors of neighbouring pixels in registers, every tap added by loads under a mask, which the borders
// need and which cost nothing inside. Where out's columns lie apart, channels run inside rows, so that the lines which the
// scattered stores of 16 channels share stay in L1.
#include "schedules/cpu/fold.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(FoldStages &s, int n, const Expr &stride, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    Var xo("xo"), xi("xi"), xu("xu");
    s.out.split(s.x, xo, xi, n * vec, TailStrategy::Predicate).split(xi, xu, xi, vec).reorder(xi, xu, xo, s.c, s.y).vectorize(xi).unroll(xu);
    s.out.specialize(stride == 1).reorder(xi, xu, xo, s.y, s.c);
    const auto tile = [&](Func &f) {
        f.bound_extent(s.x, n * vec).vectorize(s.x, vec).unroll(s.x);
    };
    s.total.compute_at(s.out, xo);
    tile(s.total);
    s.total.update().reorder(s.x, s.rows).vectorize(s.x, vec).unroll(s.x);
    s.line.compute_at(s.total, s.rows);
    tile(s.line);
    s.line.update().reorder(s.x, s.taps).vectorize(s.x, vec).unroll(s.x);
}

}  // namespace fourfold::cpu
