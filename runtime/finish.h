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

/// Columns first, first + s, ... of all rows, side by side; `before` columns of other phases lie before them.
struct ColumnPhase {
    int64_t first, count, before;
};

struct Finish {
    bool channels_last;  ///< the innermost loop: channels, or columns
    int threads;
    Execution execution;

    /// out = post(in + bias + residual) for sizes (n, c, h, w); without in, of zeros.
    Status run(const StridedIn &in, const std::array<int64_t, 4> &size, const Epilogue &epilogue, const StridedOut &out) const;

    /// The same for NCHW images whose every step-th columns lie by themselves from `base` on, phase after phase; columns in no phase
    /// are zero.
    Status interleave(const float *base, const std::vector<ColumnPhase> &phases, int64_t step, const std::array<int64_t, 4> &size, const Epilogue &epilogue, const StridedOut &out) const;
};

}  // namespace fourfold
