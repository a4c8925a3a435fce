// The memory stages, called on any number of planes: what a generated kernel cannot reach with 32-bit indices at once is
// done plane by plane, or in bands of rows.
#pragma once

#include <cstdint>

#include "algorithm.h"
#include "kernel.h"

namespace fourfold {

/// Planes of an image or of a padded strip.
struct PlanesIn {
    const float *data;
    int64_t width, height, planes;
    int64_t row_stride, plane_stride;
    int64_t column_stride = 1;
};
struct PlanesOut {
    float *data;
    int64_t width, height, planes;
    int64_t row_stride, plane_stride;
    int64_t column_stride = 1;
};

/// Columns of the caller's tensors, in for pad and out for crop, lie apart in NHWC; those of strips and planes never do.
/// pad: out = extend(in) at (x*step_x + origin_x, y*step_y + origin_y).
struct PadStage {
    const Variant *variant = nullptr;
    bool constant = true;  ///< outside the image is `value`
    bool zeros = true;     ///< and that is 0
    float value = 0.0f;

    static PadStage find(const Conv2dProblem &problem);
    /// Zeros outside whatever the problem's padding mode: copies of gradients.
    static PadStage find_zeros(Conv2dProblem problem);
    /// The origin is the position in the image of out's first element.
    bool run(const PlanesIn &in, const PlanesOut &out, int64_t step_x, int64_t step_y, int64_t origin_x, int64_t origin_y, KernelContext &context) const;
    /// The same for planes of transforms: the first used_x columns and used_y rows only, zeros beyond, since what the padding
    /// would hold there must not reach outputs through the transform's rounding.
    bool run_within(const PlanesIn &in, const PlanesOut &out, int64_t used_x, int64_t used_y, int64_t step_x, int64_t step_y, int64_t origin_x, int64_t origin_y, KernelContext &context) const;
};

/// crop: out = post(scale*in + bias + residual), with one bias a plane. residual.data may be null.
struct CropStage {
    const Variant *variant = nullptr;

    static CropStage find(Layout layout);
    bool run(const PlanesIn &in, const PlanesOut &out, const float *bias, const PlanesIn &residual, const KernelPostOp &post, KernelContext &context) const;
};

}  // namespace fourfold
