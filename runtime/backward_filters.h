// What the plans of bwd-filters share.
//
//     gw[k,c,r,s] = sum_{n,p,q} gy[n,k,p,q] * xpad[n,c, p*s0 + r*d0, q*s1 + s*d1]        gb[k] = sum_{n,p,q} gy[n,k,p,q]
//
// The sum runs over images and pixels, so it is cut where no thread count can move it: into parts that the plan fixes.
#pragma once

#include "algorithm.h"
#include "arena.h"

namespace fourfold {

class BackwardFiltersPlan : public AlgorithmPlan {
public:
    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const final;
    Status forward(const ForwardTensors &, const std::byte *, std::byte *, const Execution &) const final;
};

/// Sums of gy over images and pixels, in double precision.
Status bias_gradient(const Conv2dProblem &problem, const StridedIn &grad_output, float *grad_bias, int threads, const Execution &execution);

/// Filters in memory order (k, c, tap) under way to the caller's view.
bool is_dense(const Conv2dProblem &problem, const StridedOut &filters);
/// filters = the sum of `parts` dense arrays, one after the other.
Status store_filters(const Conv2dProblem &problem, const float *parts, int64_t count, const StridedOut &filters, int threads, const Execution &execution);

}  // namespace fourfold
