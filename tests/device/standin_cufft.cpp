// A stand-in for cuFFT beside the stand-in for the driver: libcufft.so.12, whose transforms are recorded and checked, and compute nothing.
// They must be in place, or out of place with spectra frequency by frequency, with a work area of the caller's, all of it memory of the
// device.
#include <map>

#include "device/cufft_library.h"
#include "device/standin_library.h"

using fourfold::test::state;

namespace {

constexpr int kInvalidPlan = 1, kInvalidValue = 4;

struct Made {
    bool own_work_area = true;
    long long planes = 0, distance = 0, frequencies = 0;
    long long step = 0;  ///< of spectra, out of place; 0: in place
    int type = 0;
    size_t work_bytes = 0;
    void *work = nullptr;
    const void *stream = nullptr;
};

std::map<int, Made> &plans = *new std::map<int, Made>;

int record(const char *name, const void *stream = nullptr) {
    return fourfold::test::record(name, kInvalidValue, stream);
}

int execute(const char *name, int plan, int type, const void *in, const void *out) {
    std::lock_guard<std::mutex> lock(state().mutex);
    const auto found = plans.find(plan);
    if (found == plans.end() || found->second.type != type) {
        return kInvalidPlan;
    }
    const Made &made = found->second;
    if (const int error = record(name, made.stream); error != fourfold::cufft::kSuccess) {
        return error;
    }
    const auto on_device = [&](const void *data, long long bytes) { return state().on_device(reinterpret_cast<uintptr_t>(data), static_cast<size_t>(bytes)); };
    const bool forward = made.type == fourfold::cufft::kR2C;
    const long long spectra_bytes = made.step > 0 ? 8 * (made.step * (made.frequencies - 1) + made.planes) : 4 * made.planes * made.distance;
    const bool valid = (in == out) == (made.step == 0) && !made.own_work_area && on_device(forward ? in : out, 4 * made.planes * made.distance) && on_device(forward ? out : in, spectra_bytes) && on_device(made.work, static_cast<long long>(made.work_bytes));
    return valid ? fourfold::cufft::kSuccess : kInvalidValue;
}

}  // namespace

#define FOURFOLD_EXPORT extern "C" __attribute__((visibility("default")))
#define FOURFOLD_DECLARE(name, result, arguments) FOURFOLD_EXPORT result name arguments;
namespace cuda = fourfold::cuda;
FOURFOLD_CUFFT_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE

FOURFOLD_EXPORT int cufftCreate(int *plan) {
    std::lock_guard<std::mutex> lock(state().mutex);
    static int next = 1;
    if (const int error = record("cufftCreate"); error != fourfold::cufft::kSuccess) {
        return error;
    }
    *plan = next++;
    plans[*plan] = Made();
    return fourfold::cufft::kSuccess;
}
FOURFOLD_EXPORT int cufftDestroy(int plan) {
    std::lock_guard<std::mutex> lock(state().mutex);
    return plans.erase(plan) == 1 ? record("cufftDestroy") : kInvalidPlan;
}
FOURFOLD_EXPORT int cufftSetAutoAllocation(int plan, int automatic) {
    std::lock_guard<std::mutex> lock(state().mutex);
    plans.at(plan).own_work_area = automatic != 0;
    return fourfold::cufft::kSuccess;
}
FOURFOLD_EXPORT int cufftMakePlanMany64(int plan, int rank, long long *n, long long *in, long long in_stride, long long in_distance, long long *out, long long out_stride, long long out_distance, int type, long long planes, size_t *work_bytes) {
    std::lock_guard<std::mutex> lock(state().mutex);
    if (const int error = record("cufftMakePlanMany64"); error != fourfold::cufft::kSuccess) {
        return error;
    }
    const bool forward = type == fourfold::cufft::kR2C;
    const long long *real = forward ? in : out, *complex = forward ? out : in;
    const long long real_distance = forward ? in_distance : out_distance, complex_distance = forward ? out_distance : in_distance;
    const long long real_stride = forward ? in_stride : out_stride, step = forward ? out_stride : in_stride;
    // What cufft.h asks of transforms in place; and of those out of place that no two spectra meet.
    const bool in_place = step == 1 && real_distance == 2 * complex_distance, apart = complex_distance == 1 && step >= planes;
    if (rank != 2 || real_stride != 1 || !(in_place || apart) || complex[1] != n[1] / 2 + 1 || real[1] != 2 * complex[1] || real_distance < n[0] * real[1] || planes < 1) {
        return kInvalidValue;
    }
    Made &made = plans.at(plan);
    made.planes = planes;
    made.distance = real_distance;
    made.frequencies = n[0] * complex[1];
    made.step = in_place ? 0 : step;
    made.type = type;
    made.work_bytes = *work_bytes = static_cast<size_t>(planes * n[0] * complex[1]) * 8;
    return fourfold::cufft::kSuccess;
}
FOURFOLD_EXPORT int cufftSetWorkArea(int plan, void *work) {
    std::lock_guard<std::mutex> lock(state().mutex);
    plans.at(plan).work = work;
    return fourfold::cufft::kSuccess;
}
FOURFOLD_EXPORT int cufftSetStream(int plan, cuda::Stream stream) {
    std::lock_guard<std::mutex> lock(state().mutex);
    plans.at(plan).stream = stream;
    return fourfold::cufft::kSuccess;
}
FOURFOLD_EXPORT int cufftExecR2C(int plan, float *in, void *out) {
    return execute("cufftExecR2C", plan, fourfold::cufft::kR2C, in, out);
}
FOURFOLD_EXPORT int cufftExecC2R(int plan, void *in, float *out) {
    return execute("cufftExecC2R", plan, fourfold::cufft::kC2R, in, out);
}
