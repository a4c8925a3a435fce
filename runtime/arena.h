// Workspace layout: offsets handed out at plan time, pointers at run time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fourfold/tensor.h"

namespace fourfold {

inline int64_t round_up(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}
inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/// Hands out aligned regions of a block one after the other. Sizes saturate instead of overflowing.
class Arena {
public:
    /// Reserves `bytes` and returns their offset.
    size_t reserve(double bytes) {
        const size_t offset = size_;
        if (bytes > static_cast<double>(kLimit - size_)) {
            size_ = kLimit;
            return offset;
        }
        size_ += (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
        return offset;
    }
    size_t reserve_floats(double count) {
        return reserve(count * sizeof(float));
    }
    size_t bytes() const {
        return size_;
    }

private:
    static constexpr size_t kLimit = size_t{1} << 62;
    size_t size_ = 0;
};

/// Tasks that may run at the same time: no more than threads and tasks, and no more slots of scratch than the limit leaves room
/// for besides the first, which `used` counts.
inline int affordable_slots(int threads, int64_t tasks, size_t slot_bytes, size_t used, size_t limit) {
    const double room = slot_bytes == 0 ? static_cast<double>(threads) : 1.0 + static_cast<double>(limit - std::min(limit, used)) / static_cast<double>(slot_bytes);
    return static_cast<int>(std::min({static_cast<double>(threads), static_cast<double>(tasks), room}));
}

inline float *floats_at(std::byte *base, size_t offset) {
    return reinterpret_cast<float *>(base + offset);
}
inline const float *floats_at(const std::byte *base, size_t offset) {
    return reinterpret_cast<const float *>(base + offset);
}

/// What kernels that always add a bias take for the caller's: `count` zeros at `zeros` where there is none.
inline const float *bias_or_zeros(const float *bias, float *zeros, int64_t count) {
    if (bias == nullptr) {
        std::fill_n(zeros, count, 0.0f);
        bias = zeros;
    }
    return bias;
}

}  // namespace fourfold
