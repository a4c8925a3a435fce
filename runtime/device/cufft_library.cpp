// Plane transforms by cuFFT. Its plans are made when ours are prepared, and live as long as one of ours uses them; their work area is the
// caller's workspace.
#include "device/cufft_library.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "device/loaded_library.h"
#include "device/plane_transforms.h"

namespace fourfold {
namespace cufft {

const Library &library() {
    static const Library loaded = [] {
        Library l;
        // Of CUDA 13, 12, 11, and 10.
        LoadedLibrary loaded_library({"libcufft.so.12", "libcufft.so.11", "libcufft.so.10", "libcufft.so"}, "libcufft.so", "cuFFT is not installed");
#define FOURFOLD_FIND(name, result, arguments) loaded_library.find(#name, l.name);
        FOURFOLD_CUFFT_FUNCTIONS(FOURFOLD_FIND)
#undef FOURFOLD_FIND
        l.missing = loaded_library.missing();
        return l;
    }();
    return loaded;
}

namespace {

Status failed(Device device, const char *what, int error) {
    return device_error(device, error == kAllocationFailed ? StatusCode::kResourceExhausted : StatusCode::kInternal, std::string("cuFFT: ") + what + " failed with error " + std::to_string(error));
}

/// What a plan of cuFFT is made for: transforms of `planes` planes, in place, or, with a step, with spectra frequency by frequency.
struct Key {
    Device device;
    cuda::Context context;
    int64_t n0, n1, planes, distance;
    bool inverse;
    int64_t step = 0;

    auto tied() const {
        return std::tie(context, n0, n1, planes, distance, inverse, step);
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
        const long long step = key.step > 0 ? key.step : 1, distance = key.step > 0 ? 1 : key.distance / 2;  // of spectra
        const int error = key.inverse ? library().cufftMakePlanMany64(handle->plan_, 2, sizes, complex, step, distance, real, 1, key.distance, kC2R, key.planes, &handle->work_bytes_)
                                      : library().cufftMakePlanMany64(handle->plan_, 2, sizes, real, 1, key.distance, complex, step, distance, kR2C, key.planes, &handle->work_bytes_);
        if (error != kSuccess) {
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

    Status execute(float *in, float *out, void *work, void *stream) {
        std::lock_guard<std::mutex> lock(mutex_);
        const cuda::Current current(key_.context);
        if (const int error = library().cufftSetStream(plan_, static_cast<cuda::Stream>(stream)); error != kSuccess) {
            return failed(key_.device, "cufftSetStream", error);
        }
        if (const int error = work_bytes_ > 0 ? library().cufftSetWorkArea(plan_, work) : kSuccess; error != kSuccess) {
            return failed(key_.device, "cufftSetWorkArea", error);
        }
        const int error = key_.inverse ? library().cufftExecC2R(plan_, in, out) : library().cufftExecR2C(plan_, in, out);
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
    Result<size_t> scratch_bytes(const Batch &batch) const override {
        return handles().work_bytes(key(batch));
    }
    Status prepare(const Batch &batch) override {
        const Result<std::shared_ptr<Handle>> handle = handles().find(key(batch));
        if (!handle) {
            return handle.status();
        }
        if (std::find(handles_.begin(), handles_.end(), *handle) == handles_.end()) {
            handles_.push_back(*handle);
        }
        const Result<size_t> laid_out = scratch_bytes(batch);
        if (laid_out && (*handle)->work_bytes() > *laid_out) {
            return device_error(device_, StatusCode::kInternal, "cuFFT: a plan needs " + std::to_string((*handle)->work_bytes()) + " bytes of work area now, and needed " + std::to_string(*laid_out) + " before");
        }
        return Status();
    }

    float *forward(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return run({false, planes, distance}, a, a, b, context) ? a : nullptr;
    }
    float *inverse(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const override {
        return run({true, planes, distance}, a, a, b, context) ? a : nullptr;
    }
    bool forward_by_frequency(float *planes, float *spectra, int64_t count, int64_t distance, int64_t step, void *work, KernelContext &context) const override {
        return run({false, count, distance, step}, planes, spectra, work, context);
    }
    bool inverse_by_frequency(float *spectra, float *planes, int64_t count, int64_t distance, int64_t step, void *work, KernelContext &context) const override {
        return run({true, count, distance, step}, spectra, planes, work, context);
    }

private:
    Key key(const Batch &batch) const {
        return {device_, context_, n0, n1, batch.planes, batch.distance, batch.inverse, batch.step};
    }

    bool run(const Batch &batch, float *in, float *out, void *work, KernelContext &context) const {
        if (context.modules != nullptr) {
            return true;
        }
        Status status = device_error(device_, StatusCode::kInternal, "cuFFT: no plan for " + std::to_string(batch.planes) + " planes was made");
        const Key wanted = key(batch);
        for (const std::shared_ptr<Handle> &handle : handles_) {
            if (handle->key().tied() == wanted.tied()) {
                const StageTimer timer(context.profile, batch.inverse ? "fft_inverse" : "fft_forward");
                status = handle->execute(in, out, work, context.stream);
                if (status.ok() && context.profile != nullptr) {
                    status = context.device->synchronize(context.stream);
                }
                break;
            }
        }
        return status.ok() || fail(context, status);
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
