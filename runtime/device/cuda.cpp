// The CUDA device: the driver alone, in the device's primary context, which the CUDA runtime and PyTorch share. PTX is compiled for
// the GPU at hand by the driver when a plan is made, without the limit of 64 registers that Halide's own runtime sets.
#include <HalideRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>

#include "device/cuda_driver.h"
#include "device/runtime.h"
#include "registry.h"

namespace fourfold {
namespace cuda {

const Driver &driver() {
    static const Driver loaded = [] {
        Driver d;
        void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            d.missing = "device cuda: libcuda.so.1 cannot be loaded: no NVIDIA driver is installed";
            return d;
        }
#define FOURFOLD_LOAD(name, result, arguments)                                       \
    d.name = reinterpret_cast<result(*) arguments>(dlsym(library, #name));           \
    if (d.name == nullptr) {                                                         \
        d.missing = "libcuda.so.1 lacks " #name ": the NVIDIA driver is too old";    \
        return d;                                                                    \
    }
        FOURFOLD_CUDA_FUNCTIONS(FOURFOLD_LOAD)
#undef FOURFOLD_LOAD
        if (const int error = d.cuInit(0); error != kSuccess) {
            const char *name = nullptr;
            d.missing = "the NVIDIA driver refuses: cuInit failed with " + (d.cuGetErrorName(error, &name) == kSuccess && name != nullptr ? std::string(name) : std::to_string(error));
        }
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

using cuda::Current;
using cuda::driver;

Status failed(const char *what, int error) {
    return Status(error == cuda::kOutOfMemory ? StatusCode::kResourceExhausted : StatusCode::kInternal, std::string("CUDA: ") + what + " failed with " + cuda::error_name(error));
}

bool fail(KernelContext &context, const std::string &message) {
    if (context.text[0] == '\0') {
        std::snprintf(context.text, sizeof context.text, "%s", message.c_str());
    }
    return false;
}

cuda::DevicePointer address(const void *data) {
    return reinterpret_cast<cuda::DevicePointer>(data);
}

class CudaRuntime final : public DeviceRuntime {
public:
    CudaRuntime(const DeviceInfo &info, cuda::Context context)
        : info_(info), context_(context) {
        // PTX runs on GPUs of its own capability and on all later ones.
        for (const DeviceVariant &v : device_variants()) {
            int capability = 0;
            if (std::sscanf(v.target, "cuda%d", &capability) == 1 && capability > best_ && capability <= info.capability) {
                best_ = capability;
            }
        }
        target_ = "cuda" + std::to_string(best_);
    }

    /// Of the variants that run here; 0 when none does.
    int best() const {
        return best_;
    }

    const DeviceInfo &info() const override {
        return info_;
    }
    const char *target() const override {
        return target_.c_str();
    }
    void *native_context() const override {
        return context_;
    }

    Result<void *> allocate(size_t bytes) override {
        const Current current(context_);
        cuda::DevicePointer data = 0;
        const int error = driver().cuMemAlloc_v2(&data, bytes);
        if (error == cuda::kOutOfMemory) {
            return Status(StatusCode::kResourceExhausted, "device '" + to_string(info_.device) + "' has no " + std::to_string(bytes) + " bytes left");
        }
        if (error != cuda::kSuccess) {
            return failed("cuMemAlloc", error);
        }
        return reinterpret_cast<void *>(data);
    }
    void free(void *data) override {
        const Current current(context_);
        driver().cuMemFree_v2(address(data));
    }
    Status copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        const Current current(context_);
        const int error = bytes == 0 ? cuda::kSuccess : driver().cuMemcpyHtoDAsync_v2(address(to), from, bytes, static_cast<cuda::Stream>(stream));
        return error == cuda::kSuccess ? Status() : failed("cuMemcpyHtoDAsync", error);
    }
    Status copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        const Current current(context_);
        const int error = bytes == 0 ? cuda::kSuccess : driver().cuMemcpyDtoHAsync_v2(to, address(from), bytes, static_cast<cuda::Stream>(stream));
        return error == cuda::kSuccess ? synchronize(stream) : failed("cuMemcpyDtoHAsync", error);
    }
    Status zero(void *to, size_t bytes, void *stream) override {
        const Current current(context_);
        const int error = bytes == 0 ? cuda::kSuccess : driver().cuMemsetD8Async(address(to), 0, bytes, static_cast<cuda::Stream>(stream));
        return error == cuda::kSuccess ? Status() : failed("cuMemsetD8Async", error);
    }
    Status synchronize(void *stream) override {
        const Current current(context_);
        const int error = driver().cuStreamSynchronize(static_cast<cuda::Stream>(stream));
        return error == cuda::kSuccess ? Status() : failed("cuStreamSynchronize", error);
    }

    bool compile(KernelContext &context, const char *source, size_t) override {
        std::lock_guard<std::mutex> lock(mutex_);
        return module(context, source) != nullptr;
    }

    bool launch(KernelContext &context, const Launch &launch) override {
        constexpr size_t kMost = 64;
        void *arguments[kMost];
        size_t count = 0;
        for (; launch.sizes[count] != 0; count++) {
            if (count == kMost) {
                return fail(context, std::string("CUDA: ") + launch.entry + " has more than 64 arguments");
            }
            arguments[count] = launch.is_buffer[count] != 0 ? &static_cast<halide_buffer_t *>(launch.arguments[count])->device : launch.arguments[count];
        }
        cuda::Function function = nullptr;
        const Current current(context_);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (!find(context, launch, function)) {
                return false;
            }
        }
        const auto u = [](int v) { return static_cast<unsigned>(v); };
        const int error = driver().cuLaunchKernel(function, u(launch.blocks[0]), u(launch.blocks[1]), u(launch.blocks[2]), u(launch.threads[0]), u(launch.threads[1]), u(launch.threads[2]), u(launch.shared_bytes), static_cast<cuda::Stream>(context.stream), arguments, nullptr);
        return error == cuda::kSuccess || fail(context, failed((std::string("cuLaunchKernel of ") + launch.entry).c_str(), error).message());
    }

private:
    struct Kernel {
        cuda::Function function = nullptr;
        int shared_bytes = 48 << 10;  ///< that launches may ask for
    };
    struct Module {
        cuda::Module module = nullptr;
        std::map<std::string, Kernel, std::less<>> kernels;
    };

    /// With the mutex held. All kernels are looked up at once: the driver may load one only then, which is not for a launch to wait for.
    Module *module(KernelContext &context, const char *source) {
        const auto found = modules_.find(source);
        if (found != modules_.end()) {
            return &found->second;
        }
        const Current current(context_);
        Module m;
        if (const int error = driver().cuModuleLoadDataEx(&m.module, source, 0, nullptr, nullptr); error != cuda::kSuccess) {
            fail(context, failed("cuModuleLoadDataEx", error).message());
            return nullptr;
        }
        const std::string_view ptx(source), entry(".entry ");
        for (size_t at = ptx.find(entry); at != std::string_view::npos; at = ptx.find(entry, at)) {
            at += entry.size();
            const std::string name(ptx.substr(at, ptx.find('(', at) - at));
            if (const int error = driver().cuModuleGetFunction(&m.kernels[name].function, m.module, name.c_str()); error != cuda::kSuccess) {
                fail(context, failed(("loading " + name).c_str(), error).message());
                return nullptr;
            }
        }
        return &modules_.emplace(source, std::move(m)).first->second;
    }

    /// With the mutex held.
    bool find(KernelContext &context, const Launch &launch, cuda::Function &function) {
        Module *const m = module(context, launch.source);
        if (m == nullptr) {
            return false;
        }
        const auto known = m->kernels.find(std::string_view(launch.entry));
        if (known == m->kernels.end()) {
            return fail(context, std::string("CUDA: no kernel ") + launch.entry + " in its module");
        }
        if (launch.shared_bytes > known->second.shared_bytes) {
            if (const int error = driver().cuFuncSetAttribute(known->second.function, cuda::kMaxDynamicSharedBytes, launch.shared_bytes); error != cuda::kSuccess) {
                return fail(context, failed((std::string("asking for shared memory of ") + launch.entry).c_str(), error).message());
            }
            known->second.shared_bytes = launch.shared_bytes;
        }
        function = known->second.function;
        return true;
    }

    const DeviceInfo info_;
    const cuda::Context context_;
    int best_ = 0;
    std::string target_;
    std::mutex mutex_;
    std::unordered_map<const char *, Module> modules_;
};

}  // namespace

int cuda_device_count() {
    int count = 0;
    return driver().missing.empty() && driver().cuDeviceGetCount(&count) == cuda::kSuccess ? count : 0;
}

Result<DeviceRuntime *> make_cuda_runtime(int ordinal) {
    if (!driver().missing.empty()) {
        return Status(StatusCode::kUnsupported, driver().missing);
    }
    const int count = cuda_device_count();
    if (ordinal >= count) {
        return Status(StatusCode::kUnsupported, "device 'cuda:" + std::to_string(ordinal) + "' does not exist; the driver shows " + std::to_string(count) + " GPUs");
    }
    DeviceInfo info;
    info.device = Device::cuda(ordinal);
    int device = 0, major = 0, minor = 0, version = 0;
    char name[256] = "";
    cuda::Context context = nullptr;
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
        {"cuDriverGetVersion", d.cuDriverGetVersion(&version)},
        {"cuDevicePrimaryCtxRetain", d.cuDevicePrimaryCtxRetain(&context, device)},
    };
    for (const auto &step : steps) {
        if (step.error != cuda::kSuccess) {
            return failed(step.what, step.error);
        }
    }
    info.name = name;
    info.driver = "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
    info.capability = 10 * major + minor;
    auto *runtime = new CudaRuntime(info, context);
    if (runtime->best() == 0) {
        delete runtime;
        return Status(StatusCode::kUnsupported, "device 'cuda:" + std::to_string(ordinal) + "', " + info.name + ", has compute capability " + std::to_string(major) + "." + std::to_string(minor) + "; this build's kernels need 7.5");
    }
    return runtime;
}

}  // namespace fourfold
