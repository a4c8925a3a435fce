#include "fft/fft.h"

namespace fourfold {

int64_t strip_factors(int64_t n, std::initializer_list<int64_t> primes) {
    for (int64_t p : primes) {
        while (n % p == 0) {
            n /= p;
        }
    }
    return n;
}

const std::vector<FftBackendEntry> &fft_backend_entries() {
    static const std::vector<FftBackendEntry> list = {
#if FOURFOLD_HAVE_FFTW
        kFftwEntry,
#endif
#if FOURFOLD_HAVE_KISSFFT
        kKissFftEntry,
#endif
    };
    return list;
}

std::vector<FftBackend> fft_backends() {
    std::vector<FftBackend> list;
    for (const FftBackendEntry &e : fft_backend_entries()) {
        list.push_back(e.backend);
    }
    return list;
}

#if !FOURFOLD_HAVE_FFTW
Result<std::string> export_fft_wisdom() {
    return Status(StatusCode::kUnsupported, "this build has no FFTW, so there is no wisdom");
}

Status import_fft_wisdom(const std::string &) {
    return Status(StatusCode::kUnsupported, "this build has no FFTW, so wisdom cannot be used");
}
#endif

}  // namespace fourfold
