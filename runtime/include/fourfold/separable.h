/// @file
/// Filters of rank one, w[k,0,r,s] = column[k][r] * row[k][s], as two passes: f0 + f1 multiplications an output instead of f0 * f1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "fourfold/plan.h"

namespace fourfold {

/// The factors of filters that each act on one channel: w[k,0,r,s] = columns[k*f0 + r] * rows[k*f1 + s].
struct SeparableFilters {
    int64_t channels = 1;  ///< filters, one for each channel
    int64_t height = 1;          ///< f0
    int64_t width = 1;           ///< f1
    std::vector<float> columns;  ///< (channels, height)
    std::vector<float> rows;     ///< (channels, width)
};

/// The factors of a depthwise problem's filters, or why there are none: columns[k] is the column of the filter's
/// largest tap, rows[k] that tap's row divided by it, whose outer product is the filter if and only if it is of rank one. Filters count as of rank one where
///
///     |w[k,0,r,s] - columns[k,r] * rows[k,s]| <= 2^-21 |w[k,0,r,s]| + 1e-9 / (f0*f1) * max|w[k]|
///
/// so that for every input the result differs from the filters' own by less than 5e-7 of max(|x| conv |w|): what rounding the
/// taps of an exact outer product to float32 costs, and little more. Integers whose factors are integers are exact.
/// `filters` are (oc, 1, f0, f1), dense, or in any order by their strides.
/// Errors: kInvalidArgument (the problem, null), kUnsupported (not depthwise with as many outputs as inputs; a filter of higher
/// rank, which is named with its largest deviation).
Result<SeparableFilters> separate(const Conv2dProblem &problem, ConstView filters);

/// A forward depthwise problem (images: one channel) whose filters are of rank one, computed as
///
///     t[n,k,i,q] = sum_s xpad[n, k, i, q*stride_w + s*dilation_w] * rows[k,s]
///     y[n,k,p,q] = post(bias[k] + sum_r t[n, k, p*stride_h + r*dilation_h, q] * columns[k,r])
///
/// in every padding mode, both layouts and with every post-op. t is kept for some rows at a time, in the workspace, so that it
/// stays in cache. Made from the filters' values, which are therefore part of the plan: nothing is packed by the caller.
/// Immutable and cheap to copy; every member is safe to call from several threads at once.
class SeparablePlan {
public:
    struct Impl;

    /// options: threads, workspace_limit and device; `algorithm` is kAuto or kDirect, which both passes are.
    /// Errors: those of separate(); kInvalidArgument (factors of other sizes), kUnsupported (another algorithm, operation or
    /// device), kResourceExhausted (the workspace limit is below what the fewest rows need).
    static Result<SeparablePlan> create(const Conv2dProblem &problem, const SeparableFilters &filters, const PlanOptions &options = {});
    /// The same after separate().
    static Result<SeparablePlan> create(const Conv2dProblem &problem, ConstView filters, const PlanOptions &options = {});

    /// The problem that it was made for.
    const Conv2dProblem &problem() const;
    /// Of execute, at most.
    int threads() const;
    /// Bytes that execute needs.
    size_t workspace_bytes() const;
    /// The cost model's time for one execution, in seconds; comparable with Plan::predicted_seconds().
    double predicted_seconds() const;
    /// Several lines for people.
    std::string describe() const;

    /// Reads tensors.input, .bias and .residual, writes .output; .filters is ignored. Allocates nothing, throws nothing; the
    /// result does not depend on the number of threads. Errors: kInvalidArgument, the output then untouched.
    Status execute(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context = {}) const;

private:
    static Result<SeparablePlan> make(const Conv2dProblem &problem, const SeparableFilters &filters, const PlanOptions &options);
    std::shared_ptr<const Impl> impl_;
};

}  // namespace fourfold
