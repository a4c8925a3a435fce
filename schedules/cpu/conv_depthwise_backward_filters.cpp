// CPU schedule of conv_depthwise_backward_filters: h x v taps of sums in registers, a vector of lanes each, over all rows of a
// call; the lanes are added up once a plane.
//
// Registers (AVX-512): h*v sums, m vectors of gy and one of the image: h=3 v=3 m=4 uses 9 + 4 + 1 of 32. A step of m vectors of gy
// loads (m-1)*stride + h vectors of the image for each filter column. Most of these cross a line, which takes Zen 4 two cycles
// instead of one: with m=1 loads take twice the time of the FMAs.
//
// Evidence (AMD EPYC, Zen 4, AVX-512, one thread, 2026-11-29, the kernel alone; other work ran on the machine; PyTorch is 2.15 in
// channels-last, its better layout; before: conv_backward_filters and its pad stage):
//   bwd-filters b1 ic144 i56 f3 p1 g144     h=3 v=3 m=4 stride=1  0.137 ms  (before 0.286, PyTorch 0.180); m=1 0.189, m=2 0.152, m=7 0.143
//   bwd-filters b1 ic96 i112 f3 p1 g96      h=3 v=3 m=4 stride=1  0.349 ms  (PyTorch 0.517)
//   bwd-filters b1 ic576 i14 f3 p1 g576     h=3 v=3 m=4 stride=1  0.055 ms  (before 0.090, PyTorch 0.084)
//   bwd-filters b1 ic144 i56 f5 p2 g144     h=5 v=1 m=4 stride=1  0.321 ms  (before 0.553, PyTorch 8.3); h=3 v=5 m=4 0.349, h=5 v=5 m=1 0.423
//   bwd-filters b1 ic144 i56 f7 p3 g144     h=7 v=1 m=4 stride=1  0.552 ms  (before 0.997); h=7 v=2 0.616, h=4 v=4 0.687, h=3 v=7 1.0
//   bwd-filters b1 ic144 i56 f3 s2 p1 g144  h=3 v=3 m=4 stride=2  0.084 ms  (before 0.164, PyTorch 0.102)
//   bwd-filters b1 ic96 i112 f3 s2 p1 g96   h=3 v=3 m=4 stride=2  0.238 ms  (before 0.423, PyTorch 0.171)
//   bwd-filters b1 ic144 i56 f5 s2 p2 g144  h=5 v=3 m=4 stride=2  0.160 ms  (before 0.249, PyTorch 1.1)
// AVX2 (AMD EPYC, Zen 4 without AVX-512, 2026-12-01, tests on the other core; before: what that target had, h=3 v=3 m=1 stride=1 or conv_backward_filters):
//   f3 s2 p1 (144 channels, 56)  h=3 v=3 m=1 stride=2  0.118 ms  (before 0.546)       f3 s2 p1 (96, 112)  the same  0.321 ms  (1.50)
//   f5 p2    (144, 56)           h=5 v=1 m=4 stride=1  0.480 ms  (0.640)              f7 p3 (144, 56)     h=7 v=1 m=4 stride=1  0.797 ms  (1.36)
//   f5 s2 p2 (144, 56)           h=5 v=1 m=4 stride=2  0.273 ms  (0.654)
//   f3 p1 with h=3 v=3: m=1 0.196 ms, m=2 0.256, m=4 0.297 (34 moves between vectors and the stack for 72 FMAs).
// What did not help: even and odd columns of the image apart, for loads without a stride (0.107 ms for the last: the copy reads
// a row across the stores that have just written it); taps of the last register tile clamped to the filter, so that LLVM does not
// know which loads are the same (0.223 ms for the first).
#include "schedules/cpu/conv_depthwise_backward_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseBackwardFiltersStages &s, DepthwiseTaps tile, const Expr &accumulate, const Target &) {
    Var so("so"), si("si"), ro("ro"), ri("ri"), xo("xo"), xi("xi");
    s.out.split(s.s, so, si, tile.v, TailStrategy::GuardWithIf)
        .split(s.r, ro, ri, tile.h, TailStrategy::GuardWithIf)
        .reorder(si, ri, so, ro, s.c)
        .unroll(si)
        .unroll(ri)
        .never_partition_all();
    for (Func f : {s.sum, s.lanes}) {
        f.compute_at(s.out, so)
            .bound_extent(s.si, tile.v)
            .bound_extent(s.ri, tile.h)
            .bound_extent(s.so, 1)
            .bound_extent(s.ro, 1)
            .unroll(s.si)
            .unroll(s.ri);
    }
    s.sum.update().reorder(s.lane, s.si, s.ri, s.so, s.ro).atomic().vectorize(s.lane).unroll(s.si).unroll(s.ri);
    s.lanes.bound_extent(s.l, s.vector).vectorize(s.l);
    s.lanes.update().reorder(s.l, s.si, s.ri, s.row, s.vectors, s.rows, s.so, s.ro).vectorize(s.l).unroll(s.si).unroll(s.ri).unroll(s.row);
    s.grad.compute_at(s.lanes, s.vectors).bound_extent(s.l, s.vector).bound_extent(s.i, tile.m).vectorize(s.l).unroll(s.i);
    // Row after row of one vector: its mask stays in a register. Rows begin at lines, so that the first tap's loads cross none.
    s.image.compute_at(s.out, s.c).align_storage(s.x, s.vector);
    for (size_t u = 0; u < s.copied.size(); u++) {
        s.image.update(static_cast<int>(u)).split(s.x, xo, xi, s.vector, TailStrategy::RoundUp).reorder(xi, s.copied[u], xo).vectorize(xi).never_partition_all();
    }
    s.out.specialize(accumulate != 0);
}

}  // namespace fourfold::cpu
