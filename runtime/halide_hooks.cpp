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

/// Halide may touch a vector's width before and behind an allocation.
constexpr size_t kMargin = 64;

void *on_malloc(void *user_context, size_t bytes) {
    auto *context = static_cast<fourfold::KernelContext *>(user_context);
    const size_t needed = (bytes + 2 * kMargin + 63) / 64 * 64;
    if (context == nullptr || context->heap_bytes - context->heap_used < needed) {
        return nullptr;
    }
    void *block = context->heap + context->heap_used + kMargin;
    context->heap_used += needed;
    context->heap_blocks++;
    return block;
}

void on_free(void *user_context, void *block) {
    auto *context = static_cast<fourfold::KernelContext *>(user_context);
    if (context != nullptr && block != nullptr && --context->heap_blocks == 0) {
        context->heap_used = 0;
    }
}

}  // namespace

#if defined(__SANITIZE_THREAD__)
// What LLVM's instrumentation calls and the thread sanitizer of GCC 12 has not: there, the plain names are watched.
extern "C" void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    return std::memcpy(to, from, bytes);
}
extern "C" void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    return std::memmove(to, from, bytes);
}
extern "C" void *__tsan_memset(void *to, int value, size_t bytes) {
    return std::memset(to, value, bytes);
}
#endif

extern "C" void fourfold_install_halide_hooks() {
    halide_set_error_handler(on_error);
    halide_set_custom_print(on_print);
    halide_set_custom_malloc(on_malloc);
    halide_set_custom_free(on_free);
}
