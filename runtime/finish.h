// The last step where no kernel can take it: copies of images between any strides, with bias, residual and post-op.
#pragma once

#include <array>
#include <vector>

#include "algorithm.h"
#include "parallel.h"

namespace fourfold {

struct Epilogue {
    const float *bias = nullptr;  ///< one a channel
    StridedIn residual;
    KernelPostOp post;
};

/// Where every s-th column of an image's rows lies: floats from a common base, and strides. A negative offset: they are zero.
struct ColumnPhase {
    int64_t offset = -1;
    int64_t image = 0, plane = 0, row = 0;
};

struct Finish {
    bool channels_last;  ///< the innermost loop: channels, or columns
    int threads;
    Execution execution;

    /// out = post(in + bias + residual) for sizes (n, c, h, w); without in, of zeros.
    Status run(const StridedIn &in, const std::array<int64_t, 4> &size, const Epilogue &epilogue, const StridedOut &out) const;

    /// The same for NCHW images whose column x is the (x / s)-th of phases[x % s].
    Status interleave(const float *base, const std::vector<ColumnPhase> &phases, const std::array<int64_t, 4> &size, const Epilogue &epilogue, const StridedOut &out) const;
};

}  // namespace fourfold
