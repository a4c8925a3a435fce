// Matrix products by cuBLAS. A context has one handle, made when a plan that uses it is first prepared; its workspace is the caller's.
#include "device/cublas_library.h"

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>

#include "device/frequency_product.h"
#include "device/loaded_library.h"

namespace fourfold {
namespace cublas {

const Library &library() {
    static const Library loaded = [] {
        Library l;
        LoadedLibrary loaded_library({"libcublas.so.13", "libcublas.so.12", "libcublas.so.11", "libcublas.so"}, "libcublas.so", "cuBLAS is not installed");
#define FOURFOLD_FIND(name, result, arguments) loaded_library.find(#name, l.name);
        FOURFOLD_CUBLAS_FUNCTIONS(FOURFOLD_FIND)
#undef FOURFOLD_FIND
        l.missing = loaded_library.missing();
        return l;
    }();
    return loaded;
}

namespace {

// What NVIDIA recommends for its largest GPUs, and what cublasSetWorkspace asks of the address.
constexpr size_t kWorkspace = size_t{32} << 20, kAligned = 256;

Status failed(Device device, const char *what, int error) {
    return device_error(device, error == kAllocationFailed ? StatusCode::kResourceExhausted : StatusCode::kInternal, std::string("cuBLAS: ") + what + " failed with error " + std::to_string(error));
}

/// Stream and workspace are part of a handle's state, so that one thread at a time uses it. Never destroyed: the driver may be gone when
/// the process ends.
struct Handle {
    const cuda::Context context;
    void *handle = nullptr;  ///< until prepared
    std::mutex mutex;

    explicit Handle(cuda::Context c)
        : context(c) {
    }
};

Handle &handle_of(cuda::Context context) {
    static std::mutex &mutex = *new std::mutex;
    static auto &handles = *new std::map<cuda::Context, std::unique_ptr<Handle>>;
    std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<Handle> &handle = handles[context];
    if (handle == nullptr) {
        handle = std::make_unique<Handle>(context);
    }
    return *handle;
}

class Product final : public FrequencyProduct {
public:
    Product(Device device, Handle &handle)
        : device_(device), handle_(handle) {
    }

    const char *name() const override {
        return "cublas";
    }
    size_t workspace_bytes() const override {
        return kWorkspace + kAligned;
    }

    Status prepare(const Sizes &sizes, const Matrix &x, const Matrix &y) override {
        const Status made = make_handle();
        const Result<DeviceRuntime *> runtime = device_runtime(device_);
        if (!made.ok() || !runtime) {
            return !made.ok() ? made : runtime.status();
        }
        // Every frequency multiplies the same x and w; results are of as many frequencies as 64 MB hold.
        const int64_t most = (int64_t{8} << 20) / y.step, count = std::clamp<int64_t>(most, 1, sizes.frequencies);
        const auto reach = [](int64_t rows, int64_t pitch, int64_t columns) { return (rows - 1) * pitch + columns; };
        const auto numbers = [&](int64_t n) { return DeviceBuffer::allocate(device_, static_cast<size_t>(n) * sizeof(Complex)); };
        const Result<DeviceBuffer> x_data = numbers(reach(sizes.rows, x.pitch, sizes.channels)), w = numbers(sizes.outputs * sizes.channels);
        const Result<DeviceBuffer> y_data = numbers((count - 1) * y.step + reach(sizes.rows, y.pitch, sizes.outputs)), work = DeviceBuffer::allocate(device_, workspace_bytes());
        if (!x_data || !w || !y_data || !work) {
            return Status();  // the caller may hold the memory that executions use: they do without, and the first of them loads
        }
        const Status status = multiply({count, sizes.rows, sizes.channels, sizes.outputs}, {x_data->floats(), 0, x.pitch}, w->floats(), 0, {y_data->floats(), y.step, y.pitch}, 1.0f, work->data(), nullptr);
        return status.ok() ? (*runtime)->synchronize(nullptr) : status;
    }

    bool run(const Sizes &sizes, const Matrix &x, const float *w, const Matrix &y, float scale, void *workspace, KernelContext &context) const override {
        if (context.modules != nullptr) {
            return true;
        }
        const StageTimer timer(context.profile, "spectral_product");
        Status status = multiply(sizes, x, w, sizes.outputs * sizes.channels, y, scale, workspace, context.stream);
        if (status.ok() && context.profile != nullptr) {
            status = context.device->synchronize(context.stream);
        }
        return status.ok() || fail(context, status);
    }

private:
    Status make_handle() {
        std::lock_guard<std::mutex> lock(handle_.mutex);
        if (handle_.handle != nullptr) {
            return Status();
        }
        const cuda::Current current(handle_.context);
        void *made = nullptr;
        if (const int error = library().cublasCreate_v2(&made); error != kSuccess) {
            return failed(device_, "cublasCreate", error);
        }
        handle_.handle = made;
        return Status();
    }

    Status multiply(const Sizes &sizes, const Matrix &x, const float *w, int64_t w_step, const Matrix &y, float scale, void *workspace, void *stream) const {
        std::lock_guard<std::mutex> lock(handle_.mutex);
        const cuda::Current current(handle_.context);
        if (const int error = library().cublasSetStream_v2(handle_.handle, static_cast<cuda::Stream>(stream)); error != kSuccess) {
            return failed(device_, "cublasSetStream", error);
        }
        // After the stream, which takes the workspace away.
        const auto address = (reinterpret_cast<uintptr_t>(workspace) + kAligned - 1) / kAligned * kAligned;
        if (const int error = library().cublasSetWorkspace_v2(handle_.handle, reinterpret_cast<void *>(address), kWorkspace); error != kSuccess) {
            return failed(device_, "cublasSetWorkspace", error);
        }
        // cuBLAS has columns one after another: to it w is (c, k), x is (c, n) and y is (k, n).
        const Complex alpha = {scale, 0.0f}, beta = {0.0f, 0.0f};
        const auto i32 = [](int64_t v) { return static_cast<int>(v); };
        constexpr int64_t most = 65535;
        for (int64_t f = 0; f < sizes.frequencies; f += most) {
            const auto at = [&](const float *data, int64_t step) { return reinterpret_cast<const Complex *>(data) + f * step; };
            auto *const to = reinterpret_cast<Complex *>(y.data) + f * y.step;
            const int error = library().cublasCgemmStridedBatched(handle_.handle, kTransposed, kAsItIs, i32(sizes.outputs), i32(sizes.rows), i32(sizes.channels), &alpha, at(w, w_step), i32(sizes.channels), w_step, at(x.data, x.step), i32(x.pitch), x.step, &beta, to, i32(y.pitch), y.step, i32(std::min(most, sizes.frequencies - f)));
            if (error != kSuccess) {
                return failed(device_, "cublasCgemmStridedBatched", error);
            }
        }
        return Status();
    }

    const Device device_;
    Handle &handle_;
};

}  // namespace
}  // namespace cublas

Result<std::unique_ptr<FrequencyProduct>> cublas_product(const DeviceRuntime &device) {
    if (device.native_context() == nullptr) {
        return device_error(device.info().device, StatusCode::kUnsupported, "cuBLAS is for CUDA devices");
    }
    if (!cublas::library().missing.empty()) {
        return device_error(device.info().device, StatusCode::kUnsupported, cublas::library().missing);
    }
    cublas::Handle &handle = cublas::handle_of(static_cast<cuda::Context>(device.native_context()));
    return std::unique_ptr<FrequencyProduct>(std::make_unique<cublas::Product>(device.info().device, handle));
}

}  // namespace fourfold
