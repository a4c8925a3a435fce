// A stand-in for cuBLAS beside the stand-in for the driver: libcublas.so.13. Its product is computed, plainly, on the stand-in's memory;
// workspace and matrices must be memory of the device.
#include <complex>
#include <map>
#include <set>
#include <tuple>

#include "device/cublas_library.h"
#include "device/standin_library.h"

using fourfold::cublas::Complex;
using fourfold::test::state;

namespace {

namespace cublas = fourfold::cublas;
constexpr int kNotInitialised = 1, kInvalidValue = 7;

struct Made {
    const void *stream = nullptr;
    void *workspace = nullptr;  ///< null: its own
    size_t bytes = 0;
};

std::map<void *, Made> &handles = *new std::map<void *, Made>;

int record(const char *name, const void *stream = nullptr) {
    return fourfold::test::record(name, kInvalidValue, stream);
}

}  // namespace

#define FOURFOLD_EXPORT extern "C" __attribute__((visibility("default")))
#define FOURFOLD_DECLARE(name, result, arguments) FOURFOLD_EXPORT result name arguments;
namespace cuda = fourfold::cuda;
FOURFOLD_CUBLAS_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE

FOURFOLD_EXPORT int cublasCreate_v2(void **handle) {
    std::lock_guard<std::mutex> lock(state().mutex);
    if (const int error = record("cublasCreate"); error != cublas::kSuccess) {
        return error;
    }
    *handle = new char;
    handles[*handle] = Made();
    return cublas::kSuccess;
}
FOURFOLD_EXPORT int cublasDestroy_v2(void *handle) {
    std::lock_guard<std::mutex> lock(state().mutex);
    return handles.erase(handle) == 1 ? record("cublasDestroy") : kNotInitialised;
}
FOURFOLD_EXPORT int cublasSetStream_v2(void *handle, cuda::Stream stream) {
    std::lock_guard<std::mutex> lock(state().mutex);
    Made &made = handles.at(handle);
    made.stream = stream;
    made.workspace = nullptr;  // as the real one does
    return record("cublasSetStream", stream);
}
FOURFOLD_EXPORT int cublasSetWorkspace_v2(void *handle, void *workspace, size_t bytes) {
    std::lock_guard<std::mutex> lock(state().mutex);
    Made &made = handles.at(handle);
    made.workspace = workspace;
    made.bytes = bytes;
    const int error = record("cublasSetWorkspace", made.stream);
    return error == cublas::kSuccess && reinterpret_cast<uintptr_t>(workspace) % 256 != 0 ? kInvalidValue : error;
}
FOURFOLD_EXPORT int cublasCgemmStridedBatched(void *handle, int a_as, int b_as, int m, int n, int k, const Complex *alpha, const Complex *a, int a_pitch, long long a_step, const Complex *b, int b_pitch, long long b_step, const Complex *beta, Complex *c, int c_pitch, long long c_step, int count) {
    std::lock_guard<std::mutex> lock(state().mutex);
    const Made &made = handles.at(handle);
    if (const int error = record("cublasCgemmStridedBatched", made.stream); error != cublas::kSuccess) {
        return error;
    }
    // A kernel for such matrices, at its first call.
    static std::set<std::tuple<int, int, int, int, int, int>> &loaded = *new std::set<std::tuple<int, int, int, int, int, int>>;
    if (loaded.emplace(m, n, k, a_pitch, b_pitch, c_pitch).second) {
        record("cublas loads a kernel");
    }
    const auto on_device = [&](const void *data, long long numbers) { return state().on_device(reinterpret_cast<uintptr_t>(data), static_cast<size_t>(numbers) * sizeof(Complex)); };
    const bool valid = a_as == cublas::kTransposed && b_as == cublas::kAsItIs && m > 0 && n > 0 && k > 0 && count > 0 && count <= 65535 && a_pitch >= k && b_pitch >= k && c_pitch >= m && made.workspace != nullptr &&
                       state().on_device(reinterpret_cast<uintptr_t>(made.workspace), made.bytes) && on_device(a, a_step * (count - 1) + static_cast<long long>(a_pitch) * (m - 1) + k) &&
                       on_device(b, b_step * (count - 1) + static_cast<long long>(b_pitch) * (n - 1) + k) && on_device(c, c_step * (count - 1) + static_cast<long long>(c_pitch) * (n - 1) + m);
    if (!valid || beta->re != 0.0f || beta->im != 0.0f) {
        return kInvalidValue;
    }
    a = state().content(a);
    b = state().content(b);
    c = state().content(c);
    const auto value = [](const Complex &z) { return std::complex<double>(z.re, z.im); };
    for (int f = 0; f < count; f++) {
        for (int j = 0; j < n; j++) {
            for (int i = 0; i < m; i++) {
                std::complex<double> sum = 0.0;
                for (int l = 0; l < k; l++) {
                    sum += value(a[f * a_step + static_cast<long long>(i) * a_pitch + l]) * value(b[f * b_step + static_cast<long long>(j) * b_pitch + l]);
                }
                sum *= value(*alpha);
                c[f * c_step + static_cast<long long>(j) * c_pitch + i] = {static_cast<float>(sum.real()), static_cast<float>(sum.imag())};
            }
        }
    }
    return cublas::kSuccess;
}
