// The OpenCL device. Memory is coarse-grained shared virtual memory, so that device addresses are plain pointers and every view of
// a tensor is one; devices without it are not listed. libOpenCL is loaded when first asked for.
#include <HalideRuntime.h>

#define CL_TARGET_OPENCL_VERSION 200
#define CL_USE_DEPRECATED_OPENCL_1_2_APIS  // clCreateCommandQueue, which every version has
#include <CL/cl.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "device/loaded_library.h"
#include "device/module_table.h"
#include "device/runtime.h"

namespace fourfold {
namespace {

/// The functions of libOpenCL that are used here.
struct OpenCl {
#define FOURFOLD_CL_FUNCTIONS(X)    \
    X(clGetPlatformIDs)             \
    X(clGetPlatformInfo)            \
    X(clGetDeviceIDs)               \
    X(clGetDeviceInfo)              \
    X(clCreateContext)              \
    X(clCreateCommandQueue)         \
    X(clCreateProgramWithSource)    \
    X(clBuildProgram)               \
    X(clGetProgramBuildInfo)        \
    X(clReleaseProgram)             \
    X(clReleaseContext)             \
    X(clCreateKernel)               \
    X(clReleaseKernel)              \
    X(clSetKernelArg)               \
    X(clSetKernelArgSVMPointer)     \
    X(clEnqueueNDRangeKernel)       \
    X(clSVMAlloc)                   \
    X(clSVMFree)                    \
    X(clEnqueueSVMMemcpy)           \
    X(clEnqueueSVMMemFill)          \
    X(clEnqueueMarkerWithWaitList)  \
    X(clEnqueueBarrierWithWaitList) \
    X(clWaitForEvents)              \
    X(clReleaseEvent)               \
    X(clReleaseCommandQueue)        \
    X(clFlush)                      \
    X(clFinish)
#define FOURFOLD_DECLARE(name) decltype(&::name) name = nullptr;
    FOURFOLD_CL_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE
    std::string missing;  ///< why it cannot be used; empty when it can

    OpenCl() {
        LoadedLibrary library({"libOpenCL.so.1"}, "libOpenCL.so.1", "OpenCL is not installed", ", a function of OpenCL 2");
#define FOURFOLD_FIND(name) library.find(#name, name);
        FOURFOLD_CL_FUNCTIONS(FOURFOLD_FIND)
#undef FOURFOLD_FIND
        missing = library.missing();
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

/// "clFinish failed with error -5"
std::string failure(const std::string &what, cl_int error) {
    return what + " failed with error " + std::to_string(error);
}

Status failed(Device device, const std::string &what, cl_int error) {
    const bool memory = error == CL_MEM_OBJECT_ALLOCATION_FAILURE || error == CL_OUT_OF_RESOURCES || error == CL_OUT_OF_HOST_MEMORY;
    return device_error(device, memory ? StatusCode::kResourceExhausted : StatusCode::kInternal, failure(what, error));
}

struct Module {
    explicit Module(cl_program p)
        : program(p) {
    }
    ~Module() {
        for (const auto &[name, kernel] : kernels) {
            cl().clReleaseKernel(kernel);
        }
        cl().clReleaseProgram(program);
    }
    Module(const Module &) = delete;
    Module &operator=(const Module &) = delete;

    const cl_program program;
    std::mutex mutex;  ///< of the kernels, which hold their arguments
    std::map<std::string, cl_kernel, std::less<>> kernels;
};

class OpenClRuntime final : public DeviceRuntime {
public:
    OpenClRuntime(const FoundDevice &found, cl_device_id device, cl_context context, cl_command_queue queue)
        : info_(found.info), shared_bytes_(found.shared_bytes), device_(device), context_(context), queue_(queue) {
    }

    const DeviceInfo &info() const override {
        return info_;
    }
    const char *target() const override {
        return "opencl";
    }
    size_t shared_bytes() const override {
        return shared_bytes_;
    }

    Result<void *> allocate(size_t bytes) override {
        // 128: vectors of 16 doubles, the largest that OpenCL C has.
        void *data = cl().clSVMAlloc(context_, CL_MEM_READ_WRITE, bytes, 128);
        if (data == nullptr) {
            return device_error(info_.device, StatusCode::kResourceExhausted, "there are no " + std::to_string(bytes) + " bytes of memory left");
        }
        return data;
    }
    void free(void *data) override {
        // clSVMFree does not wait for what still runs.
        cl().clFinish(queue_);
        cl().clSVMFree(context_, data);
    }
    Status copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream, CL_TRUE);
    }
    Status copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream, CL_TRUE);
    }
    Status zero(void *to, size_t bytes, void *stream) override {
        const cl_int zero = 0;
        const cl_int error = bytes == 0 ? CL_SUCCESS : cl().clEnqueueSVMMemFill(queue(stream), to, &zero, sizeof zero, bytes, 0, nullptr, nullptr);
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clEnqueueSVMMemFill", error);
    }
    Status synchronize(void *stream) override {
        const cl_int error = cl().clFinish(queue(stream));
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clFinish", error);
    }

