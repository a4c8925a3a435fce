#include "fft/fft.h"

#include <cmath>
#include <cstring>

#include "machine.h"

namespace fourfold {
namespace {

typedef float Float4 __attribute__((vector_size(16)));
typedef float Float8 __attribute__((vector_size(32)));

/// In place, for 0 <= u < count, with a = p[u] and b = conj(q[-u]): p[u] = h*(a + b) + c*(a - b), q[-u] = conj(h*(a + b) - c*(a - b)).
/// Both are n complex numbers, cyclic. p == q wants count = n/2 + 1: then no step loads what an earlier one stored.
struct Mix {
    float h, cr, ci;

    void one(float *p, float *q) const {
        const float br = q[0], bi = -q[1];
        const float er = h * (p[0] + br), ei = h * (p[1] + bi), dr = p[0] - br, di = p[1] - bi;
        const float tr = cr * dr - ci * di, ti = cr * di + ci * dr;
        p[0] = er + tr;
        p[1] = ei + ti;
        q[0] = er - tr;
        q[1] = ti - ei;
    }

    /// Wants a vector as wide as the registers: compilers take the shuffles of wider ones apart.
    template <typename Vector>
    [[gnu::always_inline]] inline void all(float *p, float *q, int64_t n, int64_t count) const {
        constexpr int64_t kStep = sizeof(Vector) / (2 * sizeof(float));
        Vector conjugate;
        if constexpr (kStep == 4) {
            conjugate = Vector{1, -1, 1, -1, 1, -1, 1, -1};
        } else {
            conjugate = Vector{1, -1, 1, -1};
        }
        const Vector minus_ci = -ci * conjugate;
        one(p, q);
        int64_t u = 1;
        for (; u + kStep <= count; u += kStep) {
            float *const pu = p + 2 * u, *const qu = q + 2 * (n - u - kStep + 1);
            Vector a, b, turned;
            std::memcpy(&a, pu, sizeof(a));
            std::memcpy(&b, qu, sizeof(b));
            if constexpr (kStep == 4) {
                b = __builtin_shufflevector(b, b, 6, 7, 4, 5, 2, 3, 0, 1) * conjugate;
                turned = __builtin_shufflevector(a - b, a - b, 1, 0, 3, 2, 5, 4, 7, 6);
            } else {
                b = __builtin_shufflevector(b, b, 2, 3, 0, 1) * conjugate;
                turned = __builtin_shufflevector(a - b, a - b, 1, 0, 3, 2);
            }
            const Vector e = h * (a + b), t = cr * (a - b) + minus_ci * turned;
            a = e + t;
            b = (e - t) * conjugate;
            if constexpr (kStep == 4) {
                b = __builtin_shufflevector(b, b, 6, 7, 4, 5, 2, 3, 0, 1);
            } else {
                b = __builtin_shufflevector(b, b, 2, 3, 0, 1);
            }
            std::memcpy(pu, &a, sizeof(a));
            std::memcpy(qu, &b, sizeof(b));
        }
        for (; u < count; u++) {
            one(p + 2 * u, q + 2 * (n - u));
        }
    }
};

using MixFunction = void (*)(const Mix &mix, float *p, float *q, int64_t n, int64_t count);

void mix_generic(const Mix &mix, float *p, float *q, int64_t n, int64_t count) {
    mix.all<Float4>(p, q, n, count);
}

#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] void mix_avx2(const Mix &mix, float *p, float *q, int64_t n, int64_t count) {
    mix.all<Float8>(p, q, n, count);
}
#endif

MixFunction mix_function() {
#if defined(__x86_64__)
    static const MixFunction function = best_isa() == Isa::kGeneric ? mix_generic : mix_avx2;
    return function;
#else
    return mix_generic;
#endif
}

}  // namespace

PlaneFft::PlaneFft(int64_t n0, int64_t n1, FftBackend backend)
    : n0(n0), n1(n1), backend(backend) {
    for (int64_t v = 0; v <= n1 / 4; v++) {
        const double angle = -2.0 * M_PI * static_cast<double>(v) / static_cast<double>(n1);
        twiddles_.push_back(static_cast<float>(std::cos(angle)));
        twiddles_.push_back(static_cast<float>(std::sin(angle)));
    }
}

void PlaneFft::split(float *plane) const {
    const MixFunction mix = mix_function();
    const int64_t half = n1 / 2;
    // Columns 0 and n1/2 both come of Z's column 0.
    std::copy_n(plane, 2 * n0, plane + 2 * half * n0);
    for (int64_t v = 0; 2 * v <= half; v++) {
        float *p = plane + 2 * v * n0, *q = plane + 2 * (half - v) * n0;
        mix({0.5f, 0.5f * twiddles_[2 * v + 1], -0.5f * twiddles_[2 * v]}, p, q, n0, p == q ? n0 / 2 + 1 : n0);
    }
}

void PlaneFft::join(float *plane) const {
    const MixFunction mix = mix_function();
    const int64_t half = n1 / 2;
    for (int64_t v = 0; 2 * v <= half; v++) {
        float *p = plane + 2 * v * n0, *q = plane + 2 * (half - v) * n0;
        mix({1.0f, twiddles_[2 * v + 1], twiddles_[2 * v]}, p, q, n0, p == q ? n0 / 2 + 1 : n0);
    }
}

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
