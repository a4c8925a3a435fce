/// @file
/// Views of the caller's memory, and an owning aligned buffer.
#pragma once

#include <cstddef>
#include <cstdint>

namespace fourfold {

/// Every workspace and packed-filter block starts at a multiple of this many bytes.
inline constexpr size_t kAlignment = 64;

/// A rank-4 view of the caller's memory: element (a, b, c, d) lies at data[a*strides[0] + b*strides[1] + c*strides[2] + d*strides[3]].
/// For images (n, channel, row, column), for filters (oc, ic/groups, row, column), whatever the layout in memory.
/// Made from a bare pointer it is dense in the problem's layout: NCHW is (n, c, h, w) and (k, c, r, s), NHWC (n, h, w, c) and
/// (k, r, s, c). Strides count elements and are positive; that of an image's last dimension must be 1, and no two
/// elements of an output may share an address. Filters may be given in any order, whatever the layout, by their strides.
template<typename T>
struct TensorView {
    T *data = nullptr;  ///< the first element; null: left out
    int64_t strides[4] = {0, 0, 0, 0};  ///< elements between neighbours in each dimension
    bool dense = true;  ///< strides follow from the problem; the array above is ignored

    /// Null.
    TensorView() = default;
    /// Null, where an argument is left out.
    TensorView(std::nullptr_t) {  // NOLINT: implicit by design
    }
    /// Dense.
    TensorView(T *pointer)  // NOLINT: implicit by design
        : data(pointer) {
    }
    /// With a stride for each index.
    TensorView(T *pointer, int64_t s0, int64_t s1, int64_t s2, int64_t s3)
        : data(pointer), strides{s0, s1, s2, s3}, dense(false) {
    }
};

/// A view to be read.
using ConstView = TensorView<const float>;
/// A view to be written.
using MutableView = TensorView<float>;

/// Bytes of the caller's, for a workspace or a packed-filter block.
struct MemoryBlock {
    void *data = nullptr;  ///< multiple of kAlignment
    size_t bytes = 0;  ///< its size
};
/// The same, to be read only: a packed block.
struct ConstMemoryBlock {
    const void *data = nullptr;  ///< the first element; null: left out
    size_t bytes = 0;  ///< its size
};

/// Owns `bytes` bytes aligned to kAlignment. data() is null when the memory could not be had.
class AlignedBuffer {
public:
    AlignedBuffer() = default;
    /// Takes the memory, uninitialised.
    explicit AlignedBuffer(size_t bytes);
    ~AlignedBuffer();
    /// Leaves the other empty.
    AlignedBuffer(AlignedBuffer &&other) noexcept;
    /// Swaps.
    AlignedBuffer &operator=(AlignedBuffer &&other) noexcept;
    AlignedBuffer(const AlignedBuffer &) = delete;
    AlignedBuffer &operator=(const AlignedBuffer &) = delete;

    /// Null when empty, or when the memory could not be had.
    void *data() const {
        return data_;
    }
    /// 0 when the memory could not be had.
    size_t bytes() const {
        return bytes_;
    }
    /// As an argument of execute.
    operator MemoryBlock() const {  // NOLINT: implicit by design
        return {data_, bytes_};
    }
    /// As packed filters.
    operator ConstMemoryBlock() const {  // NOLINT: implicit by design
        return {data_, bytes_};
    }

private:
    void *data_ = nullptr;
    size_t bytes_ = 0;
};

}  // namespace fourfold
