// CPU schedule of fold: n vectors of neighbouring pixels in registers, every tap added by loads under a mask, which the borders
// need and which cost nothing inside. Where out's columns lie apart, channels run inside rows, so that the lines which the
// scattered stores of 16 channels share stay in L1.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20; columns and image once, in GB/s, memory reads 45; in brackets the time of
// torch.nn.functional.fold over ours):
//   64 x 56^2 3x3    77 (16)     8 x 256 x 14^2 3x3   54 (8)      3 x 224^2 7x7 s2   71 (13)     512^2 15x15   10 (1.7)
//   8 x 64 x 56^2    18 (3.1)    8 x 512 x 7^2 3x3    38 (5.9)    8 x 128 x 28^2 s2  25 (3.1)    16 x 112^2 5x5   65 (11)
// Rows of 14 by n = 1, 2, 4: 0.32, 0.43, 0.65 ms. What is slow: many taps of large planes, of which each is a stream of its own.
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
