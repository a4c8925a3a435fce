// GPU schedule of the stages that only move and convert data: pad, crop, im2col, pack_filters and the like.
#pragma once

#include <vector>

#include "Halide.h"

namespace fourfold::cuda {

/// One thread to an element of a pure Func: 32 x 8 to a block, neighbours of the first dimension in neighbouring threads. All
/// blocks are numbered in one grid dimension, the only one that counts beyond 65,535. Dimensions that are not among `args` stay
/// within a thread. Returns the loop at which a sum of one element is computed, in registers.
inline Halide::Var schedule_map(Halide::Func out, std::vector<Halide::Var> args) {
    using namespace Halide;
    Var xo("xo"), xi("xi"), yo("yo"), yi("yi"), block("block");
    if (args.size() == 1) {
        out.gpu_tile(args[0], xo, xi, 256, TailStrategy::GuardWithIf);
        return xi;
    }
    out.split(args[0], xo, xi, 32, TailStrategy::GuardWithIf).split(args[1], yo, yi, 8, TailStrategy::GuardWithIf);
    std::vector<VarOrRVar> order = {xi, yi, xo, yo};
    order.insert(order.end(), args.begin() + 2, args.end());
    out.reorder(order).fuse(xo, yo, block);
    for (size_t d = 2; d < args.size(); d++) {
        out.fuse(block, args[d], block);
    }
    out.gpu_blocks(block).gpu_threads(xi, yi).never_partition_all();
    return xi;
}
inline Halide::Var schedule_map(Halide::Func out) {
    return schedule_map(out, out.args());
}

/// The same where each element is a sum, or a sum of sums: each computed at the loop over the one before, the first by the thread.
inline void schedule_map_of_sums(Halide::Func out, std::vector<Halide::Func> sums, const std::vector<Halide::RVar> &over = {}) {
    sums[0].compute_at(out, schedule_map(out));
    for (size_t i = 1; i < sums.size(); i++) {
        sums[i].compute_at(sums[i - 1], over[i - 1]);
    }
    for (Halide::Func &sum : sums) {
        sum.never_partition_all();
        sum.update().never_partition_all();
    }
}

/// The same of complex numbers whose parts, 0 and 1, one thread writes.
inline void schedule_map_of_pairs(Halide::Func out, const Halide::Var &part, const std::vector<Halide::Var> &args) {
    out.bound(part, 0, 2).unroll(part);
    schedule_map(out, args);
}

}  // namespace fourfold::cuda
