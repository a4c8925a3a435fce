// See standin_driver.h. The signatures are those that the library loads, so that the two cannot differ.
#include "device/standin_driver.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <set>
#include <sstream>

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
    size_t shared_bytes = 48 << 10;
    bool unloaded = false;
};
struct Module {
    std::map<std::string, std::unique_ptr<Kernel>> kernels;
};

std::vector<int> capabilities() {
    const char *text = std::getenv("FOURFOLD_STANDIN_GPUS");
    std::istringstream list(text != nullptr ? text : "90");
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
const std::vector<int> &gpus = *new std::vector<int>(capabilities());
std::set<const void *> &modules = *new std::set<const void *>, &unloaded_modules = *new std::set<const void *>;
thread_local std::vector<cuda::Context> contexts;

const struct Reporter {
    ~Reporter() {
        if (const char *report = std::getenv("FOURFOLD_STANDIN_REPORT"); report != nullptr && std::strcmp(report, "1") == 0) {
            std::printf("%s\n", state.report().c_str());
        }
    }
} reporter;

/// Records a call that needs a context; what it must return if not success.
int enter(DriverCall call) {
    call.thread = std::this_thread::get_id();
    const auto failure = state.failures.find(call.name), next = state.next_failures.find(call.name);
    int result = contexts.empty() ? kInvalidContext : cuda::kSuccess;
    if (next != state.next_failures.end()) {
        result = next->second;
        state.next_failures.erase(next);
    } else if (failure != state.failures.end()) {
        result = failure->second;
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
    std::lock_guard<std::mutex> lock(state.mutex);
    state.retained++;
    *context = reinterpret_cast<Context>(static_cast<intptr_t>(device + 1));
    return kSuccess;
}
int cuCtxPushCurrent_v2(Context context) {
    std::lock_guard<std::mutex> lock(state.mutex);
    contexts.push_back(context);
    state.pushed++;
    return kSuccess;
}
int cuCtxPopCurrent_v2(Context *context) {
    std::lock_guard<std::mutex> lock(state.mutex);
    if (contexts.empty()) {
        return kInvalidContext;
    }
    *context = contexts.back();
    contexts.pop_back();
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
    state.loading++;
    state.changed.notify_all();
    state.changed.wait(lock, [] { return !state.slow_loads; });
    state.loading--;
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
    for (size_t i = 0; i < kernel->pointers.size(); i++) {
        if (kernel->pointers[i] && !state.on_device(*static_cast<const uint64_t *>(arguments[i]), 1)) {
            return kIllegalAddress;
        }
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
    void *memory = bytes <= memory_bytes() - state.allocated ? std::aligned_alloc(256, (bytes + 255) / 256 * 256) : nullptr;
    if (memory == nullptr) {
        return kOutOfMemory;
    }
    state.allocations[reinterpret_cast<uintptr_t>(memory)] = bytes;
    state.allocated += bytes;
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
    state.allocated -= found->second;
    state.allocations.erase(found);
    std::free(reinterpret_cast<void *>(data));
    return kSuccess;
}
int cuMemcpyHtoDAsync_v2(DevicePointer to, const void *from, size_t bytes, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemcpyHtoDAsync";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (!state.on_device(to, bytes)) {
        return kInvalidValue;
    }
    std::memcpy(reinterpret_cast<void *>(to), from, bytes);
    return kSuccess;
}
int cuMemcpyDtoHAsync_v2(void *to, DevicePointer from, size_t bytes, Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuMemcpyDtoHAsync";
    call.stream = stream;
    if (const int error = enter(call); error != kSuccess) {
        return error;
    }
    if (!state.on_device(from, bytes)) {
        return kInvalidValue;
    }
    std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
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
    std::memset(reinterpret_cast<void *>(to), value, bytes);
    return kSuccess;
}
int cuStreamSynchronize(Stream stream) {
    std::lock_guard<std::mutex> lock(state.mutex);
    DriverCall call;
    call.name = "cuStreamSynchronize";
    call.stream = stream;
    return enter(call);
}

}  // namespace fourfold::cuda
}  // extern "C"
