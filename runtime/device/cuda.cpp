// The CUDA device: the driver alone, in the device's primary context, which the CUDA runtime and PyTorch share. PTX is compiled for
// the GPU at hand by the driver when a plan is made, without the limit of 64 registers that Halide's own runtime sets.
#include <HalideRuntime.h>

#include <atomic>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "device/cuda_driver.h"
#include "device/loaded_library.h"
#include "device/module_table.h"
#include "device/runtime.h"
#include "registry.h"

namespace fourfold {
namespace cuda {

const Driver &driver() {
    static const Driver loaded = [] {
        Driver d;
        LoadedLibrary loaded_library({"libcuda.so.1"}, "libcuda.so.1", "no NVIDIA driver is installed", ": the NVIDIA driver is too old");
#define FOURFOLD_FIND(name, result, arguments) loaded_library.find(#name, d.name);
        FOURFOLD_CUDA_FUNCTIONS(FOURFOLD_FIND)
#undef FOURFOLD_FIND
        d.missing = loaded_library.missing();
        return d;
    }();
    return loaded;
}

std::string error_name(int error) {
    const char *name = nullptr;
    return driver().cuGetErrorName(error, &name) == kSuccess && name != nullptr ? name : "error " + std::to_string(error);
}

}  // namespace cuda

namespace {

/// Why the driver cannot be used; empty when it can. One that refuses is asked again the next time.
std::string refusal() {
    static std::atomic<bool> initialised{false};
    const cuda::Driver &d = cuda::driver();
    if (!d.missing.empty() || initialised) {
        return d.missing;
    }
    if (const int error = d.cuInit(0); error != cuda::kSuccess) {
        return "the NVIDIA driver refuses: cuInit failed with " + cuda::error_name(error);
    }
    initialised = true;
    return std::string();
}

using cuda::Current;
using cuda::driver;

/// "cuMemAlloc failed with CUDA_ERROR_INVALID_VALUE"
std::string failure(const std::string &what, int error) {
    return what + " failed with " + cuda::error_name(error);
}

Status failed(Device device, const std::string &what, int error) {
    return device_error(device, error == cuda::kOutOfMemory ? StatusCode::kResourceExhausted : StatusCode::kInternal, failure(what, error));
}

cuda::DevicePointer address(const void *data) {
    return reinterpret_cast<cuda::DevicePointer>(data);
}

struct Kernel {
    cuda::Function function = nullptr;
    int shared_bytes = 48 << 10;  ///< that launches may ask for
};

struct Module {
    explicit Module(cuda::Context c)
        : context(c) {
    }
    ~Module() {
        if (module != nullptr) {
            const Current current(context);
            driver().cuModuleUnload(module);
        }
    }
    Module(const Module &) = delete;
    Module &operator=(const Module &) = delete;

    const cuda::Context context;
    cuda::Module module = nullptr;
    std::map<std::string, Kernel, std::less<>> kernels;
    std::mutex mutex;  ///< of shared_bytes
};

class CudaRuntime final : public DeviceRuntime {
public:
    CudaRuntime(const FoundDevice &found, cuda::Context context)
        : info_(found.info), target_(found.target), shared_bytes_(found.shared_bytes), context_(context) {
    }

    const DeviceInfo &info() const override {
        return info_;
    }
    const char *target() const override {
        return target_.c_str();
    }
    size_t shared_bytes() const override {
        return shared_bytes_;
    }
    void *native_context() const override {
        return context_;
    }

    Result<void *> allocate(size_t bytes) override {
        const Current current(context_);
        cuda::DevicePointer data = 0;
        const int error = driver().cuMemAlloc_v2(&data, bytes);
        if (error == cuda::kOutOfMemory) {
            return device_error(info_.device, StatusCode::kResourceExhausted, "there are no " + std::to_string(bytes) + " bytes of memory left");
        }
        if (error != cuda::kSuccess) {
            return failed(info_.device, "cuMemAlloc", error);
        }
        return reinterpret_cast<void *>(data);
    }
    void free(void *data) override {
        const Current current(context_);
        driver().cuMemFree_v2(address(data));
    }
    Status copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        return begin_copy_to_device(to, from, bytes, stream);
    }
    Status copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        const Status status = begin_copy_to_host(to, from, bytes, stream);
        return status.ok() ? synchronize(stream) : status;
    }
    Status zero(void *to, size_t bytes, void *stream) override {
        const Current current(context_);
        return done("cuMemsetD8Async", bytes == 0 ? cuda::kSuccess : driver().cuMemsetD8Async(address(to), 0, bytes, static_cast<cuda::Stream>(stream)));
    }
    Status synchronize(void *stream) override {
        const Current current(context_);
        return done("cuStreamSynchronize", driver().cuStreamSynchronize(static_cast<cuda::Stream>(stream)));
    }

