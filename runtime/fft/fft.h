// One small interface to the libraries that transform whole planes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "fourfold/plan.h"

namespace fourfold {

/// In-place real-to-complex transforms of planes of n0 x n1 floats, n1 even, and back, unscaled:
///
///     X[u,v] = sum_{y,x} x[y,x] exp(-2 pi i (u*y/n0 + v*x/n1)),   0 <= u < n0, 0 <= v <= n1/2   (the half axis is the last)
///     inverse(forward(x)) = n0*n1*x
///
/// Real rows lie row_floats() apart; the spectrum lies transposed, X[u,v] at complex number v*n0 + u, both from the start of
/// the plane. Immutable; planes in parallel need a scratch block each.
///
/// A row's even and odd elements are the real and imaginary parts of n1/2 complex numbers. With Z their n0 x n1/2 transform,
/// which the backend makes, Z'[u,v] = conj(Z[-u,-v]) and w = exp(-2 pi i v/n1):
///
///     X[u,v] = (Z + Z')/2 - i w (Z - Z')/2,   conj(X[-u,n1/2-v]) = (Z + Z')/2 + i w (Z - Z')/2
///
/// in place, a pair of columns at a time: there the transposed order makes w a constant. Both libraries are much faster
/// with complex transforms out of place than with real ones in place, and only so need no memory while they execute.
class PlaneFft {
public:
    PlaneFft(int64_t n0, int64_t n1, FftBackend backend);
    virtual ~PlaneFft() = default;

    int64_t row_floats() const {
        return n1;
    }
    /// Bytes of scratch that one thread needs: an n0 x n1/2 complex block, or its transpose.
    size_t scratch_bytes() const {
        return static_cast<size_t>(std::max(n0 * scratch_pitch(n1 / 2), n1 / 2 * scratch_pitch(n0))) * 2 * sizeof(float);
    }
    /// Planes and scratch are aligned to kAlignment.
    void forward(float *plane, std::byte *scratch) const {
        forward_halves(plane, scratch);
        split(plane);
    }
    void inverse(float *plane, std::byte *scratch) const {
        join(plane);
        inverse_halves(plane, scratch);
    }

    /// The transform Z alone, of rows of n1/2 complex numbers to columns of n0, and n0*n1/2 times its inverse.
    void forward_complex(float *plane, std::byte *scratch) const {
        forward_halves(plane, scratch);
    }
    void inverse_complex(float *plane, std::byte *scratch) const {
        inverse_halves(plane, scratch);
    }

    const int64_t n0, n1;
    const FftBackend backend;

    int64_t frequencies() const {
        return n0 * (n1 / 2 + 1);
    }
    /// Floats of a plane, real or complex.
    int64_t plane_floats() const {
        return std::max(n0 * row_floats(), 2 * frequencies());
    }

protected:
    /// Z from rows of n1/2 complex numbers, to columns of n0.
    virtual void forward_halves(float *plane, std::byte *scratch) const = 0;
    /// n0*n1/2 times the inverse of that.
    virtual void inverse_halves(float *plane, std::byte *scratch) const = 0;

    /// Complex numbers from row to row of `length` in the scratch: an odd multiple of 32 bytes, so that columns spread over the L1.
    static int64_t scratch_pitch(int64_t length) {
        return (length + 7) / 8 * 8 + 4;
    }

private:
    void split(float *plane) const;
    void join(float *plane) const;

    std::vector<float> twiddles_;  ///< w of columns 0 .. n1/4, real and imaginary parts
};

/// One backend: which sizes it does well, and its transforms.
struct FftBackendEntry {
    FftBackend backend;
    const char *name;
    /// Time of a plane relative to FFTW's, for the cost model.
    double relative_time;
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
