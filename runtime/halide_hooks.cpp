// The doors between generated code and the runtime. This file is linked into one object with the generated kernels and
// Halide's runtime, and all of Halide's symbols are then made local to it: a program that links another Halide-made
// library keeps its own handlers, allocator and thread pool.
#include "halide_hooks.h"

#include <HalideRuntime.h>

#include <cstdlib>
#include <cstring>

namespace {

/// user_context is the call's KernelContext; the first message is kept, as later ones only follow from it.
void on_error(void *user_context, const char *message) {
    auto *context = static_cast<fourfold::KernelContext *>(user_context);
    if (context != nullptr && context->text[0] == '\0') {
        std::strncpy(context->text, message, sizeof context->text - 1);
    }
}

void on_print(void *, const char *) {
}

}  // namespace

extern "C" void fourfold_install_halide_hooks() {
    halide_set_error_handler(on_error);
    halide_set_custom_print(on_print);
}
