// FFTW3, single precision. GPL: a program that links it is bound by that licence; builds without it use KissFFT.
// Source: FFTW 3.3.10 manual, sections 4.4 (real-data plans), 4.6 (new-array execute), 5.4 (thread safety).
#include <fftw3.h>

#include <climits>
#include <cmath>
#include <cstdlib>
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

class FftwPlane final : public PlaneFft {
public:
    FftwPlane(int64_t rows, int64_t columns, fftwf_plan forward, fftwf_plan inverse)
        : forward_(forward), inverse_(inverse) {
        n0 = rows;
        n1 = columns;
        backend = FftBackend::kFftw;
    }
    ~FftwPlane() override {
        std::lock_guard<std::mutex> lock(planner_mutex());
        fftwf_destroy_plan(forward_);
        fftwf_destroy_plan(inverse_);
    }

    int64_t row_floats() const override {
        return 2 * (n1 / 2 + 1);
    }
    size_t scratch_bytes() const override {
        return 0;
    }
    void prepare_scratch(std::byte *) const override {
    }
    void forward(float *plane, std::byte *) const override {
        fftwf_execute_dft_r2c(forward_, plane, reinterpret_cast<fftwf_complex *>(plane));
    }
    void inverse(float *plane, std::byte *) const override {
        fftwf_execute_dft_c2r(inverse_, reinterpret_cast<fftwf_complex *>(plane), plane);
    }

private:
    const fftwf_plan forward_, inverse_;
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
    if (n0 > INT_MAX || n1 > INT_MAX) {
        return Status(StatusCode::kUnsupported, "FFTW's plans take sizes up to 2^31 - 1; the transform is " + std::to_string(n0) + "x" + std::to_string(n1));
    }
    const unsigned flags = rigor == FftRigor::kPatient ? FFTW_PATIENT : rigor == FftRigor::kMeasure ? FFTW_MEASURE : FFTW_ESTIMATE;
    // Planning with effort writes to its arrays, so it gets arrays of its own; estimating only looks at their alignment.
    const int64_t floats = n0 * 2 * (n1 / 2 + 1);
    AlignedBuffer scratch(rigor == FftRigor::kEstimate ? kAlignment : static_cast<size_t>(floats) * sizeof(float));
    if (scratch.data() == nullptr) {
        return Status(StatusCode::kResourceExhausted, "planning the transform needs " + std::to_string(floats * 4) + " bytes, which could not be had");
    }
    auto *real = static_cast<float *>(scratch.data());
    auto *complex = reinterpret_cast<fftwf_complex *>(real);
    std::lock_guard<std::mutex> lock(planner_mutex());
    const fftwf_plan forward = fftwf_plan_dft_r2c_2d(static_cast<int>(n0), static_cast<int>(n1), real, complex, flags);
    const fftwf_plan inverse = fftwf_plan_dft_c2r_2d(static_cast<int>(n0), static_cast<int>(n1), complex, real, flags | FFTW_DESTROY_INPUT);
    if (forward == nullptr || inverse == nullptr) {
        fftwf_destroy_plan(forward);
        fftwf_destroy_plan(inverse);
        return Status(StatusCode::kInternal, "FFTW has no plan for " + std::to_string(n0) + "x" + std::to_string(n1));
    }
    return std::shared_ptr<const PlaneFft>(std::make_shared<FftwPlane>(n0, n1, forward, inverse));
}

}  // namespace

const FftBackendEntry kFftwEntry = {FftBackend::kFftw, "fftw", size_penalty, plan};

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
