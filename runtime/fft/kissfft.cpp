// KissFFT (BSD), the permissive choice. About a third of FFTW's speed.
// Source: kiss_fftndr.h of KissFFT 131.1.0; its plans hold scratch, so each thread makes one inside its own workspace.
#include <kissfft/kiss_fftndr.h>

#include <climits>

#include "fft/fft.h"

namespace fourfold {
namespace {

constexpr size_t kCfgAlignment = 64;

size_t cfg_bytes(const int (&dims)[2], int inverse) {
    size_t bytes = 0;
    kiss_fftndr_alloc(dims, 2, inverse, nullptr, &bytes);
    return (bytes + kCfgAlignment - 1) / kCfgAlignment * kCfgAlignment;
}

class KissPlane final : public PlaneFft {
public:
    KissPlane(int64_t rows, int64_t columns)
        : dims_{static_cast<int>(rows), static_cast<int>(columns)} {
        n0 = rows;
        n1 = columns;
        backend = FftBackend::kKissFft;
        forward_bytes_ = cfg_bytes(dims_, 0);
        inverse_bytes_ = cfg_bytes(dims_, 1);
    }

    int64_t row_floats() const override {
        return n1;
    }
    size_t scratch_bytes() const override {
        return forward_bytes_ + inverse_bytes_;
    }
    void prepare_scratch(std::byte *scratch) const override {
        size_t bytes = forward_bytes_;
        kiss_fftndr_alloc(dims_, 2, 0, scratch, &bytes);
        bytes = inverse_bytes_;
        kiss_fftndr_alloc(dims_, 2, 1, scratch + forward_bytes_, &bytes);
    }
    // In place is safe: kiss_fftndr reads all of its input into its own scratch before it writes.
    void forward(float *plane, std::byte *scratch) const override {
        kiss_fftndr(reinterpret_cast<kiss_fftndr_cfg>(scratch), plane, reinterpret_cast<kiss_fft_cpx *>(plane));
    }
    void inverse(float *plane, std::byte *scratch) const override {
        kiss_fftndri(reinterpret_cast<kiss_fftndr_cfg>(scratch + forward_bytes_), reinterpret_cast<const kiss_fft_cpx *>(plane), plane);
    }

private:
    const int dims_[2];
    size_t forward_bytes_, inverse_bytes_;
};

double size_penalty(int64_t n, bool last) {
    // Other factors allocate memory in every butterfly, and so does length 1.
    if (n < 2 || (last && n % 2 != 0) || strip_factors(n, {2, 3, 5}) != 1) {
        return 0.0;
    }
    // The real axis runs as a complex transform of half the length, which must not be 1 either.
    if (last && n < 4) {
        return 0.0;
    }
    return strip_factors(n, {2}) == 1 ? 3.0 : 3.6;
}

Result<std::shared_ptr<const PlaneFft>> plan(int64_t n0, int64_t n1, FftRigor) {
    if (n0 > INT_MAX || n1 > INT_MAX) {
        return Status(StatusCode::kUnsupported, "KissFFT takes sizes up to 2^31 - 1; the transform is " + std::to_string(n0) + "x" + std::to_string(n1));
    }
    return std::shared_ptr<const PlaneFft>(std::make_shared<KissPlane>(n0, n1));
}

}  // namespace

const FftBackendEntry kKissFftEntry = {FftBackend::kKissFft, "kissfft", size_penalty, plan};

}  // namespace fourfold
