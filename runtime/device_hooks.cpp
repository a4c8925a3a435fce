// Halide's GPU runtime as generated code sees it, answered by the DeviceRuntime in the call's KernelContext. Linked, like
// halide_hooks.cpp, into the object in which Halide's symbols are local.
//
// Source of the signatures: Halide 21.0, src/runtime/{cuda,opencl}.cpp and HalideRuntime.h (halide_device_interface_impl_t is
// declared in src/runtime/device_interface.h).
#include <HalideRuntime.h>

#include "device/runtime.h"
#include "halide_hooks.h"

using fourfold::KernelContext;

// Halide declares this where only its own runtimes see it.
struct halide_device_interface_impl_t {
    void (*use_module)();
    void (*release_module)();
    int (*device_malloc)(void *user_context, halide_buffer_t *buf);
    int (*device_free)(void *user_context, halide_buffer_t *buf);
    int (*device_sync)(void *user_context, halide_buffer_t *buf);
    int (*device_release)(void *user_context);
    int (*copy_to_host)(void *user_context, halide_buffer_t *buf);
    int (*copy_to_device)(void *user_context, halide_buffer_t *buf);
    int (*device_and_host_malloc)(void *user_context, halide_buffer_t *buf);
    int (*device_and_host_free)(void *user_context, halide_buffer_t *buf);
    int (*buffer_copy)(void *user_context, halide_buffer_t *src, const halide_device_interface_t *dst_device_interface, halide_buffer_t *dst);
    int (*device_crop)(void *user_context, const halide_buffer_t *src, halide_buffer_t *dst);
    int (*device_slice)(void *user_context, const halide_buffer_t *src, int slice_dim, int slice_pos, halide_buffer_t *dst);
    int (*device_release_crop)(void *user_context, halide_buffer_t *buf);
    int (*wrap_native)(void *user_context, halide_buffer_t *buf, uint64_t handle);
    int (*detach_native)(void *user_context, halide_buffer_t *buf);
};

namespace {

int refuse(void *user_context, const char *what) {
    halide_error(user_context, what);
    return halide_error_code_device_interface_no_device;
}

/// All buffers of a call lie on the device already, and kernels keep their temporaries on chip.
const halide_device_interface_impl_t kImplementation = {
    [] {},
    [] {},
    [](void *user_context, halide_buffer_t *buffer) { return buffer->device != 0 ? 0 : refuse(user_context, "a generated kernel asked for device memory of its own"); },
    [](void *, halide_buffer_t *) { return 0; },
    [](void *, halide_buffer_t *) { return 0; },
    [](void *) { return 0; },
    [](void *user_context, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked to copy to the host"); },
    [](void *user_context, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked to copy to the device"); },
    [](void *user_context, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked for device memory of its own"); },
    [](void *, halide_buffer_t *) { return 0; },
    [](void *user_context, halide_buffer_t *, const halide_device_interface_t *, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked to copy a buffer"); },
    [](void *user_context, const halide_buffer_t *, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked to crop a buffer"); },
    [](void *user_context, const halide_buffer_t *, int, int, halide_buffer_t *) { return refuse(user_context, "a generated kernel asked to slice a buffer"); },
    [](void *, halide_buffer_t *) { return 0; },
    [](void *user_context, halide_buffer_t *, uint64_t) { return refuse(user_context, "a generated kernel asked to wrap a pointer"); },
    [](void *, halide_buffer_t *) { return 0; },
};

int no_capability(void *, int *major, int *minor) {
    *major = *minor = 0;
    return 0;
}

const halide_device_interface_t kInterface = {
    halide_device_malloc, halide_device_free, halide_device_sync, halide_device_release, halide_copy_to_host, halide_copy_to_device,
    [](void *user_context, halide_buffer_t *, const halide_device_interface_t *) { return refuse(user_context, "a generated kernel asked for device memory of its own"); },
    [](void *, halide_buffer_t *) { return 0; }, halide_buffer_copy, halide_device_crop, halide_device_slice,
    halide_device_release_crop, halide_device_wrap_native, halide_device_detach_native, no_capability, &kImplementation};

int initialize(void *user_context, void **state, const char *source, int bytes) {
    auto *context = static_cast<KernelContext *>(user_context);
    if (context == nullptr || context->device == nullptr) {
        return halide_error_code_device_interface_no_device;
    }
    // The same for every device and thread: the text's address is the module's name.
    __atomic_store_n(state, const_cast<char *>(source), __ATOMIC_RELAXED);
    return context->device->compile(*context, source, static_cast<size_t>(bytes)) ? 0 : halide_error_code_gpu_device_error;
}

int run(void *user_context, void *state, const char *entry, int bx, int by, int bz, int tx, int ty, int tz, int shared, size_t sizes[], void *arguments[], int8_t is_buffer[]) {
    auto *context = static_cast<KernelContext *>(user_context);
    if (context->modules != nullptr) {
        return 0;
    }
    const fourfold::Launch launch = {static_cast<const char *>(state), entry, {bx, by, bz}, {tx, ty, tz}, shared, sizes, arguments, is_buffer};
    return context->device->launch(*context, launch) ? 0 : halide_error_code_gpu_device_error;
}

}  // namespace

extern "C" {

const halide_device_interface_t *fourfold_device_interface() {
    return &kInterface;
}

const halide_device_interface_t *halide_cuda_device_interface() {
    return &kInterface;
}
int halide_cuda_initialize_kernels(void *user_context, void **state, const char *source, int bytes) {
    return initialize(user_context, state, source, bytes);
}
void halide_cuda_finalize_kernels(void *, void *) {
}
int halide_cuda_run(void *user_context, void *state, const char *entry, int bx, int by, int bz, int tx, int ty, int tz, int shared, size_t sizes[], void *arguments[], int8_t is_buffer[]) {
    return run(user_context, state, entry, bx, by, bz, tx, ty, tz, shared, sizes, arguments, is_buffer);
}

const halide_device_interface_t *halide_opencl_device_interface() {
    return &kInterface;
}
int halide_opencl_initialize_kernels(void *user_context, void **state, const char *source, int bytes) {
    return initialize(user_context, state, source, bytes);
}
void halide_opencl_finalize_kernels(void *, void *) {
}
int halide_opencl_run(void *user_context, void *state, const char *entry, int bx, int by, int bz, int tx, int ty, int tz, int shared, size_t sizes[], void *arguments[], int8_t is_buffer[]) {
    return run(user_context, state, entry, bx, by, bz, tx, ty, tz, shared, sizes, arguments, is_buffer);
}

}  // extern "C"
