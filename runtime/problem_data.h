// The arrays of one problem, for tools and for measuring: filled with values uniform on [-1, 1], the same for the same seed in
// every process.
#pragma once

#include <cstdint>
#include <memory>

#include "fourfold/plan.h"

namespace fourfold {

class FloatBuffer {
public:
    FloatBuffer() = default;
    explicit FloatBuffer(int64_t elements)
        : buffer_(static_cast<size_t>(elements) * sizeof(float)) {
    }
    float *data() const {
        return static_cast<float *>(buffer_.data());
    }

private:
    AlignedBuffer buffer_;
};

struct ProblemData {
    FloatBuffer input, filters, bias, residual, grad_output, output;  ///< those that the operation has; `output` is its result

    /// With `rank_one` every filter plane is the outer product of its first column and row. Null when memory ran out.
    static std::unique_ptr<ProblemData> make(const Conv2dProblem &problem, uint64_t seed, bool rank_one = false);
    static int64_t result_elements(const Conv2dProblem &problem);
    static double bytes(const Conv2dProblem &problem);

    /// Filters have one order here, (oc, ic/groups, f0, f1), whatever the images' layout.
    ConstView filter_view(const Conv2dProblem &problem) const;
    /// The arguments of an execution into `result`, with packed filters where there is such a block.
    Tensors tensors(const Conv2dProblem &problem, const AlignedBuffer &packed, float *result) const;
};

}  // namespace fourfold
