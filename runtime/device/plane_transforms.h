// Real 2-D transforms of whole planes on a device: n0 rows of n1 reals, n1 even, to n0 rows of n1/2 + 1 complex numbers (re, im) and
// back, unscaled. Real rows lie row_floats() apart, as the spectra's do, so that a plane may become its spectrum where it lies.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "device/device_plan.h"

namespace fourfold {

class PlaneTransforms {
public:
    PlaneTransforms(int64_t n0, int64_t n1)
        : n0(n0), n1(n1) {
    }
    virtual ~PlaneTransforms() = default;

    const int64_t n0, n1;
    int64_t row_floats() const {
        return n1 + 2;
    }
    int64_t frequencies() const {
        return n0 * (n1 / 2 + 1);
    }

    virtual const char *name() const = 0;
    /// Whether the result is in `a` for sure.
    virtual bool in_place() const = 0;

    /// Planes that are transformed at once, as the functions below have them.
    struct Batch {
        bool inverse;
        int64_t planes, distance;
        int64_t step = 0;  ///< of spectra frequency by frequency; 0: plane by plane
    };
    /// The bytes of `b`, or of `work`, below. Keeps nothing: a plan asks for many batches before it settles.
    virtual Result<size_t> scratch_bytes(const Batch &batch) const = 0;
    /// When a plan is prepared, for every batch that it will transform.
    virtual Status prepare(const Batch &batch) = 0;
    /// Times that a plane is read and written, for predictions.
    virtual int64_t passes() const = 0;
    /// Transforms `planes` planes, `distance` floats apart, that begin in `a`, with `b` for what is in between. Returns the one of the
    /// two where the result is, or null with a message in the context.
    virtual float *forward(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const = 0;
    virtual float *inverse(float *a, float *b, int64_t planes, int64_t distance, KernelContext &context) const = 0;

    /// The same with spectra frequency by frequency, as products of matrices read them: frequency f of plane p is complex number
    /// f * step + p. Not in place. By cuFFT only.
    virtual bool forward_by_frequency(float *planes, float *spectra, int64_t count, int64_t distance, int64_t step, void *work, KernelContext &context) const;
    virtual bool inverse_by_frequency(float *spectra, float *planes, int64_t count, int64_t distance, int64_t step, void *work, KernelContext &context) const;
};

/// By our own kernels, one launch for each factor of a length. Its tables join `tables`.
std::unique_ptr<PlaneTransforms> generated_transforms(const DeviceRuntime &device, int64_t n0, int64_t n1, DeviceTables &tables);

/// By cuFFT; kUnsupported where it, or CUDA, is missing.
Result<std::unique_ptr<PlaneTransforms>> cufft_transforms(const DeviceRuntime &device, int64_t n0, int64_t n1);

/// The least length of at least `least` whose factors are 2, 3 and 5, even where asked for.
int64_t transform_length(int64_t least, bool even);

}  // namespace fourfold
