// The CUDA driver's functions that fourfold calls, loaded from libcuda.so.1 when first asked for: a program starts, and a build needs
// nothing, where there is no CUDA. Types and values are those of cuda.h, whose ABI NVIDIA keeps; where the toolkit is installed
// a test compares them (tests/device/cuda_headers.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace fourfold::cuda {

using Context = struct CUctx_st *;
using Module = struct CUmod_st *;
using Function = struct CUfunc_st *;
using Stream = struct CUstream_st *;
using Event = struct CUevent_st *;
using DevicePointer = unsigned long long;

// CUresult
inline constexpr int kSuccess = 0, kOutOfMemory = 2, kNoDevice = 100;
// CUdevice_attribute
inline constexpr int kSharedBytesOfBlock = 8, kMultiprocessorCount = 16, kCapabilityMajor = 75, kCapabilityMinor = 76;
// CUfunction_attribute
inline constexpr int kMaxDynamicSharedBytes = 8;
// CUpointer_attribute, and CUmemorytype as its value
inline constexpr int kMemoryType = 2, kMemoryOfHost = 1;
// CUstream_flags, CUevent_flags
inline constexpr unsigned kNonBlockingStream = 1, kEventWithoutTiming = 2;

// Name in the library, then signature. Results are CUresult, devices CUdevice: both int.
#define FOURFOLD_CUDA_FUNCTIONS(X)                                                                                                     \
    X(cuInit, int, (unsigned))                                                                                                         \
    X(cuDriverGetVersion, int, (int *))                                                                                                \
    X(cuGetErrorName, int, (int, const char **))                                                                                       \
    X(cuDeviceGetCount, int, (int *))                                                                                                  \
    X(cuDeviceGet, int, (int *, int))                                                                                                  \
    X(cuDeviceGetName, int, (char *, int, int))                                                                                        \
    X(cuDeviceTotalMem_v2, int, (size_t *, int))                                                                                       \
    X(cuDeviceGetAttribute, int, (int *, int, int))                                                                                    \
    X(cuDevicePrimaryCtxRetain, int, (Context *, int))                                                                                 \
    X(cuCtxPushCurrent_v2, int, (Context))                                                                                             \
    X(cuCtxPopCurrent_v2, int, (Context *))                                                                                            \
    X(cuModuleLoadDataEx, int, (Module *, const void *, unsigned, int *, void **))                                                     \
    X(cuModuleUnload, int, (Module))                                                                                                   \
    X(cuModuleGetFunction, int, (Function *, Module, const char *))                                                                    \
    X(cuFuncSetAttribute, int, (Function, int, int))                                                                                   \
    X(cuLaunchKernel, int, (Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream, void **, void **)) \
    X(cuMemAlloc_v2, int, (DevicePointer *, size_t))                                                                                   \
    X(cuMemFree_v2, int, (DevicePointer))                                                                                              \
    X(cuMemcpyHtoDAsync_v2, int, (DevicePointer, const void *, size_t, Stream))                                                        \
    X(cuMemcpyDtoHAsync_v2, int, (void *, DevicePointer, size_t, Stream))                                                              \
    X(cuMemsetD8Async, int, (DevicePointer, unsigned char, size_t, Stream))                                                            \
    X(cuMemGetInfo_v2, int, (size_t *, size_t *))                                                                                      \
    X(cuMemAllocHost_v2, int, (void **, size_t))                                                                                       \
    X(cuMemFreeHost, int, (void *))                                                                                                    \
    X(cuPointerGetAttribute, int, (void *, int, DevicePointer))                                                                        \
    X(cuStreamCreate, int, (Stream *, unsigned))                                                                                       \
    X(cuStreamDestroy_v2, int, (Stream))                                                                                               \
    X(cuStreamWaitEvent, int, (Stream, Event, unsigned))                                                                               \
    X(cuEventCreate, int, (Event *, unsigned))                                                                                         \
    X(cuEventDestroy_v2, int, (Event))                                                                                                 \
    X(cuEventRecord, int, (Event, Stream))                                                                                             \
    X(cuEventSynchronize, int, (Event))                                                                                                \
    X(cuStreamSynchronize, int, (Stream))

struct Driver {
#define FOURFOLD_DECLARE(name, result, arguments) result(*name) arguments = nullptr;
    FOURFOLD_CUDA_FUNCTIONS(FOURFOLD_DECLARE)
#undef FOURFOLD_DECLARE
    std::string missing;  ///< why it cannot be used; empty when it can
};

/// Loaded once.
const Driver &driver();

/// Makes a context the thread's current one, and the former one again.
class Current {
public:
    explicit Current(Context context)
        : error_(driver().cuCtxPushCurrent_v2(context)) {
    }
    ~Current() {
        Context old;
        if (error_ == kSuccess) {
            driver().cuCtxPopCurrent_v2(&old);
        }
    }
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

private:
    const int error_;
};

/// "CUDA_ERROR_OUT_OF_MEMORY"
std::string error_name(int error);

}  // namespace fourfold::cuda
