// The functions of cuBLAS that fourfold calls, loaded when first asked for: nothing needs cuBLAS to build or to start, and where it is
// missing our own kernels serve. Types and values are those of cublas_v2.h; where the toolkit is installed a test compares them
// (tests/device/cuda_headers.cpp).
#pragma once

#include <cstddef>
#include <string>

#include "device/cuda_driver.h"

namespace fourfold::cublas {

// cublasStatus_t, cublasOperation_t
inline constexpr int kSuccess = 0, kAllocationFailed = 3;
inline constexpr int kAsItIs = 0, kTransposed = 1;

/// cuComplex
struct Complex {
    float re, im;
};

// Name in the library, then signature. Results are cublasStatus_t, an int; handles are pointers.
#define FOURFOLD_CUBLAS_FUNCTIONS(X)                        \
    X(cublasCreate_v2, int, (void **))                      \
    X(cublasDestroy_v2, int, (void *))                      \
    X(cublasSetStream_v2, int, (void *, cuda::Stream))      \
    X(cublasSetWorkspace_v2, int, (void *, void *, size_t)) \
    X(cublasCgemmStridedBatched, int, (void *, int, int, int, int, int, const cublas::Complex *, const cublas::Complex *, int, long long, const cublas::Complex *, int, long long, const cublas::Complex *, cublas::Complex *, int, long long, int))

struct Library {
#define FOURFOLD_DECLARE(name, result, arguments) result(*name) arguments = nullptr;
    FOURFOLD_CUBLAS_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE
    std::string missing;  ///< why it cannot be used; empty when it can
};

/// Loaded once.
const Library &library();

}  // namespace fourfold::cublas
