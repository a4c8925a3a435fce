// FFTW3, single precision. GPL: a program that links it is bound by that licence; builds without it use KissFFT.
// Source: FFTW 3.3.10 manual, sections 4.4.1 (advanced complex plans), 4.6 (new-array execute), 5.4 (thread safety).
//
// FFTW's own in-place r2c and c2r plans of two dimensions take memory from the heap while they execute (its buffered solvers,
// at 60, 72, 320, 1000 and elsewhere hundreds of times a plane) unless FFTW_NO_BUFFERING bars them. So planes are transformed
// as complex ones of half the width (fft.h), in two passes of one dimension out of place, plane -> scratch -> plane. Forward
// and back, n x n, relative to FFTW's in-place 2-D plans: AMD EPYC (Zen 5), one thread, 2026-11-20, interleaved, minimum of 25:
//
//     n                   16    32    48    60    64    72   128   256   320   512  1000  1024  2048
//     kEstimate
//     FFTW's 2-D, us    0.50  2.30  8.81  30.1  11.2  27.8  52.8   199   386   804  4667  4762 39161
//     no buffering      1.00  1.01  1.09  0.59  1.00  1.01  1.00  1.00  1.14  0.99  1.15  1.03  0.97
//     here              0.56  0.42  0.49  0.26  0.34  0.42  0.36  0.43  0.38  0.50  0.65  0.46  0.39
//     here, ISA generic 0.63  0.47  0.52  0.28  0.41  0.45  0.41  0.49  0.45  0.57  0.68  0.44  0.41
//     KissFFT           3.32  3.13  2.13  0.90  2.86  1.80  2.73  3.27  2.61  3.53  2.59  2.83  1.83
//     kMeasure
//     FFTW's 2-D, us    0.51  2.41  6.59  10.2  11.7  12.4  38.9   152   245   690  3631  3090
//     no buffering      1.00  1.00  1.32  1.52  0.98  1.64  1.10  1.18  1.21  1.06  1.53  1.39
//     here              0.57  0.41  0.56  0.73  0.34  0.80  0.45  0.52  0.57  0.55  0.72  0.77
//
// What did not help (kEstimate, relative to the same at 64, 320, 1000): rows r2c in place and columns through blocks of 16
// (0.94, 0.91, 0.91) or 8 (0.99, 0.90, 0.89); rows r2c into the scratch and columns from it (0.95, 0.60, 0.94). Relative to
// here: the inverse with strided stores instead of strided loads (1.06, 1.4, 1.14; 1.5 at 1024), blocks of 4 or 16 (1.0), all
// columns at once (1.05), split() fused with pairs of column blocks (1.0), a pitch of 4 KiB (over 5 at 1000), FFTW_UNALIGNED
// (2 to 4), FFTW_DESTROY_INPUT (1.0), padded rows as FFTW's in-place plans have them (1.0, 1.1, 1.05).
#include <fftw3.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "fft/fft.h"
#include "fourfold/tensor.h"

namespace fourfold {
namespace {

/// Only fftw_execute is thread-safe; everything else in the library goes through this lock.
std::mutex &planner_mutex() {
    static std::mutex *mutex = new std::mutex;
    return *mutex;
}

constexpr int64_t kLongest = int64_t{1} << 30;
/// Columns, or rows, that one strided pass takes along: whole cache lines of the scratch.
constexpr int64_t kBlock = 8;

/// Complex transforms of one length: `count` of them, `block` to an execution; the last execution's may be fewer.
struct Pass {
    fftwf_plan whole = nullptr, rest = nullptr;
    int64_t count = 0, block = 0;
    int64_t from_step = 0, to_step = 0;  ///< floats from one transform's start to the next's

