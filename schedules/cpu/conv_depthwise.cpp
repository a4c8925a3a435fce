#include "schedules/cpu/conv_depthwise.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDepthwiseStages &s, DepthwiseTile tile, const Expr &use_residual, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    Var qo("qo"), qi("qi"), po("po"), pi("pi"), xo("xo"), xi("xi");
    s.out.split(s.q, qo, qi, vec * tile.n, TailStrategy::PredicateStores)
        .split(s.p, po, pi, tile.m, TailStrategy::PredicateStores)
        .reorder(qi, pi, qo, po, s.o, s.c)
        .vectorize(qi)
        .unroll(pi);
    s.out.never_partition_all();
    s.sum.compute_at(s.out, qo)
        .bound_extent(s.q, vec * tile.n)
        .bound_extent(s.pi, tile.m)
        .bound_extent(s.po, 1)
        .vectorize(s.q)
        .unroll(s.pi);
    for (size_t u = 0; u < s.runs.size(); u++) {
        const ConvDepthwiseStages::Run &run = s.runs[u];
        Stage update = s.sum.update(static_cast<int>(u));
        if (run.unrolled_rows) {
            update.reorder(s.q, s.pi, run.row, run.column, s.po).unroll(run.row);
        } else {
            update.reorder(s.q, s.pi, run.column, run.row, s.po);
        }
        update.vectorize(s.q).unroll(s.pi);
        if (run.unrolled_columns) {
            update.unroll(run.column);
        }
    }
    if (tile.pad) {
        // Row after row of one vector: its mask stays in a register.
        s.image.compute_at(s.out, s.c);
        for (size_t u = 0; u < s.rows.size(); u++) {
            s.image.update(static_cast<int>(u)).split(s.x, xo, xi, vec, TailStrategy::RoundUp).reorder(xi, s.rows[u], xo).vectorize(xi).never_partition_all();
        }
    }
    s.out.specialize(use_residual == 0);
}

}  // namespace fourfold::cpu
