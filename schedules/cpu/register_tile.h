// The register tile that conv_direct and gemm share: m rows (output channels) times n vectors (pixels) of accumulators.
#pragma once

#include "Halide.h"

namespace fourfold::cpu {

struct RegisterTile {
    int m;  ///< rows: values broadcast from the packed left operand
    int n;  ///< vectors of the right operand
};

/// Schedules out/total/block so that `block` lives in m*n registers through the whole reduction.
///
/// Loop nest, outside in: j tiles, i tiles, blocks of the reduction, the reduction, the unrolled tile. j is the outer loop
/// so that a tile's columns stay in L1 while the packed filters, which the runtime keeps to half of L2, stream past them.
/// Extents are pinned (bound_extent), otherwise the guarded edge would make the accumulators' size dynamic and put them
/// in memory; edge tiles compute in full and store under a mask.
inline void schedule_register_tile(Halide::Func out, Halide::Func total, Halide::Func block, Halide::Var j, Halide::Var i, std::vector<Halide::VarOrRVar> reduction, Halide::RVar kb, RegisterTile tile, const Halide::Target &target) {
    using namespace Halide;
    const int vec = target.natural_vector_size<float>();
    Var jo("jo"), ji("ji"), io("io"), ii("ii");
    out.split(j, jo, ji, vec * tile.n, TailStrategy::GuardWithIf)
        .split(i, io, ii, tile.m, TailStrategy::GuardWithIf)
        .reorder(ji, ii, io, jo)
        .vectorize(ji, vec)
        .unroll(ji)
        .unroll(ii);
    total.compute_at(out, io)
        .bound_extent(j, vec * tile.n)
        .bound_extent(i, tile.m)
        .vectorize(j, vec)
        .unroll(j)
        .unroll(i);
    total.update().reorder(j, i, kb).vectorize(j, vec).unroll(j).unroll(i);
    block.compute_at(total, kb)
        .bound_extent(j, vec * tile.n)
        .bound_extent(i, tile.m)
        .vectorize(j, vec)
        .unroll(j)
        .unroll(i);
    std::vector<VarOrRVar> order = {j, i};
    order.insert(order.end(), reduction.begin(), reduction.end());
    block.update().reorder(order).vectorize(j, vec).unroll(j).unroll(i);
}

}  // namespace fourfold::cpu
