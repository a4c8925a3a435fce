/// @file
/// StagedPlan: a GPU's plan for data that lives on the host.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "fourfold/device.h"
#include "fourfold/plan.h"

namespace fourfold {

/// Owns what a plan of a GPU needs on its device (tensors, packed filters, workspace) and copies between there and the host's
/// memory. Allocates when made, not when executed. One call at a time. A call's stream may be destroyed when the call has returned; after
/// launch() the destructor waits for what was launched.
///
/// On CUDA memory that the caller pinned (cuMemAllocHost, cudaHostRegister, ...) is copied from and to directly; all other goes through
/// two blocks of pinned memory of up to 4 MiB that the StagedPlan owns, of which the device copies one while the CPU fills or empties the
/// other. In pieces only input and output that are dense are copied directly.
class StagedPlan {
public:
    /// Errors: kInvalidArgument (a plan of the CPU), kResourceExhausted (memory of the device).
    static Result<StagedPlan> create(const Plan &plan);
    /// Plans the problem for options.device within `device_bytes` of its memory, tensors and packed filters included, or what is free there where that is less (OpenCL does not
    /// tell: half of all). A forward convolution that needs more, such as of an image larger than the memory, is done in pieces: some images,
    /// or strips of rows with what their filters overlap, at a time. While one piece is computed the next is copied there and the one
    /// before back, beside the caller's stream. Errors: as above, and Plan::create's; kResourceExhausted where one row of an image, or another
    /// operation, does not fit.
    static Result<StagedPlan> create(const Conv2dProblem &problem, const PlanOptions &options, size_t device_bytes = std::numeric_limits<size_t>::max());
    /// Leaves the other empty: it may only be assigned to or destroyed.
    StagedPlan(StagedPlan &&other) noexcept;
    /// The same.
    StagedPlan &operator=(StagedPlan &&other) noexcept;
    ~StagedPlan();

    /// Filters of the host, without gaps, to the device, packed there. Not for operations without filters.
    Status pack_filters(ConstView filters, const ExecutionContext &context = {});
    /// As Plan::execute with all tensors in the host's memory, dense or with positive strides that leave no gaps (in pieces: any that
    /// Plan::execute takes); returns when the results are there. Where `filters` is given, as it is, they are packed first, otherwise
    /// pack_filters must have been called. `context` gives the stream. Errors: kInvalidArgument (a packed block of filters, a tensor that is
    /// missing or has gaps), and Plan::execute's.
    Status execute(const Tensors &tensors, const ExecutionContext &context = {});

    /// First part of execute, for those who measure: copies to the device, and packs filters that are given. Like the parts below
    /// kUnsupported where the work is done in pieces.
    Status upload(const Tensors &tensors, const ExecutionContext &context = {});
    /// Second part: the computation alone, put into the stream and not waited for.
    Status launch(const ExecutionContext &context = {});
    /// Third part: waits, and copies the results to where `tensors` has them, with the strides that upload() was given. Errors:
    /// kInvalidArgument where they differ, or nothing was uploaded, or grad_bias was not asked for then.
    Status download(const Tensors &tensors, const ExecutionContext &context = {});

    /// The plan that it was made for; of a piece, where the work is done in pieces.
    const Plan &plan() const;
    /// How many pieces an execution has; 1 where everything is on the device at once.
    int64_t pieces() const;

private:
    struct Impl;
    explicit StagedPlan(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace fourfold
