// The spectral product by a library of matrix products: per frequency f
//
//     y(n, k) = scale * sum_c x(n, c) * w(k, c)
//
// of complex numbers (re, im).
#pragma once

#include <cstdint>
#include <memory>

#include "device/device_plan.h"

namespace fourfold {

class FrequencyProduct {
public:
    virtual ~FrequencyProduct() = default;

    struct Sizes {
        int64_t frequencies, rows, channels, outputs;
    };
    /// Number j of row n of frequency f is complex number f * step + n * pitch + j from the data.
    struct Matrix {
        float *data;
        int64_t step, pitch;
    };

    virtual const char *name() const = 0;
    /// Of what run() is given, any alignment.
    virtual size_t workspace_bytes() const = 0;
    /// When a plan is prepared, before run(), for each product that it will run, of matrices that lie like these; until then nothing of the
    /// device is taken. Multiplies once, for libraries load their kernels when they first need them, and waits.
    virtual Status prepare(const Sizes &sizes, const Matrix &x, const Matrix &y) = 0;
    /// w is (f, k, c), dense. False with a message in the context.
    virtual bool run(const Sizes &sizes, const Matrix &x, const float *w, const Matrix &y, float scale, void *workspace, KernelContext &context) const = 0;
};

/// By cuBLAS; kUnsupported where it, or CUDA, is missing.
Result<std::unique_ptr<FrequencyProduct>> cublas_product(const DeviceRuntime &device);

}  // namespace fourfold
