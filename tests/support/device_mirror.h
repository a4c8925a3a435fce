// Host memory of a test as a device has it: the same bytes between guards, and pointers into the one as pointers into the other.
#pragma once

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "fourfold/device.h"

namespace fourfold::test {

class DeviceMirror {
public:
    /// A copy of `bytes` bytes; of 0xff bytes where `host` is null.
    DeviceMirror(Device device, const void *host, size_t bytes)
        : device_(device), host_(static_cast<const unsigned char *>(host)), bytes_(bytes), image_(bytes + 2 * kMargin, kGuard) {
        if (host != nullptr) {
            std::memcpy(image_.data() + kMargin, host, bytes);
        } else {
            std::memset(image_.data() + kMargin, 0xff, bytes);
        }
        Result<DeviceBuffer> memory = DeviceBuffer::allocate(device, image_.size());
        if (!memory || !copy_to_device(device, memory->data(), image_.data(), image_.size()).ok()) {
            throw std::runtime_error("no memory of the device: " + memory.status().message());
        }
        memory_ = std::move(*memory);
    }

    unsigned char *data() const {
        return static_cast<unsigned char *>(memory_.data()) + kMargin;
    }
    MemoryBlock block() const {
        return bytes_ == 0 ? MemoryBlock{} : MemoryBlock{data(), bytes_};
    }
    /// The device's address of what `pointer` points to in the host's memory.
    template<typename T>
    T *at(T *pointer) const {
        return pointer == nullptr ? nullptr : reinterpret_cast<T *>(data() + (reinterpret_cast<const unsigned char *>(pointer) - host_));
    }
    template<typename View>
    View at(View view) const {
        view.data = at(view.data);
        return view;
    }
    /// Reads the device's memory. False where a guard was overwritten.
    bool fetch() {
        if (!copy_to_host(device_, image_.data(), memory_.data(), image_.size()).ok()) {
            throw std::runtime_error("the device's memory cannot be read");
        }
        for (size_t i = 0; i < kMargin; i++) {
            if (image_[i] != kGuard || image_[kMargin + bytes_ + i] != kGuard) {
                return false;
            }
        }
        return true;
    }
    /// What the last fetch() read.
    const unsigned char *fetched() const {
        return image_.data() + kMargin;
    }

private:
    static constexpr size_t kMargin = 1024;
    static constexpr unsigned char kGuard = 0xa5;

    Device device_;
    const unsigned char *host_;
    size_t bytes_;
    std::vector<unsigned char> image_;
    DeviceBuffer memory_;
};

}  // namespace fourfold::test
