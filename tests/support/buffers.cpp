#include "support/buffers.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

namespace fourfold::test {

namespace {

constexpr unsigned char kGuard = 0xa5;
constexpr size_t kGuardBytes = 256;

size_t round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

}  // namespace

const char *to_string(Placement placement) {
    switch (placement) {
    case Placement::kGuardBytes:
        return "guard bytes";
    case Placement::kPageAfter:
        return "page after";
    case Placement::kPageBefore:
        return "page before";
    }
    return "?";
}

GuardedBuffer::GuardedBuffer(size_t bytes, size_t alignment, Placement placement)
    : bytes_(bytes) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Room for the guards or, with a page after, for a start that is aligned although the end is not.
    usable_bytes_ = round_up(bytes + (placement == Placement::kGuardBytes ? 2 * kGuardBytes : alignment), page);
    mapped_ = usable_bytes_ + 2 * page;
    void *mapping = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) {
        std::perror("mmap of a test buffer");
        std::abort();
    }
    mapping_ = static_cast<unsigned char *>(mapping);
    usable_ = mapping_ + page;
    if (mprotect(usable_, usable_bytes_, PROT_READ | PROT_WRITE) != 0) {
        std::perror("mprotect of a test buffer");
        std::abort();
    }
    switch (placement) {
    case Placement::kGuardBytes:
        data_ = usable_ + kGuardBytes + (alignment < 64 ? alignment : 0);
        break;
    case Placement::kPageAfter:
        data_ = usable_ + usable_bytes_ - round_up(bytes, alignment);
        break;
    case Placement::kPageBefore:
        data_ = usable_;
        break;
    }
    std::memset(usable_, kGuard, usable_bytes_);
    std::memset(data_, 0xff, bytes_);
}

GuardedBuffer::~GuardedBuffer() {
    release();
}

GuardedBuffer::GuardedBuffer(GuardedBuffer &&other) noexcept {
    *this = std::move(other);
}

GuardedBuffer &GuardedBuffer::operator=(GuardedBuffer &&other) noexcept {
    if (this != &other) {
        release();
        mapping_ = std::exchange(other.mapping_, nullptr);
        mapped_ = std::exchange(other.mapped_, 0);
        usable_ = std::exchange(other.usable_, nullptr);
        usable_bytes_ = std::exchange(other.usable_bytes_, 0);
        data_ = std::exchange(other.data_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

void GuardedBuffer::release() {
    if (mapping_ != nullptr) {
        munmap(mapping_, mapped_);
    }
}

bool GuardedBuffer::intact() const {
    for (const unsigned char *p = usable_; p < usable_ + usable_bytes_; p++) {
        if (p == data_ && bytes_ > 0) {
            p += bytes_ - 1;
        } else if (*p != kGuard) {
            return false;
        }
    }
    return true;
}

Array::Array(std::array<int64_t, 4> sizes, Placement placement, bool region, Layout layout)
    : sizes_(sizes), nesting_(layout == Layout::kNchw ? std::array<int, 4>{0, 1, 2, 3} : std::array<int, 4>{0, 2, 3, 1}), region_(region) {
    // Around a region: elements of every dimension that do not belong to it, with strides of no round size.
    const auto [outer, second, third, last_one] = nesting_;
    strides_[last_one] = 1;
    strides_[third] = sizes[last_one] + (region ? 5 : 0);
    strides_[second] = strides_[third] * (sizes[third] + (region ? 3 : 0));
    strides_[outer] = strides_[second] * (sizes[second] + (region ? 1 : 0)) + (region ? 7 : 0);
    if (elements() == 0) {
        return;
    }
    int64_t before = region ? strides_[outer] + strides_[third] + 2 : 0;
    int64_t after = before;
    // The region itself, not what surrounds it, must touch the page without access.
    before = placement == Placement::kPageBefore ? 0 : before;
    after = placement == Placement::kPageAfter ? 0 : after;
    const int64_t last = (sizes[0] - 1) * strides_[0] + (sizes[1] - 1) * strides_[1] + (sizes[2] - 1) * strides_[2] + (sizes[3] - 1) * strides_[3];
    memory_ = GuardedBuffer(sizeof(float) * static_cast<size_t>(before + last + 1 + after), sizeof(float), placement);
    origin_ = reinterpret_cast<float *>(memory_.data()) + before;
}

ConstView Array::view() const {
    return region_ ? ConstView(origin_, strides_[0], strides_[1], strides_[2], strides_[3]) : ConstView(origin_);
}

MutableView Array::mutable_view() const {
    return region_ ? MutableView(origin_, strides_[0], strides_[1], strides_[2], strides_[3]) : MutableView(origin_);
}

reference::View Array::reference_view() const {
    return {origin_, {strides_[0], strides_[1], strides_[2], strides_[3]}};
}

std::vector<float> Array::values() const {
    std::vector<float> result;
    result.reserve(static_cast<size_t>(elements()));
    const_cast<Array *>(this)->for_each([&](float &x) { result.push_back(x); });
    return result;
}

void Array::assign(const std::vector<float> &values) {
    size_t i = 0;
    for_each([&](float &x) { x = values[i++]; });
}

bool Array::surroundings_intact() const {
    if (origin_ == nullptr) {
        return true;
    }
    if (!memory_.intact()) {
        return false;
    }
    if (!region_) {
        return true;
    }
    // What the elements leave must still be the 0xff bytes of the beginning.
    std::vector<unsigned char> copy(memory_.data(), memory_.data() + memory_.bytes());
    unsigned char *base = copy.data() + (reinterpret_cast<unsigned char *>(origin_) - memory_.data());
    for (int64_t a = 0; a < sizes_[0]; a++) {
        for (int64_t b = 0; b < sizes_[1]; b++) {
            for (int64_t c = 0; c < sizes_[2]; c++) {
                for (int64_t d = 0; d < sizes_[3]; d++) {
                    std::memset(base + sizeof(float) * (a * strides_[0] + b * strides_[1] + c * strides_[2] + d * strides_[3]), 0xff, sizeof(float));
                }
            }
        }
    }
    for (unsigned char byte : copy) {
        if (byte != 0xff) {
            return false;
        }
    }
    return true;
}

}  // namespace fourfold::test
