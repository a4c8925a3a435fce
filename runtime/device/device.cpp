// The public side of devices, and the list of runtimes.
#include "fourfold/device.h"

#include <atomic>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>
#include <utility>

#include "checks.h"
#include "device/runtime.h"

namespace fourfold {

#if !FOURFOLD_HAVE_CUDA
int cuda_device_count() {
    return 0;
}
Result<FoundDevice> find_cuda_device(int) {
    return Status(StatusCode::kUnsupported, "device 'cuda' is not in this build: it was configured with FOURFOLD_CUDA=OFF");
}
Result<DeviceRuntime *> make_cuda_runtime(const FoundDevice &) {
    return find_cuda_device(0).status();
}
#endif
#if !FOURFOLD_HAVE_OPENCL
int opencl_device_count() {
    return 0;
}
Result<FoundDevice> find_opencl_device(int) {
    return Status(StatusCode::kUnsupported, "device 'opencl' is not in this build: it was configured with FOURFOLD_OPENCL=OFF, or without OpenCL's headers");
}
Result<DeviceRuntime *> make_opencl_runtime(const FoundDevice &) {
    return find_opencl_device(0).status();
}
#endif

bool fail(KernelContext &context, const std::string &message) {
    if (context.text[0] == '\0') {
        std::snprintf(context.text, sizeof context.text, "%s", message.c_str());
    }
    return false;
}

bool fail(KernelContext &context, const Status &status) {
    context.exhausted = context.exhausted || (context.text[0] == '\0' && status.code() == StatusCode::kResourceExhausted);
    return fail(context, status.message());
}

Status device_error(Device device, StatusCode code, const std::string &text) {
    return Status(code, "device '" + to_string(device) + "': " + text);
}

Status own_stream(Device device, const void *stream) {
    return stream == nullptr || device.kind != Device::kOpenCl ? Status() : device_error(device, StatusCode::kInvalidArgument, "stream is not null; its work goes into a queue of its own");
}

Result<FoundDevice> find_device(Device device) {
    if (device.kind == Device::kCpu) {
        return bad("device 'cpu' has no memory of its own");
    }
    if (device.ordinal < 0) {
        return device_error(device, StatusCode::kInvalidArgument, "the ordinal is negative");
    }
    return device.kind == Device::kCuda ? find_cuda_device(device.ordinal) : find_opencl_device(device.ordinal);
}

namespace {

/// A device's runtime.
struct Slot {
    std::mutex making;  ///< held while it is made
    std::atomic<DeviceRuntime *> runtime{nullptr};
};
/// Runtimes outlive every plan and buffer, those in static variables too.
struct Runtimes {
    std::mutex mutex;  ///< of the map; not held while anything is made
    std::map<std::pair<int, int>, Slot> slots;
};
Runtimes &runtimes() {
    static Runtimes &all = *new Runtimes;
    return all;
}

/// When the process ends, before the drivers, which were initialised earlier, end their own work.
void unload_at_exit() {
    std::lock_guard<std::mutex> lock(runtimes().mutex);
    for (auto &[key, slot] : runtimes().slots) {
        if (DeviceRuntime *const runtime = slot.runtime) {
            runtime->unload_idle_modules();
        }
    }
}

Result<DeviceRuntime *> make_runtime(Device device) {
    const Result<FoundDevice> found = find_device(device);
    if (!found) {
        return found.status();
    }
    Result<DeviceRuntime *> made = device.kind == Device::kCuda ? make_cuda_runtime(*found) : make_opencl_runtime(*found);
    if (made) {
        static const int registered = std::atexit(unload_at_exit);
        static_cast<void>(registered);  // without, the system frees the modules
    }
    return made;
}

}  // namespace

Result<DeviceRuntime *> device_runtime(Device device) {
    const auto slot_of = [&]() -> Slot & {
        std::lock_guard<std::mutex> lock(runtimes().mutex);
        return runtimes().slots[{device.kind, device.ordinal}];
    };
    Slot &slot = slot_of();
    if (DeviceRuntime *const made = slot.runtime) {
        return made;
    }
    std::lock_guard<std::mutex> lock(slot.making);
    if (slot.runtime == nullptr) {
        const Result<DeviceRuntime *> made = make_runtime(device);
        if (!made) {
            return made;
        }
        slot.runtime = *made;
    }
    return slot.runtime.load();
}

std::string to_string(const Device &device) {
    const std::string kind = device.kind == Device::kCuda ? "cuda" : device.kind == Device::kOpenCl ? "opencl" : "cpu";
    return device.ordinal == 0 ? kind : kind + ":" + std::to_string(device.ordinal);
}

Result<Device> parse_device(std::string_view name) {
    const size_t colon = name.find(':');
    const std::string_view kind = name.substr(0, colon);
    for (const Device::Kind k : {Device::kCpu, Device::kCuda, Device::kOpenCl}) {
        if (kind != to_string(Device(k))) {
            continue;
        }
        int ordinal = 0;
        if (colon != std::string_view::npos) {
            const std::string_view number = name.substr(colon + 1);
            const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), ordinal);
            if (error != std::errc() || end != number.data() + number.size() || ordinal < 0 || k == Device::kCpu) {
                return bad("device '" + std::string(name) + "': the part after the colon must be the number of a GPU, from 0");
            }
        }
        return Device(k, ordinal);
    }
    return bad("device '" + std::string(name) + "' does not exist; there are cpu, cuda, opencl, and cuda:1 for the second GPU");
}

