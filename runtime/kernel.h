// Typed arguments for generated functions: halide_buffer_t on the stack, called through the variant's argv entry.
#pragma once

#include <HalideRuntime.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "device/runtime.h"
#include "fourfold/profile.h"
#include "halide_hooks.h"
#include "registry.h"

namespace fourfold {

struct Dim {
    int64_t extent;
    int64_t stride;
};

/// A halide_buffer_t over caller's memory, every dimension starting at 0. Generated code indexes with 32 bits; a buffer
/// that it could not reach is marked and refused at the call.
template<typename T, int Rank>
class KernelBuffer {
public:
    KernelBuffer(const T *data, const Dim (&dims)[Rank]) {
        int64_t last = 0;
        for (int d = 0; d < Rank; d++) {
            fits_ = fits_ && dims[d].extent <= kLimit && (dims[d].extent <= 1 || dims[d].stride <= kLimit);
            // A dimension of one element never steps: a stride that 32 bits cannot hold does no harm there.
            const int64_t stride = dims[d].extent <= 1 && dims[d].stride > kLimit ? 0 : dims[d].stride;
            dims_[d].min = 0;
            dims_[d].extent = static_cast<int32_t>(dims[d].extent);
            dims_[d].stride = static_cast<int32_t>(stride);
            dims_[d].flags = 0;
            if (fits_) {
                last += (dims[d].extent - 1) * stride;
                fits_ = last <= kLimit / static_cast<int64_t>(sizeof(T));
            }
        }
        buffer_.host = reinterpret_cast<uint8_t *>(const_cast<T *>(data));
        buffer_.type = halide_type_of<T>();
        buffer_.dimensions = Rank;
        buffer_.dim = dims_;
    }
    KernelBuffer(const KernelBuffer &) = delete;
    KernelBuffer &operator=(const KernelBuffer &) = delete;

    bool fits() const {
        return fits_;
    }
    void *argument() const {
        return &buffer_;
    }
    const halide_dimension_t &dim(int d) const {
        return dims_[d];
    }
    /// The address is the device's.
    void move_to_device() const {
        if (buffer_.host != nullptr) {
            buffer_.device = reinterpret_cast<uint64_t>(buffer_.host);
            buffer_.device_interface = fourfold_device_interface();
            buffer_.host = nullptr;
        }
    }

private:
    // Halide refuses buffers of 2^31 bytes and more without its large_buffers feature.
    static constexpr int64_t kLimit = std::numeric_limits<int32_t>::max();
    halide_dimension_t dims_[Rank];
    mutable halide_buffer_t buffer_{};
    bool fits_ = true;
};

template<int Rank>
using Floats = KernelBuffer<float, Rank>;
template<int Rank>
using Ints = KernelBuffer<int32_t, Rank>;

namespace detail {
template<typename T, int Rank>
bool fits(const KernelBuffer<T, Rank> &b) {
    return b.fits();
}
inline bool fits(const int32_t &) {
    return true;
}
inline bool fits(const float &) {
    return true;
}
inline bool fits(const uint64_t &) {
    return true;
}
template<typename T, int Rank>
void *argument(const KernelBuffer<T, Rank> &b) {
    return b.argument();
}
inline void *argument(const int32_t &v) {
    return const_cast<int32_t *>(&v);
}
inline void *argument(const float &v) {
    return const_cast<float *>(&v);
}
inline void *argument(const uint64_t &v) {
    return const_cast<uint64_t *>(&v);
}

template<typename T, int Rank>
void move_to_device(const KernelBuffer<T, Rank> &b) {
    b.move_to_device();
}
template<typename T>
void move_to_device(const T &) {
}

/// The sizes of a call, as SizedKernel has them.
template<typename T, int Rank>
constexpr int size_count(const KernelBuffer<T, Rank> *) {
    return 2 * Rank;
}
constexpr int size_count(const int32_t *) {
    return 1;
}
constexpr int size_count(const float *) {
    return 0;
}
constexpr int size_count(const uint64_t *) {
    return 0;
}
template<typename T, int Rank>
void append_sizes(int32_t *&at, const KernelBuffer<T, Rank> &b) {
    for (int d = 0; d < Rank; d++) {
        *at++ = b.dim(d).extent;
        *at++ = b.dim(d).stride;
    }
}
inline void append_sizes(int32_t *&at, const int32_t &v) {
    *at++ = v;
}
inline void append_sizes(int32_t *&, const float &) {
}
inline void append_sizes(int32_t *&, const uint64_t &) {
}
}  // namespace detail

/// Adds the time of its life to a stage, when somebody asks for it.
class StageTimer {
public:
    StageTimer(Profile *profile, const char *stage)
        : profile_(profile), stage_(stage), begin_(profile != nullptr ? now() : 0) {
    }
    ~StageTimer() {
        if (profile_ != nullptr) {
            profile_->add(stage_, now() - begin_);
        }
    }
    StageTimer(const StageTimer &) = delete;
    StageTimer &operator=(const StageTimer &) = delete;

private:
    static int64_t now() {
        return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }
    Profile *const profile_;
    const char *const stage_;
    const int64_t begin_;
};

/// Fails a call because of the limits of 32-bit indices.
inline bool out_of_reach(KernelContext &context) {
    if (context.text[0] == '\0') {
        const char message[] = "a region of 2^31 bytes or more cannot be reached by one call of a generated kernel";
        static_assert(sizeof message <= sizeof context.text);
        __builtin_memcpy(context.text, message, sizeof message);
    }
    return false;
}

/// Calls a generated function with its arguments in the order of the generator's ports. False, with a message in the context,
/// when it refuses.
template<typename... Args>
bool call(const Variant &variant, KernelContext &context, const Args &...args) {
    if (!(detail::fits(args) && ...)) {
        return out_of_reach(context);
    }
    if (context.device != nullptr) {
        (detail::move_to_device(args), ...);
    }
    void *user_context = &context;
    void *argv[] = {&user_context, detail::argument(args)...};
    int (*function)(void **) = variant.call;
    RegistryTracer *const tracer = registry_tracer.load(std::memory_order_relaxed);
    if (variant.sized_count > 0 || tracer != nullptr) {
        constexpr int count = (detail::size_count(static_cast<const Args *>(nullptr)) + ...);
        int32_t sizes[count];
        int32_t *at = sizes;
        (detail::append_sizes(at, args), ...);
        if (tracer != nullptr) {
            const auto begin = std::chrono::steady_clock::now();
            const bool ok = function(argv) == 0;
            tracer->called(variant, sizes, count, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
            return ok;
        }
        function = kernel_for(variant, sizes, count);
    }
    const StageTimer timer(context.profile, variant.stage);
    if (function(argv) != 0) {
        return false;
    }
    // A profile wants each kernel's own time.
    if (context.device != nullptr && context.profile != nullptr) {
        if (const Status status = context.device->synchronize(context.stream); !status.ok()) {
            return fail(context, status);
        }
    }
    return true;
}

}  // namespace fourfold
