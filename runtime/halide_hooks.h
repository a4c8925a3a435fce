#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace fourfold {

class DeviceRuntime;
class Profile;

/// What a task passes to the generated functions that it calls, as user_context.
struct KernelContext {
    char text[240] = "";         ///< the first error message
    bool exhausted = false;      ///< it says that a device's memory ran out
    Profile *profile = nullptr;  ///< where calls report their time, if anywhere
    /// Workspace for temporaries that Halide does not put on the stack (over 16 KB). Most kernels need none, and fail with
    /// out of memory should they ask.
    std::byte *heap = nullptr;
    size_t heap_bytes = 0;
    size_t heap_used = 0;
    int heap_blocks = 0;
    // On a GPU: where kernels are launched. All buffers of a call are then addresses of the device.
    DeviceRuntime *device = nullptr;
    void *stream = nullptr;
    /// Of a plan that is being made: where it keeps the modules that its launches need. Nothing is launched then.
    std::vector<std::shared_ptr<void>> *modules = nullptr;
};

}  // namespace fourfold

/// Routes errors of generated code into the KernelContext of the call. Call once before the first generated function.
extern "C" void fourfold_install_halide_hooks();

struct halide_device_interface_t;
/// For the device_interface of halide_buffer_t whose `device` is an address of the context's device.
extern "C" const halide_device_interface_t *fourfold_device_interface();
