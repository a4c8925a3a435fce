// Plane transforms by cuFFT. Its plans are made when ours are prepared, and live as long as one of ours uses them; their work area is the
// caller's workspace.
#include "device/cufft_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>

#include "device/plane_transforms.h"

namespace fourfold {
namespace cufft {

const Library &library() {
    static const Library loaded = [] {
        Library l;
        void *library = nullptr;
        // Of CUDA 13, 12, 11, and 10.
        for (const char *name : {"libcufft.so.12", "libcufft.so.11", "libcufft.so.10", "libcufft.so"}) {
            library = library == nullptr ? dlopen(name, RTLD_NOW | RTLD_LOCAL) : library;
        }
        if (library == nullptr) {
            l.missing = "libcufft.so cannot be loaded: cuFFT is not installed";
            return l;
        }
#define FOURFOLD_LOAD(name, result, arguments)                             \
    l.name = reinterpret_cast<result(*) arguments>(dlsym(library, #name)); \
    if (l.name == nullptr) {                                               \
        l.missing = "libcufft.so lacks " #name;                            \
        return l;                                                          \
    }
        FOURFOLD_CUFFT_FUNCTIONS(FOURFOLD_LOAD)
#undef FOURFOLD_LOAD
        return l;
    }();
    return loaded;
}

namespace {

Status failed(Device device, const char *what, int error) {
    return device_error(device, error == kAllocationFailed ? StatusCode::kResourceExhausted : StatusCode::kInternal, std::string("cuFFT: ") + what + " failed with error " + std::to_string(error));
}

/// What a plan of cuFFT is made for: in-place transforms of `planes` planes.
struct Key {
    Device device;
    cuda::Context context;
    int64_t n0, n1, planes, distance;
    bool inverse;

    auto tied() const {
        return std::tie(context, n0, n1, planes, distance, inverse);
    }
    bool operator<(const Key &other) const {
        return tied() < other.tied();
    }
};

/// One plan of cuFFT. Stream and work area are part of its state, so that one thread at a time uses it.
class Handle {
public:
    static Result<std::shared_ptr<Handle>> make(const Key &key) {
        const cuda::Current current(key.context);
        auto handle = std::shared_ptr<Handle>(new Handle(key));
        if (const int error = library().cufftCreate(&handle->plan_); error != kSuccess) {
            return failed(key.device, "cufftCreate", error);
        }
        handle->created_ = true;
        if (const int error = library().cufftSetAutoAllocation(handle->plan_, 0); error != kSuccess) {
            return failed(key.device, "cufftSetAutoAllocation", error);
        }
        long long sizes[] = {key.n0, key.n1};
        long long real[] = {key.n0, key.n1 + 2}, complex[] = {key.n0, key.n1 / 2 + 1};
        long long *const in = key.inverse ? complex : real, *const out = key.inverse ? real : complex;
        const long long in_distance = key.inverse ? key.distance / 2 : key.distance, out_distance = key.inverse ? key.distance : key.distance / 2;
        if (const int error = library().cufftMakePlanMany64(handle->plan_, 2, sizes, in, 1, in_distance, out, 1, out_distance, key.inverse ? kC2R : kR2C, key.planes, &handle->work_bytes_); error != kSuccess) {
            return failed(key.device, "cufftMakePlanMany64", error);
        }
        return handle;
    }
    ~Handle() {
        if (created_) {
            const cuda::Current current(key_.context);
            library().cufftDestroy(plan_);
        }
    }
    Handle(const Handle &) = delete;
    Handle &operator=(const Handle &) = delete;

    const Key &key() const {
        return key_;
    }
    size_t work_bytes() const {
        return work_bytes_;
    }

    Status execute(float *planes, void *work, void *stream) {
        std::lock_guard<std::mutex> lock(mutex_);
        const cuda::Current current(key_.context);
        if (const int error = library().cufftSetStream(plan_, static_cast<cuda::Stream>(stream)); error != kSuccess) {
            return failed(key_.device, "cufftSetStream", error);
        }
        if (const int error = work_bytes_ > 0 ? library().cufftSetWorkArea(plan_, work) : kSuccess; error != kSuccess) {
            return failed(key_.device, "cufftSetWorkArea", error);
        }
        const int error = key_.inverse ? library().cufftExecC2R(plan_, planes, planes) : library().cufftExecR2C(plan_, planes, planes);
        return error == kSuccess ? Status() : failed(key_.device, key_.inverse ? "cufftExecC2R" : "cufftExecR2C", error);
    }

private:
    explicit Handle(const Key &key)
        : key_(key) {
    }

    const Key key_;
    int plan_ = 0;
    bool created_ = false;
    size_t work_bytes_ = 0;
    std::mutex mutex_;
};

/// The plans in use, which all of our plans for the same planes share, and the sizes of all work areas that were asked for.
class Handles {
public:
    /// Nobody waits while one is made: of two made at the same time one is dropped.
    Result<std::shared_ptr<Handle>> find(const Key &key) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (std::shared_ptr<Handle> known = known_[key].lock()) {
                return known;
            }
        }
        Result<std::shared_ptr<Handle>> made = Handle::make(key);
        std::lock_guard<std::mutex> lock(mutex_);
        for (auto i = known_.begin(); i != known_.end();) {
            i = i->second.expired() ? known_.erase(i) : std::next(i);
        }
        if (made) {
            std::weak_ptr<Handle> &known = known_[key];
            if (std::shared_ptr<Handle> other = known.lock()) {
                return other;
            }
            known = *made;
            sizes_.emplace(key, (*made)->work_bytes());
        }
        return made;
    }

    /// Only a plan tells the size that it will need exactly.
    Result<size_t> work_bytes(const Key &key) {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            if (const auto size = sizes_.find(key); size != sizes_.end()) {
                return size->second;
            }
        }
        const Result<std::shared_ptr<Handle>> handle = find(key);
        return handle ? Result<size_t>((*handle)->work_bytes()) : handle.status();
    }

private:
    std::mutex mutex_;
    std::map<Key, std::weak_ptr<Handle>> known_;
    std::map<Key, size_t> sizes_;
};

/// Never destroyed: the driver may be gone when the process ends.
Handles &handles() {
    static Handles &all = *new Handles;
    return all;
}

class CufftTransforms final : public PlaneTransforms {
public:
    CufftTransforms(const DeviceRuntime &device, int64_t rows, int64_t columns)
        : PlaneTransforms(rows, columns), device_(device.info().device), context_(static_cast<cuda::Context>(device.native_context())) {
    }

