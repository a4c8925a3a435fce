// What device plans and generated GPU code ask of a device: one implementation for CUDA (cuda.cpp), one for OpenCL (opencl.cpp).
//
// Halide's own GPU runtimes are not linked. Generated code calls halide_cuda_run and a few more, which device_hooks.cpp answers
// from here: the stream is the caller's, registers are not capped, modules are compiled at plan time, and a launch on CUDA
// allocates nothing (OpenCL makes a kernel object at its first).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "fourfold/device.h"
#include "halide_hooks.h"

namespace fourfold {

/// One launch of a kernel of a module, as generated code hands it over.
struct Launch {
    const char *source;      ///< identifies the module: its PTX or OpenCL C text
    const char *entry;       ///< the kernel's name
    int blocks[3];
    int threads[3];
    int shared_bytes;
    const size_t *sizes;     ///< of the arguments in bytes, ended by 0
    void *const *arguments;  ///< values, or halide_buffer_t whose `device` is the address
    const int8_t *is_buffer;
};

/// A device as it is found. To find it makes nothing on it.
struct FoundDevice {
    DeviceInfo info;
    std::string target;  ///< which variants it runs, the best first: "cuda86", "cuda80", ..., "opencl"
    size_t shared_bytes = 0;  ///< of memory that the threads of a block share, which any launch may have
};

/// A device in use, with its context: made for the first plan or memory, it lives as long as the process, since nobody knows
/// what the program keeps in static variables. Every member is thread-safe.
///
/// Modules live as long as a plan that launches their kernels, and the last few beyond, for the next plan (module_table.h); when the process
/// ends all that no plan holds are unloaded.
class DeviceRuntime {
public:
    virtual ~DeviceRuntime() = default;

    virtual const DeviceInfo &info() const = 0;
    /// As FoundDevice has it.
    virtual const char *target() const = 0;
    virtual size_t shared_bytes() const = 0;
    /// The CUcontext that other libraries are to use; null on OpenCL.
    virtual void *native_context() const {
        return nullptr;
    }

    virtual Result<void *> allocate(size_t bytes) = 0;
    virtual void free(void *data) = 0;
    /// In the stream's order; null is the device's default stream. To the host: waits.
    virtual Status copy_to_device(void *to, const void *from, size_t bytes, void *stream) = 0;
    virtual Status copy_to_host(void *to, const void *from, size_t bytes, void *stream) = 0;
    virtual Status zero(void *to, size_t bytes, void *stream) = 0;
    virtual Status synchronize(void *stream) = 0;

    // What copies beside launches.
    /// Put into the stream, and done when it gets there. The memory of the host must stay until then, and only from memory of
    /// allocate_host(), or that in_host_memory() finds, does the call return before.
    virtual Status begin_copy_to_device(void *to, const void *from, size_t bytes, void *stream) = 0;
    virtual Status begin_copy_to_host(void *to, const void *from, size_t bytes, void *stream) = 0;
    /// Memory of the host that the device reads and writes itself: pinned.
    virtual Result<void *> allocate_host(size_t bytes) = 0;
    virtual void free_host(void *data) = 0;
    /// Whether the caller's memory is of that kind.
    virtual bool in_host_memory(const void *data, size_t bytes) const = 0;
    /// A stream of fourfold's own, which waits for no other and no other for it.
    virtual Result<void *> make_stream() = 0;
    virtual void free_stream(void *stream) = 0;
    /// An event happens when all that was in a stream is done which was there when it was recorded last. One never recorded has happened.
    virtual Result<void *> make_event() = 0;
    virtual void free_event(void *event) = 0;
    virtual Status record(void *event, void *stream) = 0;
    /// What comes into the stream from now on waits for the event; or the caller does.
    virtual Status wait_in_stream(void *stream, void *event) = 0;
    virtual Status wait(void *event) = 0;
    /// Bytes that allocate() finds now, as far as the device tells.
    virtual size_t free_bytes() const = 0;

    /// Compiles a module unless it is, and adds it to what the plan that is made holds (KernelContext::modules); `source` stays as it
    /// is for the life of the process. Waits for nobody who compiles another. False with a message in the context.
    virtual bool compile(KernelContext &context, const char *source, size_t bytes) = 0;
    /// Puts a kernel into the context's stream. False with a message in the context.
    virtual bool launch(KernelContext &context, const Launch &launch) = 0;
    /// Unloads the modules that no plan holds.
    virtual void unload_idle_modules() = 0;
};

/// False, with the message in the context unless there is one.
bool fail(KernelContext &context, const std::string &message);
/// The same of a failure of the device or a library: on_device() returns its message, and its code where memory ran out.
bool fail(KernelContext &context, const Status &status);
/// A message about a device: it begins with the device's name.
Status device_error(Device device, StatusCode code, const std::string &text);

/// kInvalidArgument for a stream where the device has none of the caller's: OpenCL, whose context is fourfold's own.
Status own_stream(Device device, const void *stream);
/// The device, or why it cannot be used.
Result<FoundDevice> find_device(Device device);
Result<FoundDevice> find_cuda_device(int ordinal);
Result<FoundDevice> find_opencl_device(int ordinal);
/// The runtime of a device, made by whoever asks first, which nobody waits for who asks for another; or why there is none. Who asks after a
/// failure tries again.
Result<DeviceRuntime *> device_runtime(Device device);

/// Makes the runtime of a device that was found; called once for each.
Result<DeviceRuntime *> make_cuda_runtime(const FoundDevice &found);
Result<DeviceRuntime *> make_opencl_runtime(const FoundDevice &found);
/// How many there are; 0 without a driver.
int cuda_device_count();
int opencl_device_count();

}  // namespace fourfold
