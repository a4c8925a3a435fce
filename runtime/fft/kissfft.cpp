// KissFFT (BSD), the permissive choice. It takes 3.5 to 8 times as long as FFTW does (the table in fftw.cpp).
// Source: kiss_fft.h and kiss_fft.c of KissFFT 131.1.0. Only its complex transforms of one dimension are used: kiss_fftndr_alloc
// of Debian's 131.1.0-4.1~deb12u1 fails from planes of about 28x94 up, and its real plans hold scratch that threads cannot
// share. A complex configuration is only read while it executes, so all threads use one.
#include <kissfft/kiss_fft.h>

#include "fft/fft.h"
#include "fourfold/tensor.h"

namespace fourfold {
namespace {

static_assert(sizeof(kiss_fft_cpx) == 2 * sizeof(float), "this needs a KissFFT of single precision");

/// Complex transforms of length n. Source and destination must differ: in place, KissFFT takes memory from the heap.
class KissPass {
public:
    KissPass(int64_t n, bool inverse)
        : n_(n), inverse_(inverse) {
    }

    Status make() {
        const int n = static_cast<int>(n_);
        size_t bytes = 0;
        kiss_fft_alloc(n, inverse_, nullptr, &bytes);
        // A configuration is n twiddle factors and a little more; anything else is a miscalculation.
        const size_t twiddles = static_cast<size_t>(n_) * sizeof(kiss_fft_cpx);
        if (bytes < twiddles || bytes > twiddles + 4096) {
            return Status(StatusCode::kInternal, "KissFFT asks for " + std::to_string(bytes) + " bytes for a transform of " + std::to_string(n_));
        }
        memory_ = AlignedBuffer(bytes);
        if (memory_.data() == nullptr) {
            return Status(StatusCode::kResourceExhausted, "a transform of " + std::to_string(n_) + " needs " + std::to_string(bytes) + " bytes, which could not be had");
        }
        config_ = kiss_fft_alloc(n, inverse_, memory_.data(), &bytes);
        return config_ != nullptr ? Status() : Status(StatusCode::kInternal, "KissFFT cannot make a transform of " + std::to_string(n_));
    }

    /// `count` transforms of contiguous numbers, `from_pitch` and `to_pitch` from one to the next.
    void along(const kiss_fft_cpx *from, int64_t from_pitch, kiss_fft_cpx *to, int64_t to_pitch, int64_t count) const {
        for (int64_t i = 0; i < count; i++) {
            kiss_fft(config_, from + i * from_pitch, to + i * to_pitch);
        }
    }
    /// `count` transforms of numbers `pitch` apart, side by side; each comes out contiguous.
    void across(const kiss_fft_cpx *from, int64_t pitch, kiss_fft_cpx *to, int64_t count) const {
        for (int64_t i = 0; i < count; i++) {
            kiss_fft_stride(config_, from + i, to + i * n_, static_cast<int>(pitch));
        }
    }

private:
    const int64_t n_;
    const bool inverse_;
    AlignedBuffer memory_;
    kiss_fft_cfg config_ = nullptr;
};

class KissPlane final : public PlaneFft {
public:
    KissPlane(int64_t n0, int64_t n1)
        : PlaneFft(n0, n1, FftBackend::kKissFft), rows_(n1 / 2, false), columns_(n0, false), back_columns_(n0, true), back_rows_(n1 / 2, true) {
    }

    Status make() {
        for (KissPass *pass : {&rows_, &columns_, &back_columns_, &back_rows_}) {
            const Status status = pass->make();
            if (!status.ok()) {
                return status;
            }
        }
        return Status();
    }

private:
    void forward_halves(float *plane, std::byte *scratch) const override {
        auto *const p = reinterpret_cast<kiss_fft_cpx *>(plane), *const s = reinterpret_cast<kiss_fft_cpx *>(scratch);
        rows_.along(p, n1 / 2, s, scratch_pitch(n1 / 2), n0);
        columns_.across(s, scratch_pitch(n1 / 2), p, n1 / 2);
    }
    void inverse_halves(float *plane, std::byte *scratch) const override {
        auto *const p = reinterpret_cast<kiss_fft_cpx *>(plane), *const s = reinterpret_cast<kiss_fft_cpx *>(scratch);
        back_columns_.along(p, n0, s, scratch_pitch(n0), n1 / 2);
        back_rows_.across(s, scratch_pitch(n0), p, n0);
    }

    KissPass rows_, columns_, back_columns_, back_rows_;
};

double size_penalty(int64_t n, bool last) {
    // Other factors take memory from the heap in every butterfly, and so does length 1.
    if (n < 2 || (last && n % 2 != 0) || strip_factors(n, {2, 3, 5}) != 1) {
        return 0.0;
    }
    // The real axis becomes a complex one of half the length, which must not be 1 either.
    if (last && n < 4) {
        return 0.0;
    }
    return strip_factors(n, {2}) == 1 ? 3.0 : 3.6;
}

Result<std::shared_ptr<const PlaneFft>> plan(int64_t n0, int64_t n1, FftRigor) {
    if (n0 > (int64_t{1} << 30) || n1 > (int64_t{1} << 30) || size_penalty(n0, false) == 0.0 || size_penalty(n1, true) == 0.0) {
        return Status(StatusCode::kUnsupported, "KissFFT is used for sizes of factors 2, 3 and 5 up to 2^30, from 2 rows and 4 columns on and even along rows; the transform is " + std::to_string(n0) + "x" + std::to_string(n1));
    }
    auto plane = std::make_shared<KissPlane>(n0, n1);
    const Status status = plane->make();
    if (!status.ok()) {
        return status;
    }
    return std::shared_ptr<const PlaneFft>(std::move(plane));
}

}  // namespace

const FftBackendEntry kKissFftEntry = {FftBackend::kKissFft, "kissfft", 6.0, size_penalty, plan};

}  // namespace fourfold
