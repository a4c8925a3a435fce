#include "fourfold/tensor.h"

#include <cstdlib>
#include <utility>

namespace fourfold {

AlignedBuffer::AlignedBuffer(size_t bytes) {
    const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    if (rounded >= bytes) {
        data_ = std::aligned_alloc(kAlignment, rounded == 0 ? kAlignment : rounded);
        bytes_ = data_ != nullptr ? bytes : 0;
    }
}

AlignedBuffer::~AlignedBuffer() {
    std::free(data_);
}

AlignedBuffer::AlignedBuffer(AlignedBuffer &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {
}

AlignedBuffer &AlignedBuffer::operator=(AlignedBuffer &&other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

}  // namespace fourfold
