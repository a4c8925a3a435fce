#pragma once

#include <cstddef>

namespace fourfold {

class Profile;

/// What a task passes to the generated functions that it calls, as user_context.
struct KernelContext {
    char text[240] = "";         ///< the first error message
    Profile *profile = nullptr;  ///< where calls report their time, if anywhere
    /// Workspace for temporaries that Halide does not put on the stack (over 16 KB). Most kernels need none, and fail with
    /// out of memory should they ask.
    std::byte *heap = nullptr;
    size_t heap_bytes = 0;
    size_t heap_used = 0;
    int heap_blocks = 0;
};

}  // namespace fourfold

/// Routes errors of generated code into the KernelContext of the call. Call once before the first generated function.
extern "C" void fourfold_install_halide_hooks();
