/// @file
/// Devices: where a Plan computes, the memory it computes on, and how data gets there and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fourfold/status.h"
#include "fourfold/tensor.h"

namespace fourfold {

/// The CPU, or the ordinal-th GPU of its kind.
struct Device {
    /// What drives it.
    enum Kind {
        kCpu,     ///< the processor
        kCuda,    ///< NVIDIA's driver
        kOpenCl,  ///< an OpenCL platform
    };

    Kind kind = kCpu;  ///< what drives it
    int ordinal = 0;  ///< which of its kind, from 0

    /// The CPU.
    constexpr Device() = default;
    /// Of a kind, the n-th.
    constexpr Device(Kind k, int n = 0)  // NOLINT: implicit by design
        : kind(k), ordinal(n) {
    }
    /// The processor.
    static constexpr Device cpu() {
        return Device(kCpu);
    }
    /// The ordinal is CUDA's, as CUDA_VISIBLE_DEVICES numbers the devices.
    static constexpr Device cuda(int ordinal = 0) {
        return Device(kCuda, ordinal);
    }
    /// The ordinal counts the devices with shared virtual memory of all platforms, GPUs first.
    static constexpr Device opencl(int ordinal = 0) {
        return Device(kOpenCl, ordinal);
    }
    /// The same device.
    friend constexpr bool operator==(const Device &a, const Device &b) {
        return a.kind == b.kind && a.ordinal == b.ordinal;
    }
    /// Another device.
    friend constexpr bool operator!=(const Device &a, const Device &b) {
        return !(a == b);
    }
};

/// "cpu", "cuda", "cuda:1", "opencl", ...
std::string to_string(const Device &device);
/// The same back; "cuda" is "cuda:0".
Result<Device> parse_device(std::string_view name);

/// What a device says of itself.
struct DeviceInfo {
    Device device;  ///< what Device names it
    std::string name;      ///< "NVIDIA H100 80GB HBM3"
    std::string driver;    ///< "CUDA 13.0", "OpenCL 3.0 PoCL ..."
    size_t memory_bytes = 0;  ///< of the device's own memory
    int compute_units = 0;  ///< multiprocessors
    int capability = 0;    ///< CUDA's compute capability, 90 for 9.0; 0 on OpenCL
};

/// The device, or why it cannot be used: kUnsupported where this build, the driver or the device is missing.
Result<DeviceInfo> device_info(Device device);
/// All GPUs that this build can use now; empty where there is none.
std::vector<DeviceInfo> devices();

/// Owns memory of a device. Its addresses are the device's: pointer arithmetic is allowed, reading through them on the CPU is not.
/// On CUDA data() is a CUdeviceptr of the device's primary context, which the CUDA runtime and PyTorch share; on OpenCL a
/// shared virtual memory pointer of fourfold's own context. On CUDA memory of your own serves a plan as well. What a plan that still runs
/// reads or writes must live until its stream is done, the plan included.
class DeviceBuffer {
public:
    /// Empty.
    DeviceBuffer() = default;
    /// Errors: kUnsupported (no such device), kResourceExhausted (no memory, with the number of bytes).
    static Result<DeviceBuffer> allocate(Device device, size_t bytes);
    ~DeviceBuffer();
    /// Leaves the other empty.
    DeviceBuffer(DeviceBuffer &&other) noexcept;
    /// The two exchange what they own.
    DeviceBuffer &operator=(DeviceBuffer &&other) noexcept;
    DeviceBuffer(const DeviceBuffer &) = delete;
    DeviceBuffer &operator=(const DeviceBuffer &) = delete;

    /// The device's address; null when empty.
    void *data() const {
        return data_;
    }
    /// The same for float32.
    float *floats() const {
        return static_cast<float *>(data_);
    }
    /// As allocated.
    size_t bytes() const {
        return bytes_;
    }
    /// Whose memory it is.
    Device device() const {
        return device_;
    }
    /// As pack_filters and execute take a block.
    operator MemoryBlock() const {  // NOLINT: implicit by design
        return {data_, bytes_};
    }
    /// As Filters take a block.
    operator ConstMemoryBlock() const {  // NOLINT: implicit by design
        return {data_, bytes_};
    }

private:
    Device device_;
    void *data_ = nullptr;
    size_t bytes_ = 0;
};

/// Copies from the host to a device, in the order of the stream (see ExecutionContext::stream), and returns after the copy.
Status copy_to_device(Device device, void *to, const void *from, size_t bytes, void *stream = nullptr);
/// The other way.
Status copy_to_host(Device device, void *to, const void *from, size_t bytes, void *stream = nullptr);
/// Waits for all that was put into the stream, and reports what failed there.
Status synchronize(Device device, void *stream = nullptr);

}  // namespace fourfold
