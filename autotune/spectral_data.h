// The operands of one spectral product, uniform on [-1, 1], the same for the same seed in every process, and what judges results.
#pragma once

#include <cstdint>
#include <new>
#include <vector>

#include "fourfold/spectral.h"

namespace fourfold::cli {

/// Aligned as arrays of libraries are, so that vectors keep to cache lines: 0.8 of the time of channel-first products (Emerald Rapids).
template<typename T>
struct AlignedAllocator {
    using value_type = T;
    T *allocate(size_t n) {
        return static_cast<T *>(::operator new(n * sizeof(T), std::align_val_t(kAlignment)));
    }
    void deallocate(T *p, size_t) {
        ::operator delete(p, std::align_val_t(kAlignment));
    }
    friend bool operator==(const AlignedAllocator &, const AlignedAllocator &) {
        return true;
    }
};
using Spectrum = std::vector<Complex, AlignedAllocator<Complex>>;

/// What SpectralData::max_error may be.
constexpr double kSpectralErrorLimit = 1e-6;

class SpectralData {
public:
    /// Throws std::bad_alloc.
    SpectralData(const SpectralProblem &problem, uint64_t seed);

    static int64_t result_elements(const SpectralProblem &problem);
    /// Of operands and result.
    static double bytes(const SpectralProblem &problem);

    /// Null where the operation reads none.
    const Complex *filters() const {
        return problem_.operation == Operation::kBackwardFilters ? nullptr : second_.data();
    }
    /// The arguments of an execution into `result`, with packed filters where there is such a block.
    SpectralTensors tensors(const AlignedBuffer &packed, Complex *result) const;
    /// max|y - y_ref| / max(sum |x||w|) at some thousands of elements, in double; infinite where a value is not finite.
    double max_error(const Complex *result) const;

private:
    const SpectralProblem problem_;
    const Spectrum first_, second_;  ///< x or gy, and w or, of bwd-filters, gy
};

}  // namespace fourfold::cli
