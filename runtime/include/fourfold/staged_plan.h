// StagedPlan: a GPU's plan for data that lives on the host.
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
    StagedPlan(StagedPlan &&other) noexcept;
    StagedPlan &operator=(StagedPlan &&other) noexcept;
    ~StagedPlan();

    /// Filters of the host, without gaps, to the device, packed there. Not for operations without filters.
    Status pack_filters(ConstView filters);
    /// As Plan::execute with all tensors in the host's memory, dense or with strides that leave no gaps; returns when the results are there. Where `filters` is given
    /// they are packed first, otherwise pack_filters must have been called. `context` gives the stream.
    Status execute(const Tensors &tensors, const ExecutionContext &context = {});

    // The parts of execute, for measuring: copies to the device, the computation alone (not waited for), copies back.
    Status upload(const Tensors &tensors, const ExecutionContext &context = {});
    Status launch(const ExecutionContext &context = {});
    Status download(const Tensors &tensors, const ExecutionContext &context = {});

    const Plan &plan() const;

private:
    struct Impl;
    explicit StagedPlan(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace fourfold
