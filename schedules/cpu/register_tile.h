// Register tiles: accumulators that live in registers through a whole reduction.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold::cpu {

/// Puts `f` at loop `at` of its consumer, as rows x width accumulators in registers while `reduction`, innermost first, goes
/// through. The extents are pinned, otherwise a guarded edge would make them dynamic and put them in memory: edge tiles compute
/// in full.
inline void accumulate_in_registers(Halide::Func f, Halide::Func consumer, const Halide::VarOrRVar &at, const Halide::Var &lane, int width, const Halide::Var &row, int rows, const std::vector<Halide::VarOrRVar> &reduction, int vec) {
    f.compute_at(Halide::LoopLevel(consumer, at))
        .bound_extent(lane, width)
        .bound_extent(row, rows)
        .vectorize(lane, vec)
        .unroll(lane)
        .unroll(row);
    std::vector<Halide::VarOrRVar> order = {lane, row};
    order.insert(order.end(), reduction.begin(), reduction.end());
    f.update().reorder(order).vectorize(lane, vec).unroll(lane).unroll(row);
}

/// The tile that conv_direct and gemm share: m rows (output channels) times n vectors (pixels).
struct RegisterTile {
    int m;  ///< rows: values broadcast from the packed left operand
    int n;  ///< vectors of the right operand
};

/// Schedules out/total/block so that `block` lives in m*n registers through the whole reduction.
///
/// Loop nest, outside in: j tiles, i tiles, blocks of the reduction, the reduction, the unrolled tile. j is the outer loop
/// so that a tile's columns stay in L1 while the packed filters, which the runtime keeps to half of L2, stream past them.
/// Edge tiles store under a mask.
///
/// `total` and `block` together are more than the registers hold, so several blocks keep `total` in memory. With one block
/// only the bias joins at the end: m*n loads and stores fewer a tile, which short sums feel.
///
/// Evidence (gemm, AMD EPYC, Zen 5, one thread, 2026-11-20, share of the FMA peak of 237 GFLOP/s measured in the same run;
/// before: one form for any number of blocks):
///   m=8 n=3    128 x 64 x 784 (k, i, j) 92 % (86), 64 x 256 x 784 85 % (81), 25 x 32 x 1000 80 % (71)
///   m=12 n=2   64 x 60 x 1000 92 % (81), 64 x 256 x 784 88 % (79), 25 x 32 x 784 71 % (66)
/// What did not help: PredicateStores instead of GuardWithIf, whose vectors are masked just as well while loop partitioning
/// keeps the interior without masks; over whole tiles, j and i, it spills (0.2 to 1.0 of the speed).
inline void schedule_register_tile(Halide::Func out, Halide::Func total, Halide::Func block, Halide::Var j, Halide::Var i, std::vector<Halide::VarOrRVar> reduction, Halide::RVar kb, const Halide::Expr &one_block, RegisterTile tile, const Halide::Target &target) {
    using namespace Halide;
    const int vec = target.natural_vector_size<float>();
    Var jo("jo"), ji("ji"), io("io"), ii("ii");
    out.split(j, jo, ji, vec * tile.n, TailStrategy::GuardWithIf)
        .split(i, io, ii, tile.m, TailStrategy::GuardWithIf)
        .reorder(ji, ii, io, jo)
        .vectorize(ji, vec)
        .unroll(ji)
        .unroll(ii);
    accumulate_in_registers(total, out, io, j, vec * tile.n, i, tile.m, {kb}, vec);
    accumulate_in_registers(block, total, kb, j, vec * tile.n, i, tile.m, reduction, vec);
    out.specialize(one_block);
}

}  // namespace fourfold::cpu
