// CPU schedule of conv_depthwise_masked: m rows x n vectors of sums in registers, plane after plane.
//
// Registers: m*n sums, the vectors that a row's taps read, and filter values.
#include "schedules/cpu/conv_depthwise_masked.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseMaskedStages &s, MaskedDepthwiseTile tile, const Expr &use_residual, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    const bool pairs = tile.stride == 2, unrolled = tile.f <= 3;
    Var qo("qo"), qi("qi"), qu("qu"), ql("ql"), qa("qa"), qb("qb"), qd("qd"), po("po"), pi("pi"), io("io"), ii("ii");
    // Small filters go down a column of tiles, whose masks and branches are the same for all; see the evidence.
    const Var inner = unrolled ? po : qo, outer = unrolled ? qo : po;
    // Of the three one may be a single lane.
    const auto vectorize_lanes = [&](auto &&stage, const Var &first, const Var &second, const Var &third) {
        stage.vectorize(first);
        for (const Var &var : {second, third}) {
            const bool single = !pairs || (vec == 4 && (var.name() == s.d.name() || var.name() == qd.name()));
            single ? stage.unroll(var) : stage.vectorize(var);
        }
    };
    s.out.split(s.q, qo, qi, vec * tile.n, TailStrategy::PredicateStores)
        .split(s.p, po, pi, tile.m, TailStrategy::PredicateStores)
        .reorder(qi, pi, inner, outer, s.o, s.c)
        .vectorize(qi)
        .unroll(pi)
        .never_partition_all()
        .partition(qo, Partition::Always)
        .partition(po, Partition::Always);
    if (pairs) {
        s.ordered.compute_at(s.out, inner)
            .bound_extent(s.q, vec * tile.n)
            .bound_extent(s.pi, tile.m)
            .bound_extent(s.po, 1)
            .split(s.q, qu, ql, vec, TailStrategy::RoundUp)
            .split(ql, qb, ql, vec / 2, TailStrategy::RoundUp)
            .split(ql, qd, qa, 2, TailStrategy::RoundUp)
            .unroll(qu)
            .unroll(s.pi)
            .never_partition_all();
        vectorize_lanes(s.ordered, qa, qd, qb);
    }

    s.sum.compute_at(s.out, inner)
        .bound(s.a, 0, pairs ? 2 : vec)
        .bound(s.b, 0, pairs ? 2 : 1)
        .bound(s.d, 0, pairs ? vec / 4 : 1)
        .bound_extent(s.u, tile.n)
        .bound(s.j, 0, s.chains)
        .bound_extent(s.pi, tile.m)
        .bound_extent(s.po, 1)
        .unroll(s.u)
        .unroll(s.j)
        .unroll(s.pi)
        .never_partition_all();
    vectorize_lanes(s.sum, s.a, s.b, s.d);
    Stage taps = s.sum.update();
    if (unrolled) {
        taps.reorder(s.a, s.b, s.d, s.u, s.j, s.pi, s.parity, s.column, s.row, s.po).unroll(s.column);
    } else {
        taps.reorder(s.a, s.b, s.d, s.u, s.j, s.pi, s.parity, s.row, s.column, s.po);
    }
    taps.unroll(s.u).unroll(s.j).unroll(s.pi).unroll(s.parity).unroll(s.row).never_partition_all();
    vectorize_lanes(taps, s.a, s.b, s.d);
    s.columns.compute_at(s.sum, unrolled ? s.column : s.row)
        .bound_extent(s.i, vec * tile.stride)
        .bound_extent(s.u, tile.n)
        .bound_extent(s.t, 1)
        .bound_extent(s.y, 1)
        .split(s.i, io, ii, vec, TailStrategy::RoundUp)
        .vectorize(ii)
        .unroll(io)
        .unroll(s.u)
        .never_partition_all();
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
