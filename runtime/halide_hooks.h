#pragma once

namespace fourfold {

/// Where a generated function's error message goes; passed to it as user_context.
struct ErrorSink {
    char text[240] = "";
};

}  // namespace fourfold

/// Routes errors of generated code into the ErrorSink of the call. Call once before the first generated function.
extern "C" void fourfold_install_halide_hooks();
