// The OpenCL device. Memory is coarse-grained shared virtual memory, so that device addresses are plain pointers and every view of
// a tensor is one; devices without it are not listed. libOpenCL is loaded when first asked for.
#include <HalideRuntime.h>
#include <dlfcn.h>

#define CL_TARGET_OPENCL_VERSION 200
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS  // clCreateCommandQueue, which every version has
#include <CL/cl.h>

#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "device/runtime.h"

namespace fourfold {
namespace {

/// The functions of libOpenCL that are used here.
struct OpenCl {
#define FOURFOLD_CL_FUNCTIONS(X) \
    X(clGetPlatformIDs)          \
    X(clGetPlatformInfo)         \
    X(clGetDeviceIDs)            \
    X(clGetDeviceInfo)           \
    X(clCreateContext)           \
    X(clCreateCommandQueue)      \
    X(clCreateProgramWithSource) \
    X(clBuildProgram)            \
    X(clGetProgramBuildInfo)     \
    X(clReleaseProgram)          \
    X(clReleaseContext)          \
    X(clCreateKernel)            \
    X(clSetKernelArg)            \
    X(clSetKernelArgSVMPointer)  \
    X(clEnqueueNDRangeKernel)    \
    X(clSVMAlloc)                \
    X(clSVMFree)                 \
    X(clEnqueueSVMMemcpy)        \
    X(clEnqueueSVMMemFill)       \
    X(clFinish)
#define FOURFOLD_DECLARE(name) decltype(&::name) name = nullptr;
    FOURFOLD_CL_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE
    std::string missing;  ///< why it cannot be used; empty when it can

