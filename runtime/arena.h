// Workspace layout: offsets handed out at plan time, pointers at run time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

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

inline float *floats_at(std::byte *base, size_t offset) {
    return reinterpret_cast<float *>(base + offset);
}
inline const float *floats_at(const std::byte *base, size_t offset) {
    return reinterpret_cast<const float *>(base + offset);
}

}  // namespace fourfold
