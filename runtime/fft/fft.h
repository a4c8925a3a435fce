// One small interface to the libraries that transform whole planes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fourfold/plan.h"

namespace fourfold {

/// In-place real-to-complex transforms of planes of n0 x n1 floats, and back, unscaled:
///
///     X[u,v] = sum_{y,x} x[y,x] exp(-2 pi i (u*y/n0 + v*x/n1)),   0 <= u < n0, 0 <= v <= n1/2   (the half axis is the last)
///     inverse(forward(x)) = n0*n1*x
///
/// Real rows lie row_floats() apart, complex rows n1/2 + 1 complex numbers, both from the start of the plane. Immutable;
/// planes in parallel need a scratch block each, prepared once per execution.
class PlaneFft {
public:
    virtual ~PlaneFft() = default;

    virtual int64_t row_floats() const = 0;
    /// Bytes of scratch that one thread needs.
    virtual size_t scratch_bytes() const = 0;
    /// Makes a scratch block usable; planes are aligned to kAlignment.
    virtual void prepare_scratch(std::byte *scratch) const = 0;
    virtual void forward(float *plane, std::byte *scratch) const = 0;
    virtual void inverse(float *plane, std::byte *scratch) const = 0;

    int64_t n0 = 0, n1 = 0;
    FftBackend backend = FftBackend::kAuto;

    int64_t frequencies() const {
        return n0 * (n1 / 2 + 1);
    }
    /// Floats of a plane, real or complex.
    int64_t plane_floats() const {
        return std::max(n0 * row_floats(), 2 * frequencies());
    }
};

/// One backend: which sizes it does well, and its transforms.
struct FftBackendEntry {
    FftBackend backend;
    const char *name;
    /// Relative cost of a transform of length n per n*log2(n), or 0 when n should not be used. last: along the real axis.
    double (*size_penalty)(int64_t n, bool last);
    Result<std::shared_ptr<const PlaneFft>> (*plan)(int64_t n0, int64_t n1, FftRigor rigor);
};

/// Those built in, the default first.
const std::vector<FftBackendEntry> &fft_backend_entries();

/// 2^a 3^b 5^c 7^d ...: the largest power of each prime divided out; returns what is left.
int64_t strip_factors(int64_t n, std::initializer_list<int64_t> primes);

extern const FftBackendEntry kFftwEntry;
extern const FftBackendEntry kKissFftEntry;

}  // namespace fourfold
