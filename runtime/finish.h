// The last step where no kernel can take it: copies of images between any strides, with bias, residual and post-op.
#pragma once

#include <array>

#include "algorithm.h"
#include "parallel.h"

namespace fourfold {

struct Epilogue {
    const float *bias = nullptr;  ///< one a channel
    StridedIn residual;
    KernelPostOp post;
};

struct Finish {
    bool channels_last;  ///< the innermost loop: channels, or columns
    int threads;
    Execution execution;

    /// out = post(in + bias + residual) for sizes (n, c, h, w); without in, of zeros.
    Status run(const StridedIn &in, const std::array<int64_t, 4> &size, const Epilogue &epilogue, const StridedOut &out) const;
};

}  // namespace fourfold
