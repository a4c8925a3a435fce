// Where CUDA's toolkit is installed: what fourfold declares of the driver (runtime/device/cuda_driver.h), of cuFFT (cufft_library.h)
// and of cuBLAS (cublas_library.h) is what cuda.h, cufft.h and cublas_v2.h declare.
// Compiled, not run: every check is a static_assert.
#include <cuda.h>
#include <cufft.h>
#if __has_include(<cublas_v2.h>)
#include <cublas_v2.h>
#define FOURFOLD_CUBLAS_HEADER 1
#endif

#include <type_traits>

#include "device/cublas_library.h"
#include "device/cuda_driver.h"
#include "device/cufft_library.h"

namespace {

/// Equal to a caller: the same, or both pointers, or integers and enumerations of one size.
template<typename Ours, typename Theirs>
constexpr bool same_value() {
    if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>) {
        return true;
    } else if constexpr ((std::is_integral_v<Ours> || std::is_enum_v<Ours>)&&(std::is_integral_v<Theirs> || std::is_enum_v<Theirs>)) {
        return sizeof(Ours) == sizeof(Theirs);
    } else {
        return std::is_same_v<Ours, Theirs>;
    }
}

template<typename Ours, typename Theirs>
struct SameFunction : std::false_type {};
template<typename R, typename... A, typename S, typename... B>
struct SameFunction<R(A...), S(B...)> {
    static constexpr bool value = [] {
        if constexpr (sizeof...(A) == sizeof...(B)) {
            return same_value<R, S>() && (same_value<A, B>() && ...);
        } else {
            return false;
        }
    }();
};

#define FOURFOLD_CHECK(name, result, arguments) static_assert(SameFunction<result arguments, decltype(::name)>::value, #name);
namespace ours {
using namespace fourfold::cuda;
FOURFOLD_CUDA_FUNCTIONS(FOURFOLD_CHECK)
namespace cuda = fourfold::cuda;
FOURFOLD_CUFFT_FUNCTIONS(FOURFOLD_CHECK)
#ifdef FOURFOLD_CUBLAS_HEADER  // a package of its own
namespace cublas = fourfold::cublas;
FOURFOLD_CUBLAS_FUNCTIONS(FOURFOLD_CHECK)
static_assert(cublas::kSuccess == CUBLAS_STATUS_SUCCESS);
static_assert(cublas::kAllocationFailed == CUBLAS_STATUS_ALLOC_FAILED);
static_assert(cublas::kAsItIs == CUBLAS_OP_N);
static_assert(cublas::kTransposed == CUBLAS_OP_T);
#endif
}  // namespace ours
#undef FOURFOLD_CHECK

static_assert(fourfold::cuda::kSuccess == CUDA_SUCCESS);
static_assert(fourfold::cuda::kOutOfMemory == CUDA_ERROR_OUT_OF_MEMORY);
static_assert(fourfold::cuda::kNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(fourfold::cuda::kSharedBytesOfBlock == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK);
static_assert(fourfold::cuda::kMultiprocessorCount == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(fourfold::cuda::kCapabilityMajor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(fourfold::cuda::kCapabilityMinor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(fourfold::cuda::kMaxDynamicSharedBytes == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(fourfold::cuda::kMemoryType == CU_POINTER_ATTRIBUTE_MEMORY_TYPE);
static_assert(fourfold::cuda::kMemoryOfHost == CU_MEMORYTYPE_HOST);
static_assert(fourfold::cuda::kNonBlockingStream == CU_STREAM_NON_BLOCKING);
static_assert(fourfold::cuda::kEventWithoutTiming == CU_EVENT_DISABLE_TIMING);
static_assert(fourfold::cufft::kSuccess == CUFFT_SUCCESS);
static_assert(fourfold::cufft::kAllocationFailed == CUFFT_ALLOC_FAILED);
static_assert(fourfold::cufft::kR2C == CUFFT_R2C);
static_assert(fourfold::cufft::kC2R == CUFFT_C2R);

}  // namespace
