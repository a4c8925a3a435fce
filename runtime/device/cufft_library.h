// The functions of cuFFT that fourfold calls, loaded when first asked for: nothing needs cuFFT to build or to start, and where it is
// missing our own transforms serve. Types and values are those of cufft.h; where the toolkit is installed a test compares them
// (tests/device/cuda_headers.cpp).
#pragma once

#include <cstddef>
#include <string>

#include "device/cuda_driver.h"

namespace fourfold::cufft {

// cufftResult, cufftType
inline constexpr int kSuccess = 0, kAllocationFailed = 2;
inline constexpr int kR2C = 0x2a, kC2R = 0x2c;

// Name in the library, then signature. Results are cufftResult, plans cufftHandle: both int.
#define FOURFOLD_CUFFT_FUNCTIONS(X)                                                                                                     \
    X(cufftCreate, int, (int *))                                                                                                        \
    X(cufftDestroy, int, (int))                                                                                                         \
    X(cufftSetAutoAllocation, int, (int, int))                                                                                          \
    X(cufftMakePlanMany64, int, (int, int, long long *, long long *, long long, long long, long long *, long long, long long, int, long long, size_t *)) \
    X(cufftSetWorkArea, int, (int, void *))                                                                                             \
    X(cufftSetStream, int, (int, cuda::Stream))                                                                                         \
    X(cufftExecR2C, int, (int, float *, void *))                                                                                        \
    X(cufftExecC2R, int, (int, void *, float *))

struct Library {
#define FOURFOLD_DECLARE(name, result, arguments) result(*name) arguments = nullptr;
    FOURFOLD_CUFFT_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE
    std::string missing;  ///< why it cannot be used; empty when it can
};

/// Loaded once.
const Library &library();

}  // namespace fourfold::cufft