    Status begin_copy_to_device(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream, CL_FALSE);
    }
    Status begin_copy_to_host(void *to, const void *from, size_t bytes, void *stream) override {
        return copy(to, from, bytes, stream, CL_FALSE);
    }
    // OpenCL copies shared virtual memory from and to any memory while the CPU goes on.
    Result<void *> allocate_host(size_t bytes) override {
        void *data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
        if (data == nullptr) {
            return device_error(info_.device, StatusCode::kResourceExhausted, "the host has no " + std::to_string(bytes) + " bytes left");
        }
        return data;
    }
    void free_host(void *data) override {
        std::free(data);
    }
    bool in_host_memory(const void *, size_t) const override {
        return false;
    }
    Result<void *> make_stream() override {
        cl_int error = CL_SUCCESS;
        void *const made = cl().clCreateCommandQueue(context_, device_, 0, &error);
        return made != nullptr ? Result<void *>(made) : failed(info_.device, "clCreateCommandQueue", error);
    }
    void free_stream(void *stream) override {
        cl().clReleaseCommandQueue(queue(stream));
    }
    Result<void *> make_event() override {
        return static_cast<void *>(new cl_event(nullptr));
    }
    void free_event(void *event) override {
        forget(event);
        delete static_cast<cl_event *>(event);
    }
    Status record(void *event, void *stream) override {
        forget(event);
        cl_int error = cl().clEnqueueMarkerWithWaitList(queue(stream), 0, nullptr, static_cast<cl_event *>(event));
        // Other queues may wait for it.
        error = error == CL_SUCCESS ? cl().clFlush(queue(stream)) : error;
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clEnqueueMarkerWithWaitList", error);
    }
    Status wait_in_stream(void *stream, void *event) override {
        const cl_event *const e = static_cast<cl_event *>(event);
        const cl_int error = *e == nullptr ? CL_SUCCESS : cl().clEnqueueBarrierWithWaitList(queue(stream), 1, e, nullptr);
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clEnqueueBarrierWithWaitList", error);
    }
    Status wait(void *event) override {
        const cl_event *const e = static_cast<cl_event *>(event);
        const cl_int error = *e == nullptr ? CL_SUCCESS : cl().clWaitForEvents(1, e);
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clWaitForEvents", error);
    }
    size_t free_bytes() const override {
        // It does not say what is in use.
        return info_.memory_bytes / 2;
    }

    bool compile(KernelContext &context, const char *source, size_t bytes) override {
        return modules_.compile(context.modules, source, [&] { return load(context, source, bytes); });
    }

    bool launch(KernelContext &context, const Launch &launch) override {
        const std::shared_ptr<Module> m = modules_.find(launch.source);
        if (m == nullptr) {
            return fail(context, std::string("the module of ") + launch.entry + " is not loaded");
        }
        // A kernel object holds its arguments: one thread at a time.
        std::lock_guard<std::mutex> lock(m->mutex);
        cl_int error = CL_SUCCESS;
        const auto known = m->kernels.find(std::string_view(launch.entry));
        cl_kernel kernel = known != m->kernels.end() ? known->second : nullptr;
        if (kernel == nullptr) {
            kernel = cl().clCreateKernel(m->program, launch.entry, &error);
            if (kernel == nullptr) {
                return fail(context, failed(info_.device, "clCreateKernel", error));
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
            return fail(context, failed(info_.device, "clSetKernelArg", error));
        }
        size_t global[3], local[3];
        for (int d = 0; d < 3; d++) {
            local[d] = static_cast<size_t>(launch.threads[d]);
            global[d] = static_cast<size_t>(launch.blocks[d]) * local[d];
        }
        error = cl().clEnqueueNDRangeKernel(queue(context.stream), kernel, 3, nullptr, global, local, 0, nullptr, nullptr);
        return error == CL_SUCCESS || fail(context, failed(info_.device, std::string("clEnqueueNDRangeKernel of ") + launch.entry, error));
    }

    void unload_idle_modules() override {
        modules_.unload_idle(0);
    }

private:
    cl_command_queue queue(void *stream) const {
        return stream != nullptr ? static_cast<cl_command_queue>(stream) : queue_;
    }

    static void forget(void *event) {
        cl_event &e = *static_cast<cl_event *>(event);
        if (e != nullptr) {
            cl().clReleaseEvent(e);
            e = nullptr;
        }
    }

    Status copy(void *to, const void *from, size_t bytes, void *stream, cl_bool blocking) {
        const cl_int error = bytes == 0 ? CL_SUCCESS : cl().clEnqueueSVMMemcpy(queue(stream), blocking, to, from, bytes, 0, nullptr, nullptr);
        return error == CL_SUCCESS ? Status() : failed(info_.device, "clEnqueueSVMMemcpy", error);
    }

    std::unique_ptr<Module> load(KernelContext &context, const char *source, size_t bytes) const {
        cl_int error = CL_SUCCESS;
        const size_t length = strnlen(source, bytes);
        const cl_program program = cl().clCreateProgramWithSource(context_, 1, &source, &length, &error);
        if (program == nullptr) {
            fail(context, failed(info_.device, "clCreateProgramWithSource", error));
            return nullptr;
        }
        auto made = std::make_unique<Module>(program);
        error = cl().clBuildProgram(program, 1, &device_, "", nullptr, nullptr);
        if (error != CL_SUCCESS) {
            size_t length_of_log = 0;
            cl().clGetProgramBuildInfo(program, device_, CL_PROGRAM_BUILD_LOG, 0, nullptr, &length_of_log);
            std::string log(length_of_log, '\0');
            cl().clGetProgramBuildInfo(program, device_, CL_PROGRAM_BUILD_LOG, log.size(), log.data(), nullptr);
            const Status status = failed(info_.device, "clBuildProgram", error);
            fail(context, Status(status.code(), status.message() + ": " + log.c_str()));
            return nullptr;
        }
        return made;
    }

    const DeviceInfo info_;
    const size_t shared_bytes_;
    const cl_device_id device_;
    const cl_context context_;
    const cl_command_queue queue_;
    ModuleTable<Module> modules_;
};

}  // namespace