    void run(float *from, float *to) const {
        for (int64_t i = 0; i < count; i += block) {
            const fftwf_plan plan = count - i >= block ? whole : rest;
            fftwf_execute_dft(plan, reinterpret_cast<fftwf_complex *>(from + i * from_step), reinterpret_cast<fftwf_complex *>(to + i * to_step));
        }
    }
};

/// Whether executing it takes memory from the heap, as these of FFTW's solvers do (dft/*.c of FFTW 3.3.10).
bool allocates(fftwf_plan plan) {
    char *text = fftwf_sprint_plan(plan);
    bool found = text == nullptr;
    for (const char *solver : {"-buffered", "-genericbuf", "-bluestein", "-rader", "-transpose"}) {
        found = found || std::strstr(text, solver) != nullptr;
    }
    std::free(text);
    return found;
}

/// Each direction goes first along what is contiguous, into the scratch, then across the scratch's rows, into the plane.
class FftwPlane final : public PlaneFft {
public:
    FftwPlane(int64_t n0, int64_t n1)
        : PlaneFft(n0, n1, FftBackend::kFftw) {
    }
    ~FftwPlane() override {
        std::lock_guard<std::mutex> lock(planner_mutex());
        for (const Pass *pass : {&rows_, &columns_, &back_columns_, &back_rows_}) {
            fftwf_destroy_plan(pass->whole);
            fftwf_destroy_plan(pass->rest);
        }
    }

    Status plan(FftRigor rigor) {
        // Planning with effort writes to its arrays, so it gets arrays of its own; estimating only looks at their addresses.
        const bool effort = rigor != FftRigor::kEstimate;
        AlignedBuffer plane(effort ? static_cast<size_t>(plane_floats()) * sizeof(float) : kAlignment);
        AlignedBuffer scratch(effort ? scratch_bytes() : kAlignment);
        if (plane.data() == nullptr || scratch.data() == nullptr) {
            return Status(StatusCode::kResourceExhausted, "planning the transform needs " + std::to_string(plane.bytes() + scratch.bytes()) + " bytes, which could not be had");
        }
        auto *const p = static_cast<fftwf_complex *>(plane.data());
        auto *const s = static_cast<fftwf_complex *>(scratch.data());
        const unsigned flags = FFTW_NO_BUFFERING | (rigor == FftRigor::kPatient ? FFTW_PATIENT : effort ? FFTW_MEASURE : FFTW_ESTIMATE);
        const int64_t half = n1 / 2, row = scratch_pitch(half), column = scratch_pitch(n0);
        std::lock_guard<std::mutex> lock(planner_mutex());
        const bool planned = along(rows_, half, n0, p, half, s, row, FFTW_FORWARD, flags) && across(columns_, n0, half, s, row, p, FFTW_FORWARD, flags) && along(back_columns_, n0, half, p, n0, s, column, FFTW_BACKWARD, flags) && across(back_rows_, half, n0, s, column, p, FFTW_BACKWARD, flags);
        return planned ? Status() : Status(StatusCode::kInternal, "FFTW has no plan for " + std::to_string(n0) + "x" + std::to_string(n1) + " that needs no memory while it executes");
    }

private:
    void forward_halves(float *plane, std::byte *scratch) const override {
        rows_.run(plane, reinterpret_cast<float *>(scratch));
        columns_.run(reinterpret_cast<float *>(scratch), plane);
    }
    void inverse_halves(float *plane, std::byte *scratch) const override {
        back_columns_.run(plane, reinterpret_cast<float *>(scratch));
        back_rows_.run(reinterpret_cast<float *>(scratch), plane);
    }