Result<DeviceInfo> device_info(Device device) {
    const Result<FoundDevice> found = find_device(device);
    if (!found) {
        return found.status();
    }
    return found->info;
}

std::vector<DeviceInfo> devices() {
    std::vector<DeviceInfo> list;
    for (const auto &[kind, count] : {std::pair<Device::Kind, int>{Device::kCuda, cuda_device_count()}, {Device::kOpenCl, opencl_device_count()}}) {
        for (int i = 0; i < count; i++) {
            if (const Result<DeviceInfo> info = device_info(Device(kind, i))) {
                list.push_back(*info);
            }
        }
    }
    return list;
}

Result<DeviceBuffer> DeviceBuffer::allocate(Device device, size_t bytes) {
    const Result<DeviceRuntime *> runtime = device_runtime(device);
    if (!runtime) {
        return runtime.status();
    }
    DeviceBuffer buffer;
    buffer.device_ = device;
    if (bytes > 0) {
        const Result<void *> data = (*runtime)->allocate(bytes);
        if (!data) {
            return data.status();
        }
        buffer.data_ = *data;
        buffer.bytes_ = bytes;
    }
    return buffer;
}

DeviceBuffer::~DeviceBuffer() {
    if (data_ != nullptr) {
        (*device_runtime(device_))->free(data_);
    }
}

DeviceBuffer::DeviceBuffer(DeviceBuffer &&other) noexcept
    : device_(other.device_), data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {
}

DeviceBuffer &DeviceBuffer::operator=(DeviceBuffer &&other) noexcept {
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

Status copy_to_device(Device device, void *to, const void *from, size_t bytes, void *stream) {
    const Result<DeviceRuntime *> runtime = device_runtime(device);
    if (!runtime) {
        return runtime.status();
    }
    if (bytes > 0 && (to == nullptr || from == nullptr)) {
        return device_error(device, StatusCode::kInvalidArgument, "copy_to_device: a pointer is null");
    }
    if (Status status = own_stream(device, stream); !status.ok()) {
        return status;
    }
    // Pinned memory is read later than the call returns.
    Status status = (*runtime)->copy_to_device(to, from, bytes, stream);
    return status.ok() ? (*runtime)->synchronize(stream) : status;
}

Status copy_to_host(Device device, void *to, const void *from, size_t bytes, void *stream) {
    const Result<DeviceRuntime *> runtime = device_runtime(device);
    if (!runtime) {
        return runtime.status();
    }
    if (bytes > 0 && (to == nullptr || from == nullptr)) {
        return device_error(device, StatusCode::kInvalidArgument, "copy_to_host: a pointer is null");
    }
    Status status = own_stream(device, stream);
    return status.ok() ? (*runtime)->copy_to_host(to, from, bytes, stream) : status;
}

Status synchronize(Device device, void *stream) {
    const Result<DeviceRuntime *> runtime = device_runtime(device);
    Status status = runtime ? own_stream(device, stream) : runtime.status();
    return status.ok() ? (*runtime)->synchronize(stream) : status;
}

}  // namespace fourfold
