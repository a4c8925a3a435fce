// Loads of 16 bytes. Halide 21 makes one, ld.global.nc.v4, of exactly four 32-bit floats at an index that it can prove a multiple of four,
// which generators/wide_loads.h has the caller promise.
#pragma once

#include "Halide.h"

namespace fourfold::cuda {

/// `values`, of which a thread reads `count` along v at one place of all other dimensions: by fours, or twos, into registers. Nothing where
/// they are odd.
inline void load_wide(Halide::Func values, const Halide::Var &v, int count, const Halide::LoopLevel &level) {
    if (count % 2 != 0) {
        return;
    }
    for (const Halide::Var &other : values.args()) {
        values.bound_extent(other, other.same_as(v) ? count : 1);
    }
    values.compute_at(level).store_in(Halide::MemoryType::Register).vectorize(v, count % 4 == 0 ? 4 : 2).unroll(v).never_partition_all();
}

}  // namespace fourfold::cuda