    Status begin_copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        const Current current(context_);
        return done("cuMemcpyHtoDAsync", bytes == 0 ? cuda::kSuccess : driver().cuMemcpyHtoDAsync_v2(address(to), from, bytes, static_cast<cuda::Stream>(stream)));
    }
    Status begin_copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        const Current current(context_);
        return done("cuMemcpyDtoHAsync", bytes == 0 ? cuda::kSuccess : driver().cuMemcpyDtoHAsync_v2(to, address(from), bytes, static_cast<cuda::Stream>(stream)));
    }
    Result<void *> allocate_host(size_t bytes) override {
        const Current current(context_);
        void *data = nullptr;
        const Status status = done("cuMemAllocHost", driver().cuMemAllocHost_v2(&data, bytes));
        return status.ok() ? Result<void *>(data) : status;
    }
    void free_host(void *data) override {
        const Current current(context_);
        driver().cuMemFreeHost(data);
    }
    bool in_host_memory(const void *data, size_t bytes) const override {
        const Current current(context_);
        const auto pinned = [](const void *at) {
            unsigned type = 0;
            return driver().cuPointerGetAttribute(&type, cuda::kMemoryType, address(at)) == cuda::kSuccess && type == cuda::kMemoryOfHost;
        };
        return bytes > 0 && pinned(data) && pinned(static_cast<const char *>(data) + bytes - 1);
    }
    Result<void *> make_stream() override {
        const Current current(context_);
        cuda::Stream stream = nullptr;
        const Status status = done("cuStreamCreate", driver().cuStreamCreate(&stream, cuda::kNonBlockingStream));
        return status.ok() ? Result<void *>(stream) : status;
    }
    void free_stream(void *stream) override {
        const Current current(context_);
        driver().cuStreamDestroy_v2(static_cast<cuda::Stream>(stream));
    }
    Result<void *> make_event() override {
        const Current current(context_);
        cuda::Event event = nullptr;
        const Status status = done("cuEventCreate", driver().cuEventCreate(&event, cuda::kEventWithoutTiming));
        return status.ok() ? Result<void *>(event) : status;
    }
    void free_event(void *event) override {
        const Current current(context_);
        driver().cuEventDestroy_v2(static_cast<cuda::Event>(event));
    }
    Status record(void *event, void *stream) override {
        const Current current(context_);
        return done("cuEventRecord", driver().cuEventRecord(static_cast<cuda::Event>(event), static_cast<cuda::Stream>(stream)));
    }
    Status wait_in_stream(void *stream, void *event) override {
        const Current current(context_);
        return done("cuStreamWaitEvent", driver().cuStreamWaitEvent(static_cast<cuda::Stream>(stream), static_cast<cuda::Event>(event), 0));
    }
    Status wait(void *event) override {
        const Current current(context_);
        return done("cuEventSynchronize", driver().cuEventSynchronize(static_cast<cuda::Event>(event)));
    }
    size_t free_bytes() const override {
        const Current current(context_);
        size_t free = 0, total = 0;
        return driver().cuMemGetInfo_v2(&free, &total) == cuda::kSuccess ? free : 0;
    }

    bool compile(KernelContext &context, const char *source, size_t) override {
        return modules_.compile(context.modules, source, [&] { return load(context, source); });
    }

    bool launch(KernelContext &context, const Launch &launch) override {
        constexpr size_t kMost = 64;
        void *arguments[kMost];
        size_t count = 0;
        for (; launch.sizes[count] != 0; count++) {
            if (count == kMost) {
                return fail(context, std::string(launch.entry) + " has more than 64 arguments");
            }
            arguments[count] = launch.is_buffer[count] != 0 ? &static_cast<halide_buffer_t *>(launch.arguments[count])->device : launch.arguments[count];
        }
        cuda::Function function = nullptr;
        const Current current(context_);
        const std::shared_ptr<Module> module = modules_.find(launch.source);
        if (!find(context, launch, module.get(), function)) {
            return false;
        }
        const auto u = [](int v) { return static_cast<unsigned>(v); };
        const int error = driver().cuLaunchKernel(function, u(launch.blocks[0]), u(launch.blocks[1]), u(launch.blocks[2]), u(launch.threads[0]), u(launch.threads[1]), u(launch.threads[2]), u(launch.shared_bytes), static_cast<cuda::Stream>(context.stream), arguments, nullptr);
        return error == cuda::kSuccess || fail(context, failed(info_.device, std::string("cuLaunchKernel of ") + launch.entry, error));
    }

    void unload_idle_modules() override {
        modules_.unload_idle(0);
    }