    OpenCl() {
        void *library = dlopen("libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            missing = "device opencl: libOpenCL.so.1 cannot be loaded: OpenCL is not installed";
            return;
        }
#define FOURFOLD_LOAD(name)                                                 \
    name = reinterpret_cast<decltype(name)>(dlsym(library, #name));         \
    if (name == nullptr) {                                                  \
        missing = "libOpenCL.so.1 lacks " #name ", a function of OpenCL 2"; \
        return;                                                             \
    }
        FOURFOLD_CL_FUNCTIONS(FOURFOLD_LOAD)
#undef FOURFOLD_LOAD
#undef FOURFOLD_CL_FUNCTIONS
    }
};

const OpenCl &cl() {
    static const OpenCl functions;
    return functions;
}

std::string device_text(cl_device_id device, cl_device_info what) {
    size_t bytes = 0;
    if (cl().clGetDeviceInfo(device, what, 0, nullptr, &bytes) != CL_SUCCESS || bytes == 0) {
        return std::string();
    }
    std::string text(bytes, '\0');
    cl().clGetDeviceInfo(device, what, bytes, text.data(), nullptr);
    text.resize(std::strlen(text.c_str()));
    return text;
}

template<typename T>
T device_value(cl_device_id device, cl_device_info what) {
    T value{};
    cl().clGetDeviceInfo(device, what, sizeof value, &value, nullptr);
    return value;
}

struct Found {
    cl_platform_id platform;
    cl_device_id device;
};

/// Devices with shared virtual memory, GPUs and other accelerators before CPUs.
const std::vector<Found> &found_devices() {
    static const std::vector<Found> list = [] {
        std::vector<Found> accelerators, processors;
        cl_uint count = 0;
        if (!cl().missing.empty() || cl().clGetPlatformIDs(0, nullptr, &count) != CL_SUCCESS || count == 0) {
            return accelerators;
        }
        std::vector<cl_platform_id> platforms(count);
        cl().clGetPlatformIDs(count, platforms.data(), nullptr);
        for (cl_platform_id platform : platforms) {
            cl_uint devices = 0;
            if (cl().clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, nullptr, &devices) != CL_SUCCESS || devices == 0) {
                continue;
            }
            std::vector<cl_device_id> ids(devices);
            cl().clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, devices, ids.data(), nullptr);
            for (cl_device_id id : ids) {
                if ((device_value<cl_device_svm_capabilities>(id, CL_DEVICE_SVM_CAPABILITIES) & CL_DEVICE_SVM_COARSE_GRAIN_BUFFER) != 0) {
                    const bool processor = (device_value<cl_device_type>(id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
                    (processor ? processors : accelerators).push_back({platform, id});
                }
            }
        }
        accelerators.insert(accelerators.end(), processors.begin(), processors.end());
        return accelerators;
    }();
    return list;
}

Status failed(const char *what, cl_int error) {
    return Status(error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_RESOURCES || error == CL_OUT_OF_HOST_MEMORY ? StatusCode::kResourceExhausted : StatusCode::kInternal,
                  std::string("OpenCL: ") + what + " failed with error " + std::to_string(error));
}

bool fail(KernelContext &context, const std::string &message) {
    if (context.text[0] == '\0') {
        std::snprintf(context.text, sizeof context.text, "%s", message.c_str());
    }
    return false;
}

class OpenClRuntime final : public DeviceRuntime {
public:
    OpenClRuntime(int ordinal, cl_device_id device, cl_context context, cl_command_queue queue)
        : device_(device), context_(context), queue_(queue) {
        info_.device = Device::opencl(ordinal);
        info_.name = device_text(device, CL_DEVICE_NAME);
        info_.driver = device_text(device, CL_DEVICE_VERSION);
        info_.memory_bytes = device_value<cl_ulong>(device, CL_DEVICE_GLOBAL_MEM_SIZE);
        info_.compute_units = static_cast<int>(device_value<cl_uint>(device, CL_DEVICE_MAX_COMPUTE_UNITS));
    }

    const DeviceInfo &info() const override {
        return info_;
    }
    const char *target() const override {
        return "opencl";
    }

    Result<void *> allocate(size_t bytes) override {
        // 128: vectors of 16 doubles, the largest that OpenCL C has.
        void *data = cl().clSVMAlloc(context_, CL_MEM_READ_WRITE, bytes, 128);
        if (data == nullptr) {
            return Status(StatusCode::kResourceExhausted, "device '" + to_string(info_.device) + "' has no " + std::to_string(bytes) + " bytes left");
        }
        return data;
    }
    void free(void *data) override {
        // clSVMFree does not wait for what still runs.
        cl().clFinish(queue_);
        cl().clSVMFree(context_, data);
    }
    Status copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream);
    }
    Status copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream);
    }
    Status zero(void *to, size_t bytes, void *stream) override {
        const cl_int zero = 0;
        const cl_int error = bytes == 0 ? CL_SUCCESS : cl().clEnqueueSVMMemFill(queue(stream), to, &zero, sizeof zero, bytes, 0, nullptr, nullptr);
        return error == CL_SUCCESS ? Status() : failed("clEnqueueSVMMemFill", error);
    }
    Status synchronize(void *stream) override {
        const cl_int error = cl().clFinish(queue(stream));
        return error == CL_SUCCESS ? Status() : failed("clFinish", error);
    }

    bool compile(KernelContext &context, const char *source, size_t bytes) override {
        std::lock_guard<std::mutex> lock(mutex_);
        return module(context, source, bytes) != nullptr;
    }

    bool launch(KernelContext &context, const Launch &launch) override {
        // A kernel object holds its arguments: one thread at a time.
        std::lock_guard<std::mutex> lock(mutex_);
        Module *const m = module(context, launch.source, 0);
        if (m == nullptr) {
            return false;
        }
        cl_int error = CL_SUCCESS;
        const auto known = m->kernels.find(std::string_view(launch.entry));
        cl_kernel kernel = known != m->kernels.end() ? known->second : nullptr;
        if (kernel == nullptr) {
            kernel = cl().clCreateKernel(m->program, launch.entry, &error);
            if (kernel == nullptr) {
                return fail(context, failed("clCreateKernel", error).message());
            }
            m->kernels.emplace(launch.entry, kernel);
        }
        cl_uint i = 0;
        for (; launch.sizes[i] != 0 && error == CL_SUCCESS; i++) {
            error = launch.is_buffer[i] != 0 ? cl().clSetKernelArgSVMPointer(kernel, i, reinterpret_cast<const void *>(static_cast<const halide_buffer_t *>(launch.arguments[i])->device))
                                             : cl().clSetKernelArg(kernel, i, launch.sizes[i], launch.arguments[i]);
        }
        if (error == CL_SUCCESS) {
            error = cl().clSetKernelArg(kernel, i, launch.shared_bytes > 0 ? static_cast<size_t>(launch.shared_bytes) : 1, nullptr);
        }
        if (error != CL_SUCCESS) {
            return fail(context, failed("clSetKernelArg", error).message());
        }
        size_t global[3], local[3];
        for (int d = 0; d < 3; d++) {
            local[d] = static_cast<size_t>(launch.threads[d]);
            global[d] = static_cast<size_t>(launch.blocks[d]) * local[d];
        }
        error = cl().clEnqueueNDRangeKernel(queue(context.stream), kernel, 3, nullptr, global, local, 0, nullptr, nullptr);
        return error == CL_SUCCESS || fail(context, failed((std::string("clEnqueueNDRangeKernel of ") + launch.entry).c_str(), error).message());
    }

private:
    struct Module {
        cl_program program = nullptr;
        std::map<std::string, cl_kernel, std::less<>> kernels;
    };

