// The documented cost model that chooses where no measurement does: FMA cycles of the tiles actually computed, plus bytes
// moved, plus a little per kernel call. Its constants are coarse on purpose: they rank algorithms, they do not predict.
#pragma once

#include <algorithm>
#include <cstdint>

#include "machine.h"

namespace fourfold {

struct CostModel {
    double hertz = 3.0e9;                ///< nominal
    double copy_bytes_per_second = 25e9;  ///< pad, crop and im2col, read + written, per thread (measured: 20-60e9 within L3)
    double stream_bytes_per_second = 12e9;  ///< filters from beyond L2, per thread
    double call_seconds = 0.4e-6;           ///< one generated function with its checks
    double fft_flops_per_second;            ///< whole-plane transforms, 2.5 N log2 N counted, per thread
    int lanes;

    explicit CostModel(Isa isa)
        : lanes(vector_lanes(isa)) {
        fft_flops_per_second = isa == Isa::kAvx512 ? 32e9 : isa == Isa::kAvx2 ? 28e9 : 20e9;
    }

    /// Cycles of one step of an m x n register tile: two FMAs a cycle; two loads a cycle, of which the n unaligned vectors
    /// count double; and at least 4 cycles between FMAs into the same accumulator. On the generic rung there is no FMA.
    double tile_cycles(int m, int n) const {
        const double fma = lanes >= 8 ? m * n / 2.0 : m * n;
        const double load = (m + 2.0 * n) / 2.0;
        return std::max({fma, load, 4.0});
    }
    /// Threads that really work on `tasks` tasks.
    static double parallel(int threads, int64_t tasks) {
        return static_cast<double>(std::max<int64_t>(1, std::min<int64_t>({threads, machine().hardware_threads, tasks})));
    }
};

}  // namespace fourfold
