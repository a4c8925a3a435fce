// See standin_driver.h. The signatures are those that the library loads, so that the two cannot differ.
#include "device/standin_driver.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <utility>

#include "device/cuda_driver.h"

using fourfold::test::DriverCall;
using fourfold::test::StandIn;

extern "C" {
#define FOURFOLD_DECLARE(name, result, arguments) __attribute__((visibility("default"))) result name arguments;
namespace fourfold::cuda {
FOURFOLD_CUDA_FUNCTIONS(FOURFOLD_DECLARE)
}
#undef FOURFOLD_DECLARE
}

namespace {

namespace cuda = fourfold::cuda;

// CUresult
constexpr int kInvalidValue = 1, kInvalidDevice = 101, kInvalidPtx = 218, kInvalidContext = 201, kInvalidHandle = 400, kNotFound = 500, kIllegalAddress = 700;

struct Kernel {
    std::string name;
    std::vector<bool> pointers;  ///< of its parameters: whether it is an address
    size_t shared_bytes = 0;  ///< that a launch may have
    bool unloaded = false;
};
struct Module {
    std::map<std::string, std::unique_ptr<Kernel>> kernels;
};

/// A number for each GPU.
std::vector<int> numbers(const char *variable, const char *otherwise) {
    const char *text = std::getenv(variable);
    std::istringstream list(text != nullptr ? text : otherwise);
    std::vector<int> found;
    for (std::string one; std::getline(list, one, ',');) {
        found.push_back(std::atoi(one.c_str()));
    }
    return found;
}

size_t memory_bytes() {
    const char *text = std::getenv("FOURFOLD_STANDIN_MEMORY");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : size_t{1} << 30;
}

// Never destroyed: buffers in static variables are freed late.
StandIn &state = *new StandIn;
const std::vector<int> &gpus = *new std::vector<int>(numbers("FOURFOLD_STANDIN_GPUS", "90"));
const std::vector<int> &shared_bytes = *new std::vector<int>(numbers("FOURFOLD_STANDIN_SHARED", ""));
int shared_bytes_of(size_t device) {
    return device < shared_bytes.size() ? shared_bytes[device] : 48 << 10;
}
std::set<const void *> &modules = *new std::set<const void *>, &unloaded_modules = *new std::set<const void *>;
// With no destructor: what is unloaded when the process ends comes after the thread's own objects.
thread_local std::array<cuda::Context, 64> contexts;
thread_local size_t context_count = 0;

const struct Reporter {
    ~Reporter() {
        if (const char *report = std::getenv("FOURFOLD_STANDIN_REPORT"); report != nullptr && std::strcmp(report, "1") == 0) {
            std::printf("%s\n", state.report().c_str());
        }
    }
} reporter;

/// What is put into a stream and waits there until somebody waits for it.
struct Pending {
    std::function<void()> run;  ///< a copy; or, empty,
    long happens = 0;           ///< the recording of an event that happens here; or
    long waits_for = 0;         ///< one that is waited for here
};
std::map<const void *, std::deque<Pending>> &streams = *new std::map<const void *, std::deque<Pending>>;
/// Recordings of events are numbered; those that did not happen yet, with their streams.
std::map<long, const void *> &recorded = *new std::map<long, const void *>;
/// Of each event the last recording, 0 for none.
std::map<const void *, long> &events = *new std::map<const void *, long>;
long recordings = 0;

/// With the mutex held: a stream's work, until a recording happened, or all.
void drain(const void *stream, long until = 0) {
    std::deque<Pending> &queue = streams[stream];
    while (!queue.empty() && (until == 0 || recorded.count(until) == 1)) {
        const Pending next = std::move(queue.front());
        queue.pop_front();
        if (next.run) {
            next.run();
        }
        if (const auto waited = recorded.find(next.waits_for); waited != recorded.end()) {
            drain(waited->second, next.waits_for);
        }
        recorded.erase(next.happens);
    }
}
/// Puts work into a stream.
void put(const void *stream, Pending work) {
    std::deque<Pending> &queue = streams[stream];
    queue.push_back(std::move(work));
    while (state.eager && state.eager(stream) && !queue.empty() && recorded.count(queue.front().waits_for) == 0) {
        const Pending next = std::move(queue.front());
        queue.pop_front();
        if (next.run) {
            next.run();
        }
        recorded.erase(next.happens);
    }
}
void drain_all() {
    for (auto &[stream, queue] : streams) {
        drain(stream);
    }
}

/// What is at an address of the device.
void *content(cuda::DevicePointer data) {
    return state.content(reinterpret_cast<unsigned char *>(data));
}

/// Records a call that needs a context; what it must return if not success.
int enter(DriverCall call) {
    call.thread = std::this_thread::get_id();
    const auto failure = state.failures.find(call.name), next = state.next_failures.find(call.name);
    int result = context_count == 0 ? kInvalidContext : cuda::kSuccess;
    if (next != state.next_failures.end()) {
        result = next->second;
        state.next_failures.erase(next);
    } else if (failure != state.failures.end()) {
        result = failure->second;
    }
    if (!state.has_stream(call.stream, call.name)) {
        result = kInvalidHandle;
    }
    state.calls.push_back(std::move(call));
    return result;
}

/// Entries and the kinds of their parameters, from PTX as LLVM writes it.
bool parse(const char *ptx, Module &module, std::string &target) {
    std::istringstream lines(ptx);
    Kernel *kernel = nullptr;
    for (std::string line; std::getline(lines, line);) {
        if (line.rfind(".target ", 0) == 0) {
            target = line.substr(8);
        } else if (const size_t entry = line.find(".entry "); entry != std::string::npos && line[0] == '.') {
            const std::string name = line.substr(entry + 7, line.find('(') - entry - 7);
            auto made = std::make_unique<Kernel>();
            made->name = name;
            kernel = (module.kernels[name] = std::move(made)).get();
        } else if (line == "{") {
            kernel = nullptr;
        } else if (kernel != nullptr && line.find(".param ") != std::string::npos) {
            kernel->pointers.push_back(line.find(".ptr") != std::string::npos);
        }
    }
    return !target.empty() && !module.kernels.empty();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) StandIn *fourfold_standin() {
    return &state;
}

extern "C" {
namespace fourfold::cuda {

int cuInit(unsigned) {
    std::lock_guard<std::mutex> lock(state.mutex);
    if (const auto next = state.next_failures.find("cuInit"); next != state.next_failures.end()) {
        const int error = next->second;
        state.next_failures.erase(next);
        return error;
    }
    return gpus.empty() ? kNoDevice : kSuccess;
}
int cuDriverGetVersion(int *version) {
    *version = 13000;
    return kSuccess;
}
int cuGetErrorName(int error, const char **name) {
    static const std::map<int, const char *> names = {{kInvalidValue, "CUDA_ERROR_INVALID_VALUE"}, {kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"}, {kNoDevice, "CUDA_ERROR_NO_DEVICE"}, {kInvalidDevice, "CUDA_ERROR_INVALID_DEVICE"}, {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"}, {kInvalidPtx, "CUDA_ERROR_INVALID_PTX"}, {kNotFound, "CUDA_ERROR_NOT_FOUND"}, {kIllegalAddress, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
    const auto found = names.find(error);
    *name = found != names.end() ? found->second : nullptr;
    return found != names.end() ? kSuccess : kInvalidValue;
}
int cuDeviceGetCount(int *count) {
    *count = static_cast<int>(gpus.size());
    return kSuccess;
}
int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < static_cast<int>(gpus.size()) ? kSuccess : kInvalidDevice;
}
int cuDeviceGetName(char *name, int bytes, int device) {
    std::snprintf(name, static_cast<size_t>(bytes), "Stand-in %d", device);
    return kSuccess;
}
int cuDeviceTotalMem_v2(size_t *bytes, int) {
    *bytes = memory_bytes();
    return kSuccess;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const int capability = gpus[static_cast<size_t>(device)];
    switch (attribute) {
    case kSharedBytesOfBlock:
        *value = shared_bytes_of(static_cast<size_t>(device));
        return kSuccess;
    case kMultiprocessorCount:
        *value = 132;
        return kSuccess;
    case kCapabilityMajor:
        *value = capability / 10;
        return kSuccess;
    case kCapabilityMinor:
        *value = capability % 10;
        return kSuccess;
    default:
        return kInvalidValue;
    }
}
int cuDevicePrimaryCtxRetain(Context *context, int device) {
    std::unique_lock<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuDevicePrimaryCtxRetain";
    if (const int error = enter(call); error != kSuccess && error != kInvalidContext) {  // it needs none
        return error;
    }
    state.wait_while_slow(lock);
    state.retained++;
    *context = reinterpret_cast<Context>(static_cast<intptr_t>(device + 1));
    return kSuccess;
}
int cuCtxPushCurrent_v2(Context context) {
    std::lock_guard<std::mutex> lock(state.mutex);
    if (context_count == contexts.size()) {
        return kInvalidContext;
    }
    contexts[context_count++] = context;
    state.pushed++;
    return kSuccess;
}
int cuCtxPopCurrent_v2(Context *context) {
    std::lock_guard<std::mutex> lock(state.mutex);
    if (context_count == 0) {
        return kInvalidContext;
    }
    *context = contexts[--context_count];
    state.popped++;
    return kSuccess;
}
int cuModuleLoadDataEx(cuda::Module *result, const void *image, unsigned options, int *, void **) {
    std::unique_lock<std::mutex> lock(state.mutex);
    auto module = std::make_unique<::Module>();
    DriverCall call;
    call.name = "cuModuleLoadDataEx";
    call.options = options;
    call.image = image;
    const bool valid = parse(static_cast<const char *>(image), *module, call.target);
    const int error = enter(call);
    if (error != kSuccess || !valid) {
        return error != kSuccess ? error : kInvalidPtx;
    }
    for (const auto &[name, kernel] : module->kernels) {
        kernel->shared_bytes = static_cast<size_t>(shared_bytes_of(reinterpret_cast<uintptr_t>(contexts[context_count - 1]) - 1));
    }
    state.wait_while_slow(lock);
    state.loaded++;
    *result = reinterpret_cast<cuda::Module>(module.get());
    modules.insert(module.release());
    return kSuccess;
}
int cuModuleUnload(cuda::Module handle) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuModuleUnload";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (modules.erase(handle) == 0) {
        return kInvalidValue;
    }
    // Its kernels stay in memory, so that a launch of one is seen and refused.
    for (const auto &[name, kernel] : reinterpret_cast<::Module *>(handle)->kernels) {
        kernel->unloaded = true;
    }
    unloaded_modules.insert(handle);
    state.unloaded++;
    return kSuccess;
}
int cuModuleGetFunction(Function *function, cuda::Module handle, const char *name) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuModuleGetFunction";
    call.entry = name;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (modules.count(handle) == 0) {
        return kInvalidValue;
    }
    auto *module = reinterpret_cast<::Module *>(handle);
    const auto found = module->kernels.find(name);
    if (found == module->kernels.end()) {
        return kNotFound;
    }
    *function = reinterpret_cast<Function>(found->second.get());
    return kSuccess;
}
int cuFuncSetAttribute(Function function, int attribute, int value) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuFuncSetAttribute";
    const int error = enter(call);
    if (error == kSuccess && attribute == kMaxDynamicSharedBytes) {
        reinterpret_cast<Kernel *>(function)->shared_bytes = static_cast<size_t>(value);
    }
    return error;
}
int cuLaunchKernel(Function function, unsigned bx, unsigned by, unsigned bz, unsigned tx, unsigned ty, unsigned tz, unsigned shared, Stream stream, void **arguments, void **) {
    std::lock_guard<std::mutex> lock(state.mutex);
    const auto *kernel = reinterpret_cast<const Kernel *>(function);
    DriverCall call;
    call.name = "cuLaunchKernel";
    call.entry = kernel->name;
    call.stream = stream;
    const unsigned blocks[3] = {bx, by, bz}, threads[3] = {tx, ty, tz};
    std::memcpy(call.blocks, blocks, sizeof blocks);
    std::memcpy(call.threads, threads, sizeof threads);
    call.bytes = shared;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (kernel->unloaded) {
        return kInvalidHandle;
    }
    // CUDA's limits of a launch.
    if (bx == 0 || by == 0 || bz == 0 || bx > 0x7fffffffu || by > 65535 || bz > 65535 || tx * ty * tz == 0 || tx * ty * tz > 1024 || tz > 64 || shared > kernel->shared_bytes) {
        return kInvalidValue;
    }
    std::vector<uintptr_t> addresses;
    for (size_t i = 0; i < kernel->pointers.size(); i++) {
        if (kernel->pointers[i]) {
            addresses.push_back(*static_cast<const uint64_t *>(arguments[i]));
            if (!state.on_device(addresses.back(), 1)) {
                return kIllegalAddress;
            }
        }
    }
    if (state.launched) {
        put(stream, {[addresses, what = state.launched] { what(addresses); }});
    }
    return kSuccess;
}
int cuMemAlloc_v2(DevicePointer *data, size_t bytes) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemAlloc";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (bytes == 0) {
        return kInvalidValue;
    }
    if (bytes > memory_bytes() - state.allocated) {
        return kOutOfMemory;
    }
    // The same pages twice: at the device's address without access, and where the driver has them.
    const int file = memfd_create("device", 0);
    const bool made = file >= 0 && ftruncate(file, static_cast<off_t>(bytes)) == 0;
    void *const memory = made ? mmap(nullptr, bytes, PROT_NONE, MAP_SHARED, file, 0) : MAP_FAILED;
    void *const content = made ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) : MAP_FAILED;
    close(file);
    if (memory == MAP_FAILED || content == MAP_FAILED) {
        return kOutOfMemory;
    }
    state.allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
    state.contents[reinterpret_cast<uintptr_t>(memory)] = static_cast<unsigned char *>(content);
    state.allocated += bytes;
    state.most_allocated = std::max(state.most_allocated, state.allocated);
    *data = reinterpret_cast<uintptr_t>(memory);
    return kSuccess;
}
int cuMemFree_v2(DevicePointer data) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemFree";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    const auto found = state.allocations.find(data);
    if (found == state.allocations.end()) {
        return kInvalidValue;
    }
    drain_all();
    state.allocated -= found->second;
    munmap(state.contents.at(data), found->second);
    munmap(reinterpret_cast<void *>(data), found->second);
    state.contents.erase(data);
    state.allocations.erase(found);
    return kSuccess;
}
int cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemcpyHtoDAsync";
    call.stream = stream;
    call.host = from;
    call.bytes = bytes;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (!state.on_device(to, bytes)) {
        return kInvalidValue;
    }
    // Other memory is read before the call returns.
    if (state.is_pinned(reinterpret_cast<uintptr_t>(from), bytes)) {
        put(stream, {[=] {
                std::memcpy(content(to), from, bytes);
                state.copied.push_back(call);
            }});
    } else {
        const auto *begin = static_cast<const unsigned char *>(from);
        put(stream, {[to, call, read = std::vector<unsigned char>(begin, begin + bytes)] {
                std::memcpy(content(to), read.data(), read.size());
                state.copied.push_back(call);
            }});
    }
    return kSuccess;
}
int cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemcpyDtoHAsync";
    call.stream = stream;
    call.host = to;
    call.bytes = bytes;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (!state.on_device(from, bytes)) {
        return kInvalidValue;
    }
    put(stream, {[=] {
            std::memcpy(to, content(from), bytes);
            state.copied.push_back(call);
        }});
    if (!state.is_pinned(reinterpret_cast<uintptr_t>(to), bytes)) {
        drain(stream);
    }
    return kSuccess;
}
int cuMemsetD8Async(DevicePointer to, unsigned char value, size_t bytes, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemsetD8Async";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (!state.on_device(to, bytes)) {
        return kInvalidValue;
    }
    put(stream, {[=] { std::memset(content(to), value, bytes); }});
    return kSuccess;
}
int cuMemGetInfo_v2(size_t *free, size_t *total) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemGetInfo";
    *total = memory_bytes();
    *free = memory_bytes() - state.allocated;
    return enter(call);
}
int cuMemAllocHost_v2(void **data, size_t bytes) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemAllocHost";
    call.bytes = bytes;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    *data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    state.pinned[reinterpret_cast<uintptr_t>(*data)] = bytes;
    state.pinned_by_driver += bytes;
    return *data != nullptr ? kSuccess : kOutOfMemory;
}
int cuMemFreeHost(void *data) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemFreeHost";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    const auto found = state.pinned.find(reinterpret_cast<uintptr_t>(data));
    if (found == state.pinned.end()) {
        return kInvalidValue;
    }
    drain_all();
    state.pinned_by_driver -= found->second;
    state.pinned.erase(found);
    std::free(data);
    return kSuccess;
}
int cuPointerGetAttribute(void *value, int attribute, DevicePointer data) {
    std::lock_guard<std::mutex> lock(state.mutex);
    if (attribute != kMemoryType || !state.is_pinned(data, 1)) {
        return kInvalidValue;
    }
    *static_cast<unsigned *>(value) = kMemoryOfHost;
    return kSuccess;
}
int cuStreamCreate(Stream *stream, unsigned) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuStreamCreate";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    // Never the same again, so that one that is gone is not taken for another.
    static uintptr_t last = 0;
    *stream = reinterpret_cast<Stream>(last += 64);
    state.streams.insert(*stream);
    return kSuccess;
}
int cuStreamDestroy_v2(Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuStreamDestroy";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    drain(stream);
    streams.erase(stream);
    state.streams.erase(stream);
    return kSuccess;
}
int cuEventCreate(Event *event, unsigned) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuEventCreate";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    *event = reinterpret_cast<Event>(new char);
    events[*event] = 0;
    return kSuccess;
}
int cuEventDestroy_v2(Event event) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuEventDestroy";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (events.erase(event) == 0) {
        return kInvalidHandle;
    }
    delete reinterpret_cast<char *>(event);
    return kSuccess;
}
int cuEventRecord(Event event, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuEventRecord";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    const long number = ++recordings;
    events.at(event) = number;
    recorded[number] = stream;
    put(stream, {{}, number});
    return kSuccess;
}
int cuStreamWaitEvent(Stream stream, Event event, unsigned) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuStreamWaitEvent";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    put(stream, {{}, 0, events.at(event)});
    return kSuccess;
}
int cuEventSynchronize(Event event) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuEventSynchronize";
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (const auto waited = recorded.find(events.at(event)); waited != recorded.end()) {
        drain(waited->second, waited->first);
    }
    return kSuccess;
}
int cuStreamSynchronize(Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuStreamSynchronize";
    call.stream = stream;
    const int error = enter(call);
    if (error == kSuccess) {
        drain(stream);
    }
    return error;
}

}  // namespace fourfold::cuda
}  // extern "C"
