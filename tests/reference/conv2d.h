// The reference: plain loops in double precision, sharing nothing with the library but the problem's fields. Output sizes and
// padding are worked out anew, so that a mistake in the library's own formulas cannot hide here.
#pragma once

#include <cstdint>
#include <vector>

#include "fourfold/problem.h"

namespace fourfold::reference {

/// Element (a, b, c, d) lies at data[a*strides[0] + b*strides[1] + c*strides[2] + d*strides[3]].
struct View {
    const float *data = nullptr;
    int64_t strides[4] = {0, 0, 0, 0};

    float operator()(int64_t a, int64_t b, int64_t c, int64_t d) const {
        return data[a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3]];
    }
};

/// The result of a forward convolution, or of one of its gradients.
struct Forward {
    int64_t out_height = 0, out_width = 0;  ///< the result's last two sizes
    std::vector<double> y;  ///< dense: (b, oc, o0, o1); of bwd-data (b, ic, i0, i1); of bwd-filters (oc, ic/groups, f0, f1)
    double scale = 0.0;     ///< max(|xpad| conv |w| + |b| + |residual|), for gradients alike: errors are measured against it
};

/// Output rows (or columns): how many filter positions lie wholly inside the padded image.
int64_t count_positions(int64_t in, int64_t before, int64_t after, int64_t filter, int64_t dilation, int64_t stride);

/// The source index of padded position `index` (0 is the image's first pixel), or -1 where the padding's constant is read.
int64_t padded_source(int64_t index, int64_t size, PaddingMode mode);

/// `bias` may be null; `residual` is read when problem.residual.
Forward forward(const Conv2dProblem &problem, const View &input, const View &filters, const float *bias, const View &residual);

/// The gradients of sum(grad_output * y), each term put where it belongs, in the order of the forward loops. bwd-data ends in
/// bias (one value an input channel), residual (of the input's shape) and post-op.
Forward backward_data(const Conv2dProblem &problem, const View &grad_output, const View &filters, const float *bias, const View &residual);
Forward backward_filters(const Conv2dProblem &problem, const View &input, const View &grad_output);
/// Columns as (b, ic, f0*f1, o0*o1), read by fold and computed by unfold.
Forward unfold(const Conv2dProblem &problem, const View &input);
Forward fold(const Conv2dProblem &problem, const View &columns);
/// (oc), with scale max over k of sum |grad_output|.
Forward bias_gradient(const Conv2dProblem &problem, const View &grad_output);

}  // namespace fourfold::reference