int opencl_device_count() {
    return static_cast<int>(found_devices().size());
}

Result<FoundDevice> find_opencl_device(int ordinal) {
    FoundDevice found;
    DeviceInfo &info = found.info;
    info.device = Device::opencl(ordinal);
    const auto unsupported = [&](const std::string &text) { return device_error(info.device, StatusCode::kUnsupported, text); };
    if (!cl().missing.empty()) {
        return unsupported(cl().missing);
    }
    const std::vector<Found> &list = found_devices();
    if (ordinal >= static_cast<int>(list.size())) {
        return unsupported("does not exist; " + std::to_string(list.size()) + " OpenCL devices have shared virtual memory");
    }
    const cl_device_id device = list[static_cast<size_t>(ordinal)].device;
    info.name = device_text(device, CL_DEVICE_NAME);
    info.driver = device_text(device, CL_DEVICE_VERSION);
    info.memory_bytes = device_value<cl_ulong>(device, CL_DEVICE_GLOBAL_MEM_SIZE);
    info.compute_units = static_cast<int>(device_value<cl_uint>(device, CL_DEVICE_MAX_COMPUTE_UNITS));
    found.target = "opencl";
    found.shared_bytes = static_cast<size_t>(device_value<cl_ulong>(device, CL_DEVICE_LOCAL_MEM_SIZE));
    return found;
}

Result<DeviceRuntime *> make_opencl_runtime(const FoundDevice &found) {
    const Found &on = found_devices()[static_cast<size_t>(found.info.device.ordinal)];
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, reinterpret_cast<cl_context_properties>(on.platform), 0};
    cl_int error = CL_SUCCESS;
    const cl_context context = cl().clCreateContext(properties, 1, &on.device, nullptr, nullptr, &error);
    if (context == nullptr) {
        return failed(found.info.device, "clCreateContext", error);
    }
    // Of OpenCL 1, deprecated, and available everywhere.
    const cl_command_queue queue = cl().clCreateCommandQueue(context, on.device, 0, &error);
    if (queue == nullptr) {
        cl().clReleaseContext(context);
        return failed(found.info.device, "clCreateCommandQueue", error);
    }
    return new OpenClRuntime(found, on.device, context, queue);
}

}  // namespace fourfold
