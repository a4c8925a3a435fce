/// @file
/// StagedPlan: a GPU's plan for data that lives on the host.
#pragma once

#include <memory>

#include "fourfold/device.h"
#include "fourfold/plan.h"

namespace fourfold {

/// Owns what a plan of a GPU needs on its device (tensors, packed filters, workspace) and copies between there and the host's
/// memory. Allocates when made, not when executed. One call at a time.
class StagedPlan {
public:
    /// Errors: kInvalidArgument (a plan of the CPU), kResourceExhausted (memory of the device).
    static Result<StagedPlan> create(const Plan &plan);
    /// Leaves the other empty: it may only be assigned to or destroyed.
    StagedPlan(StagedPlan &&other) noexcept;
    /// The same.
    StagedPlan &operator=(StagedPlan &&other) noexcept;
    ~StagedPlan();

    /// Filters of the host, without gaps, to the device, packed there. Not for operations without filters.
    Status pack_filters(ConstView filters, const ExecutionContext &context = {});
    /// As Plan::execute with all tensors in the host's memory, dense or with positive strides that leave no gaps; returns when the results
    /// are there. Where `filters` is given
    /// they are packed first, otherwise pack_filters must have been called. `context` gives the stream.
    Status execute(const Tensors &tensors, const ExecutionContext &context = {});

    /// First part of execute, for those who measure: copies to the device, and packs filters that are given.
    Status upload(const Tensors &tensors, const ExecutionContext &context = {});
    /// Second part: the computation alone, put into the stream and not waited for.
    Status launch(const ExecutionContext &context = {});
    /// Third part: waits, and copies the results to where `tensors` has them.
    Status download(const Tensors &tensors, const ExecutionContext &context = {});

    /// The plan that it was made for.
    const Plan &plan() const;

private:
    struct Impl;
    explicit StagedPlan(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace fourfold
