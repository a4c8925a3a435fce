// CPU schedule of conv_depthwise_strided_gradient: m pairs of rows x n vectors of pairs of columns of sums in registers, that is
// 4*m*n vectors, plane after plane.
//
// Registers (AVX-512): m=1 n=1 keeps 4 sums, all 9 filter values of f=3 and the vectors of gy in 32. A row of sums is put
// together from its even and odd columns by two permutations and stored under masks.
// Edges: gy is copied between zeros, in scratch that stays in L1 or L2; the last columns and rows are computed in full.
//
// Evidence (AMD EPYC, Zen 4, AVX-512, one thread, 2026-11-29, the kernel alone; other work ran on the machine; PyTorch is 2.15 in
// channels-last, its better layout):
//   bwd-data b1 ic144 i56 f3 s2 p1 g144   f=3 m=1 n=1  0.066-0.075 ms  m=2 n=1  0.063-0.075 (four forward problems and an interleaving
//                                                pass, packing included: 0.26; PyTorch 0.109)
//   bwd-data b1 ic576 i14 f3 s2 p1 g576   f=3 m=1 n=1  0.039 ms  (PyTorch 0.054)
//   bwd-data b1 ic96 i112 f3 s2 p1 g96    f=3 m=1 n=1  0.178 ms  (PyTorch 0.223)
//   bwd-data b1 ic144 i56 f5 s2 p2 g144   f=0 m=2 n=1  0.109 ms  (PyTorch 0.135)
// AVX2 (AMD EPYC, Zen 4 without AVX-512, 2026-12-01, tests on the other core; before: f=0 m=1 n=1): f3 s2 p1 of 144 channels of 56x56 f=3 m=2 n=1 0.194 ms (0.265),
// of 96 of 112x112 0.259 (0.433), f5 s2 p2 of 144 f=0 m=2 n=1 0.268 (0.303).
// What did not help: more sums (m=2 n=2 0.083, m=1 n=2 0.071 ms for the first: of 28 pairs in a row they compute more that
// nobody stores); 5x5 and 7x7 unrolled (0.108 and 0.24 ms, with f=0 0.109 and 0.21); whole stores besides masked ones (0.069).
#include "schedules/cpu/conv_depthwise_strided_gradient.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseStridedGradientStages &s, StridedGradientTile tile, const Expr &no_residual, const Expr &odd_x, const Expr &odd_y, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    Var bo("bo"), bi("bi"), ao("ao"), ai("ai"), xo("xo"), xi("xi");
    s.out.split(s.b, bo, bi, 2 * vec * tile.n, TailStrategy::PredicateStores)
        .split(s.a, ao, ai, 2 * tile.m, TailStrategy::PredicateStores)
        .reorder(bi, ai, bo, ao, s.c)
        .vectorize(bi)
        .unroll(ai)
        .never_partition_all();
    for (Func f : {s.block, s.sum}) {
        f.compute_at(s.out, bo)
            .bound_extent(s.q, vec * tile.n)
            .bound_extent(s.pi, tile.m)
            .bound_extent(s.po, 1)
            .vectorize(s.q)
            .unroll(s.pi);
    }
    s.block.bound(s.v, 0, 2).bound(s.e, 0, 2).reorder(s.v, s.q, s.e, s.pi).unroll(s.v).unroll(s.e);
    s.sum.bound(s.dx, 0, 2).bound(s.dy, 0, 2).reorder(s.q, s.dx, s.dy, s.pi).unroll(s.dx).unroll(s.dy);
    s.sum.reorder_storage(s.q, s.dx, s.dy, s.pi, s.po, s.c);
    for (size_t u = 0; u < s.updates.size(); u++) {
        const auto &update = s.updates[u];
        std::vector<VarOrRVar> order = {s.q}, unrolled;
        if (update.both_columns) {
            unrolled.push_back(s.dx);
        }
        if (update.both_rows) {
            unrolled.push_back(s.dy);
        }
        unrolled.push_back(s.pi);
        order.insert(order.end(), unrolled.begin(), unrolled.end());
        order.insert(order.end(), {update.column, update.row});
        if (tile.unrolled) {
            unrolled.insert(unrolled.end(), {update.column, update.row});
        }
        Stage stage = s.sum.update(static_cast<int>(u));
        stage.reorder(order).vectorize(s.q);
        for (const VarOrRVar &var : unrolled) {
            stage.unroll(var);
        }
    }
    // Row after row of one vector: its mask stays in a register.
    s.image.compute_at(s.out, s.c).align_storage(s.x, vec);
    for (size_t u = 0; u < s.rows.size(); u++) {
        s.image.update(static_cast<int>(u)).split(s.x, xo, xi, vec, TailStrategy::RoundUp).reorder(xi, s.rows[u], xo).vectorize(xi).never_partition_all();
    }
    // The usual paddings: the order of a block's sums is known.
    for (int odd : {0, 1}) {
        s.out.specialize(no_residual && odd_x == odd && odd_y == odd);
    }
}

}  // namespace fourfold::cpu