private:
    Status done(const char *what, int error) const {
        return error == cuda::kSuccess ? Status() : failed(info_.device, what, error);
    }

    /// All kernels are looked up at once: the driver may load one only then, which is not for a launch to wait for.
    std::unique_ptr<Module> load(KernelContext &context, const char *source) const {
        auto made = std::make_unique<Module>(context_);
        const Current current(context_);
        if (const int error = driver().cuModuleLoadDataEx(&made->module, source, 0, nullptr, nullptr); error != cuda::kSuccess) {
            made->module = nullptr;
            fail(context, failed(info_.device, "cuModuleLoadDataEx", error));
            return nullptr;
        }
        const std::string_view ptx(source), entry(".entry ");
        for (size_t at = ptx.find(entry); at != std::string_view::npos; at = ptx.find(entry, at)) {
            at += entry.size();
            const std::string name(ptx.substr(at, ptx.find('(', at) - at));
            if (const int error = driver().cuModuleGetFunction(&made->kernels[name].function, made->module, name.c_str()); error != cuda::kSuccess) {
                fail(context, failed(info_.device, "loading " + name, error));
                return nullptr;
            }
        }
        return made;
    }

    bool find(KernelContext &context, const Launch &launch, Module *m, cuda::Function &function) const {
        if (m == nullptr) {
            return fail(context, std::string("the module of ") + launch.entry + " is not loaded");
        }
        const auto known = m->kernels.find(std::string_view(launch.entry));
        if (known == m->kernels.end()) {
            return fail(context, std::string("no kernel ") + launch.entry + " in its module");
        }
        function = known->second.function;
        if (launch.shared_bytes > 48 << 10) {
            std::lock_guard<std::mutex> lock(m->mutex);
            if (launch.shared_bytes > known->second.shared_bytes) {
                if (const int error = driver().cuFuncSetAttribute(function, cuda::kMaxDynamicSharedBytes, launch.shared_bytes); error != cuda::kSuccess) {
                    return fail(context, failed(info_.device, std::string("asking for shared memory of ") + launch.entry, error));
                }
                known->second.shared_bytes = launch.shared_bytes;
            }
        }
        return true;
    }

    const DeviceInfo info_;
    const std::string target_;
    const size_t shared_bytes_;
    const cuda::Context context_;
    ModuleTable<Module> modules_;
};

}  // namespace

int cuda_device_count() {
    int count = 0;
    return refusal().empty() && driver().cuDeviceGetCount(&count) == cuda::kSuccess ? count : 0;
}

Result<FoundDevice> find_cuda_device(int ordinal) {
    FoundDevice found;
    DeviceInfo &info = found.info;
    info.device = Device::cuda(ordinal);
    const auto unsupported = [&](const std::string &text) { return device_error(info.device, StatusCode::kUnsupported, text); };
    if (const std::string why = refusal(); !why.empty()) {
        return unsupported(why);
    }
    if (const int count = cuda_device_count(); ordinal >= count) {
        return unsupported("does not exist; the driver shows " + std::to_string(count) + " GPUs");
    }
    int device = 0, major = 0, minor = 0, shared = 0, version = 0;
    char name[256] = "";
    const cuda::Driver &d = driver();
    const struct {
        const char *what;
        int error;
    } steps[] = {
        {"cuDeviceGet", d.cuDeviceGet(&device, ordinal)},
        {"cuDeviceGetName", d.cuDeviceGetName(name, sizeof name, device)},
        {"cuDeviceTotalMem", d.cuDeviceTotalMem_v2(&info.memory_bytes, device)},
        {"cuDeviceGetAttribute", d.cuDeviceGetAttribute(&info.compute_units, cuda::kMultiprocessorCount, device)},
        {"cuDeviceGetAttribute", d.cuDeviceGetAttribute(&major, cuda::kCapabilityMajor, device)},
        {"cuDeviceGetAttribute", d.cuDeviceGetAttribute(&minor, cuda::kCapabilityMinor, device)},
        {"cuDeviceGetAttribute", d.cuDeviceGetAttribute(&shared, cuda::kSharedBytesOfBlock, device)},
        {"cuDriverGetVersion", d.cuDriverGetVersion(&version)},
    };
    for (const auto &step : steps) {
        if (step.error != cuda::kSuccess) {
            return failed(info.device, step.what, step.error);
        }
    }
    info.name = name;
    info.driver = "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    info.capability = 10 * major + minor;
    found.shared_bytes = static_cast<size_t>(shared);
    // PTX runs on GPUs of its own capability and on all later ones.
    int best = 0;
    for (const DeviceVariant &v : device_variants()) {
        int capability = 0;
        if (std::sscanf(v.target, "cuda%d", &capability) == 1 && capability > best && capability <= info.capability) {
            best = capability;
        }
    }
    if (best == 0) {
        return unsupported(info.name + " has compute capability " + std::to_string(major) + "." + std::to_string(minor) + "; this build's kernels need 7.5");
    }
    found.target = "cuda" + std::to_string(best);
    return found;
}

Result<DeviceRuntime *> make_cuda_runtime(const FoundDevice &found) {
    int device = 0;
    cuda::Context context = nullptr;
    int error = driver().cuDeviceGet(&device, found.info.device.ordinal);
    error = error == cuda::kSuccess ? driver().cuDevicePrimaryCtxRetain(&context, device) : error;
    if (error != cuda::kSuccess) {
        return failed(found.info.device, "cuDevicePrimaryCtxRetain", error);
    }
    return new CudaRuntime(found, context);
}

}  // namespace fourfold
