// Memory that notices being written, or even read, outside its bounds.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fourfold/problem.h"
#include "fourfold/tensor.h"
#include "reference/conv2d.h"

namespace fourfold::test {

enum class Placement {
    kGuardBytes,  ///< a pattern on both sides, checked by intact(); floats start off every vector's alignment
    kPageAfter,   ///< the last byte touches a page that cannot be accessed
    kPageBefore,  ///< the first byte follows a page that cannot be accessed
};
inline constexpr Placement kPlacements[] = {Placement::kGuardBytes, Placement::kPageAfter, Placement::kPageBefore};
const char *to_string(Placement placement);

/// `bytes` bytes, all 0xff (a NaN in every float), with guards around.
class GuardedBuffer {
public:
    GuardedBuffer() = default;
    GuardedBuffer(size_t bytes, size_t alignment, Placement placement);
    ~GuardedBuffer();
    GuardedBuffer(GuardedBuffer &&other) noexcept;
    GuardedBuffer &operator=(GuardedBuffer &&other) noexcept;
    GuardedBuffer(const GuardedBuffer &) = delete;
    GuardedBuffer &operator=(const GuardedBuffer &) = delete;

    unsigned char *data() const {
        return data_;
    }
    size_t bytes() const {
        return bytes_;
    }
    /// No guard byte has changed. Pages without access need no check: touching one ends the process.
    bool intact() const;
    /// A block for the library: null when empty, since a plan that needs nothing must accept nothing.
    MemoryBlock block() const {
        return bytes_ == 0 ? MemoryBlock{} : MemoryBlock{data_, bytes_};
    }

private:
    void release();

    unsigned char *mapping_ = nullptr;  ///< including the pages without access
    size_t mapped_ = 0;
    unsigned char *usable_ = nullptr;  ///< between those pages
    size_t usable_bytes_ = 0;
    unsigned char *data_ = nullptr;
    size_t bytes_ = 0;
};

/// A rank-4 tensor in guarded memory: dense, or a region of a larger one whose other elements are NaN and watched.
class Array {
public:
    Array() = default;
    /// Sizes in the order of the indices, whatever the layout in memory.
    Array(std::array<int64_t, 4> sizes, Placement placement, bool region, Layout layout = Layout::kNchw);

    float &operator()(int64_t a, int64_t b, int64_t c, int64_t d) {
        return origin_[a * strides_[0] + b * strides_[1] + c * strides_[2] + d * strides_[3]];
    }
    float operator()(int64_t a, int64_t b, int64_t c, int64_t d) const {
        return origin_[a * strides_[0] + b * strides_[1] + c * strides_[2] + d * strides_[3]];
    }
    const std::array<int64_t, 4> &sizes() const {
        return sizes_;
    }
    int64_t elements() const {
        return sizes_[0] * sizes_[1] * sizes_[2] * sizes_[3];
    }
    float *data() const {
        return origin_;
    }
    ConstView view() const;
    MutableView mutable_view() const;
    reference::View reference_view() const;

    /// Calls f(float &) for each element, last index fastest.
    template<typename F>
    void for_each(F f) {
        for (int64_t a = 0; a < sizes_[0]; a++) {
            for (int64_t b = 0; b < sizes_[1]; b++) {
                for (int64_t c = 0; c < sizes_[2]; c++) {
                    for (int64_t d = 0; d < sizes_[3]; d++) {
                        f((*this)(a, b, c, d));
                    }
                }
            }
        }
    }
    /// Every element, dense, last index fastest.
    std::vector<float> values() const;
    void assign(const std::vector<float> &values);
    void fill(float value) {
        for_each([value](float &x) { x = value; });
    }

    /// All of it, what lies around a region included.
    const GuardedBuffer &memory() const {
        return memory_;
    }

    /// Neither guards nor, in a region, the elements around it have changed.
    bool surroundings_intact() const;

private:
    std::array<int64_t, 4> sizes_ = {0, 0, 0, 0};
    std::array<int64_t, 4> strides_ = {0, 0, 0, 0};
    std::array<int, 4> nesting_ = {0, 1, 2, 3};  ///< dimensions, outermost first
    bool region_ = false;
    GuardedBuffer memory_;
    float *origin_ = nullptr;
};

}  // namespace fourfold::test
