#pragma once

namespace fourfold {

class Profile;

/// What a task passes to the generated functions that it calls, as user_context.
struct KernelContext {
    char text[240] = "";         ///< the first error message
    Profile *profile = nullptr;  ///< where calls report their time, if anywhere
};

}  // namespace fourfold

/// Routes errors of generated code into the KernelContext of the call. Call once before the first generated function.
extern "C" void fourfold_install_halide_hooks();