    const char *name() const override {
        return "cufft";
    }
    int64_t passes() const override {
        return 3;
    }

    bool in_place() const override {
        return true;
    }
    Result<size_t> scratch_bytes(bool inverse, int64_t planes, int64_t distance) const override {
        return handles().work_bytes(key(inverse, planes, distance));
    }
    Status prepare(bool inverse, int64_t planes, int64_t distance) override {
        const Result<std::shared_ptr<Handle>> handle = handles().find(key(inverse, planes, distance));
        if (!handle) {
            return handle.status();
        }
        if (std::find(handles_.begin(), handles_.end(), *handle) == handles_.end()) {
            handles_.push_back(*handle);
        }
        const Result<size_t> laid_out = scratch_bytes(inverse, planes, distance);
        if (laid_out && (*handle)->work_bytes() > *laid_out) {
            return device_error(device_, StatusCode::kInternal, "cuFFT: a plan needs " + std::to_string((*handle)->work_bytes()) + " bytes of work area now, and needed " + std::to_string(*laid_out) + " before");
        }
        return Status();
    }

    float *forward(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return run(false, a, b, planes, distance, context);
    }
    float *inverse(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return run(true, a, b, planes, distance, context);
    }

private:
    Key key(bool inverse, int64_t planes, int64_t distance) const {
        return {device_, context_, n0, n1, planes, distance, inverse};
    }

    float *run(bool inverse, float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const {
        if (context.modules != nullptr) {
            return a;
        }
        Status status = device_error(device_, StatusCode::kInternal, "cuFFT: no plan for " + std::to_string(planes) + " planes was made");
        for (const std::shared_ptr<Handle> &handle : handles_) {
            if (handle->key().inverse == inverse && handle->key().planes == planes && handle->key().distance == distance) {
                const StageTimer timer(context.profile, inverse ? "fft_inverse" : "fft_forward");
                status = handle->execute(a, b, context.stream);
                if (status.ok() && context.profile != nullptr) {
                    status = context.device->synchronize(context.stream);
                }
                break;
            }
        }
        if (!status.ok()) {
            std::snprintf(context.text, sizeof context.text, "%s", status.message().c_str());
            return nullptr;
        }
        return a;
    }

    const Device device_;
    const cuda::Context context_;
    std::vector<std::shared_ptr<Handle>> handles_;
};

}  // namespace
}  // namespace cufft

Result<std::unique_ptr<PlaneTransforms>> cufft_transforms(const DeviceRuntime &device, int64_t n0, int64_t n1) {
    if (device.native_context() == nullptr) {
        return device_error(device.info().device, StatusCode::kUnsupported, "cuFFT is for CUDA devices");
    }
    if (!cufft::library().missing.empty()) {
        return device_error(device.info().device, StatusCode::kUnsupported, cufft::library().missing);
    }
    return std::unique_ptr<PlaneTransforms>(std::make_unique<cufft::CufftTransforms>(device, n0, n1));
}

}  // namespace fourfold
