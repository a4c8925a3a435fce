// Packing filters that are transformed: each point of the transform has a place of its own in the packed block, far from the next one's, and a
// channel has a line or two there. Where the block is beyond the caches, each of these lines waits for memory and for its page's address. So the
// points of some channels, which lie side by side in the block, are gathered in L2 first and stored in runs, past the caches.
//
// Intel Xeon (Emerald Rapids, AVX-512, guest of 2 cores, the other one compiling), one thread, 2026-11-30, least of 3 interleaved rounds, milliseconds
// of packing for bwd-data, line by line | runs of 4 KB past the caches | through them: fft_tiled, 128 -> 128 channels 9x9 (41 MB) 15.2 | 7.3 | 10.8; fft,
// 3 -> 96 11x11 (19 MB) 33 | 17 (runs of 2 KB: 13) | 14 (1 KB), 32 -> 32 15x15 (22 MB, forward) 28 | 18 | 20. With the product, least of 5: the first 35.6 | 28.7, the second
// 54 | 43, 64 -> 128 9x9 (21 MB) 50.7 | 49.7. What did not help: smaller blocks, which the product would then read from memory (128 -> 128 7x7, 11 MB, with the product
// 10.5 | 11.5 | 12.4), or that L2 nearly holds (32 -> 32 15x15 by tiles, 6 MB, 1.03 | 1.09 | 1.55); Winograd's filters, of few points (512 -> 512, 17 MB, 2.1 | 2.6 | 2.6).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "arena.h"
#include "kernel.h"
#include "machine.h"

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace fourfold {

class GatheredPoints {
public:
    /// The block has `packed_bytes`; a channel has `channel_floats` (whole lines, or they are read before they are stored) at each of `points` points, `step` floats apart. Gathers where that
    /// pays and the gathered points fit `at_hand` bytes.
    void lay_out(Arena &arena, double packed_bytes, int64_t points, int64_t channel_floats, int64_t channels, int64_t step, double at_hand) {
        const double one = static_cast<double>(points) * static_cast<double>(channel_floats + kGap) * sizeof(float);
        const double room = std::min(kShareOfL2 * static_cast<double>(machine().l2_bytes), at_hand);
        const auto fitting = static_cast<int64_t>(std::clamp(room / one, 0.0, static_cast<double>(std::min(channels, ceil_div(kRunFloats, channel_floats)))));
        points_ = points;
        channel_floats_ = channel_floats;
        block_step_ = step;
        channels_ = packed_bytes > kBeyondCaches && fitting > 1 ? fitting : 0;
        offset_ = arena.reserve_floats(gathers() ? static_cast<double>(points) * static_cast<double>(this->step()) : 0.0);
    }

    bool gathers() const {
        return channels_ > 0;
    }
    /// That are gathered at a time; 0 where they are written in place.
    int64_t channels() const {
        return channels_;
    }
    /// Floats from point to point, where they are written.
    int64_t step() const {
        return gathers() ? channels_ * channel_floats_ + kGap : block_step_;
    }
    /// Where the first point of the first channel is written, whose place in the block is `target`.
    float *begin(float *target, std::byte *scratch) const {
        return gathers() ? floats_at(scratch, offset_) : target;
    }
    /// What was gathered of `count` channels, to the block.
    void store(const std::byte *scratch, int64_t count, float *target, const KernelContext &context) const {
        if (!gathers()) {
            return;
        }
        const StageTimer timer(context.profile, "store_points");
        const float *from = floats_at(scratch, offset_);
        for (int64_t i = 0; i < points_; i++) {
            store_run(from + i * step(), count * channel_floats_, target + i * block_step_);
        }
#if defined(__SSE2__)
        _mm_sfence();  // before another thread reads them
#endif
    }

private:
    /// Whole lines: memory is not read before it is written.
    static void store_run(const float *from, int64_t count, float *to) {
#if defined(__SSE2__)
        for (int64_t i = 0; i < count; i += 4) {
            _mm_stream_ps(to + i, _mm_load_ps(from + i));
        }
#else
        std::memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
#endif
    }

    static constexpr int64_t kGap = 16;           ///< points a power of two apart would share few lines of L1
    static constexpr int64_t kRunFloats = 1024;   ///< of a run
    static constexpr double kShareOfL2 = 0.4;
    static constexpr double kBeyondCaches = 16e6;

    int64_t points_ = 0, channel_floats_ = 0, block_step_ = 0, channels_ = 0;
    size_t offset_ = 0;
};

}  // namespace fourfold