    /// `count` transforms of contiguous numbers.
    static bool along(Pass &pass, int64_t n, int64_t count, fftwf_complex *from, int64_t from_pitch, fftwf_complex *to, int64_t to_pitch, int sign, unsigned flags) {
        pass.count = pass.block = count;
        pass.whole = plan_one(n, count, from, 1, from_pitch, to, to_pitch, sign, flags);
        return pass.whole != nullptr;
    }
    /// `count` transforms of numbers `pitch` apart, side by side; each comes out contiguous, the next right behind it. (Even
    /// lengths at odd distances crash: FFTW 3.3.10 takes codelets of aligned stores there, as n2bv_8_avx.)
    static bool across(Pass &pass, int64_t n, int64_t count, fftwf_complex *from, int64_t pitch, fftwf_complex *to, int sign, unsigned flags) {
        pass.count = count;
        pass.block = std::min(kBlock, count);
        pass.from_step = 2;
        pass.to_step = 2 * n;
        pass.whole = plan_one(n, pass.block, from, pitch, 1, to, n, sign, flags);
        if (count % pass.block != 0) {
            pass.rest = plan_one(n, count % pass.block, from, pitch, 1, to, n, sign, flags);
        }
        return pass.whole != nullptr && (count % pass.block == 0 || pass.rest != nullptr);
    }
    static fftwf_plan plan_one(int64_t n, int64_t count, fftwf_complex *from, int64_t stride, int64_t from_pitch, fftwf_complex *to, int64_t to_pitch, int sign, unsigned flags) {
        const int size = static_cast<int>(n);
        for (unsigned f : {flags, FFTW_NO_BUFFERING | FFTW_ESTIMATE}) {
            const fftwf_plan plan = fftwf_plan_many_dft(1, &size, static_cast<int>(count), from, nullptr, static_cast<int>(stride), static_cast<int>(from_pitch), to, nullptr, 1, static_cast<int>(to_pitch), sign, f);
            if (plan == nullptr || !allocates(plan)) {
                return plan;
            }
            fftwf_destroy_plan(plan);
        }
        return nullptr;
    }

    Pass rows_, columns_, back_columns_, back_rows_;
};

double size_penalty(int64_t n, bool last) {
    if (last && n % 2 != 0) {
        return 0.0;
    }
    const int64_t rest = strip_factors(n, {2, 3, 5, 7});
    if (rest != 1 && rest != 11 && rest != 13) {
        return 0.0;
    }
    return strip_factors(n, {2}) == 1 ? 1.0 : strip_factors(n, {2, 3, 5}) == 1 ? 1.12 : rest == 1 ? 1.25 : 1.6;
}

Result<std::shared_ptr<const PlaneFft>> plan(int64_t n0, int64_t n1, FftRigor rigor) {
    if (n0 < 1 || n1 < 2 || n1 % 2 != 0 || n0 > kLongest || n1 > kLongest) {
        return Status(StatusCode::kUnsupported, "FFTW's plans take sizes up to 2^30, here even along rows; the transform is " + std::to_string(n0) + "x" + std::to_string(n1));
    }
    auto plane = std::make_shared<FftwPlane>(n0, n1);
    const Status status = plane->plan(rigor);
    if (!status.ok()) {
        return status;
    }
    return std::shared_ptr<const PlaneFft>(std::move(plane));
}

}  // namespace

const FftBackendEntry kFftwEntry = {FftBackend::kFftw, "fftw", 1.0, size_penalty, plan};

Result<std::string> export_fft_wisdom() {
    std::lock_guard<std::mutex> lock(planner_mutex());
    char *text = fftwf_export_wisdom_to_string();
    if (text == nullptr) {
        return Status(StatusCode::kInternal, "FFTW could not export its wisdom");
    }
    std::string wisdom = text;
    std::free(text);  // FFTW's manual, 4.7: allocated with malloc
    return wisdom;
}

Status import_fft_wisdom(const std::string &wisdom) {
    std::lock_guard<std::mutex> lock(planner_mutex());
    if (fftwf_import_wisdom_from_string(wisdom.c_str()) == 0) {
        return Status(StatusCode::kInvalidArgument, "FFTW refused the wisdom (" + std::to_string(wisdom.size()) + " bytes): not its format, or of another version");
    }
    return Status();
}

}  // namespace fourfold