    cl_command_queue queue(void *stream) const {
        return stream != nullptr ? static_cast<cl_command_queue>(stream) : queue_;
    }

    Status copy(void *to, const void *from, size_t bytes, void *stream) {
        const cl_int error = bytes == 0 ? CL_SUCCESS : cl().clEnqueueSVMMemcpy(queue(stream), CL_TRUE, to, from, bytes, 0, nullptr, nullptr);
        return error == CL_SUCCESS ? Status() : failed("clEnqueueSVMMemcpy", error);
    }

    /// With the mutex held. The module, built if it was not.
    Module *module(KernelContext &context, const char *source, size_t bytes) {
        const auto found = modules_.find(source);
        if (found != modules_.end()) {
            return &found->second;
        }
        cl_int error = CL_SUCCESS;
        const size_t length = strnlen(source, bytes);
        const cl_program program = cl().clCreateProgramWithSource(context_, 1, &source, &length, &error);
        if (program == nullptr) {
            fail(context, failed("clCreateProgramWithSource", error).message());
            return nullptr;
        }
        error = cl().clBuildProgram(program, 1, &device_, "", nullptr, nullptr);
        if (error != CL_SUCCESS) {
            size_t length_of_log = 0;
            cl().clGetProgramBuildInfo(program, device_, CL_PROGRAM_BUILD_LOG, 0, nullptr, &length_of_log);
            std::string log(length_of_log, '\0');
            cl().clGetProgramBuildInfo(program, device_, CL_PROGRAM_BUILD_LOG, log.size(), log.data(), nullptr);
            fail(context, failed("clBuildProgram", error).message() + ": " + log.c_str());
            cl().clReleaseProgram(program);
            return nullptr;
        }
        Module &m = modules_[source];
        m.program = program;
        return &m;
    }

    const cl_device_id device_;
    const cl_context context_;
    const cl_command_queue queue_;
    DeviceInfo info_;
    std::mutex mutex_;
    std::unordered_map<const char *, Module> modules_;
};

}  // namespace

int opencl_device_count() {
    return static_cast<int>(found_devices().size());
}

Result<DeviceRuntime *> make_opencl_runtime(int ordinal) {
    if (!cl().missing.empty()) {
        return Status(StatusCode::kUnsupported, cl().missing);
    }
    const std::vector<Found> &list = found_devices();
    if (ordinal < 0 || ordinal >= static_cast<int>(list.size())) {
        return Status(StatusCode::kUnsupported, "device 'opencl:" + std::to_string(ordinal) + "' does not exist; " + std::to_string(list.size()) + " OpenCL devices have shared virtual memory");
    }
    const Found &found = list[static_cast<size_t>(ordinal)];
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, reinterpret_cast<cl_context_properties>(found.platform), 0};
    cl_int error = CL_SUCCESS;
    const cl_context context = cl().clCreateContext(properties, 1, &found.device, nullptr, nullptr, &error);
    if (context == nullptr) {
        return failed("clCreateContext", error);
    }
    // Of OpenCL 1, deprecated, and available everywhere.
    const cl_command_queue queue = cl().clCreateCommandQueue(context, found.device, 0, &error);
    if (queue == nullptr) {
        cl().clReleaseContext(context);
        return failed("clCreateCommandQueue", error);
    }
    return new OpenClRuntime(ordinal, found.device, context, queue);
}

}  // namespace fourfold
