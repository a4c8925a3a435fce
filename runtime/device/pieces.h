// Convolutions whose tensors do not fit a device, in pieces: some images at a time, or strips of an image's output rows, whose inputs overlap
// by what the filter spans beyond the stride. All pieces are of one size and so of one plan: the last of an axis moves back over what is
// done already. Rows of padding come from the host, by the padding's mode.
//
// While the device computes a piece, the next is copied to it and the one before from it, each direction on a stream of its own beside the
// caller's: GPUs have an engine for each.
#pragma once

#include <memory>

#include "algorithm.h"
#include "device/stager.h"
#include "fourfold/plan.h"

namespace fourfold {

class ConvolutionInPieces {
public:
    /// For a forward problem, within `device_bytes` of the device's memory. Errors: kUnsupported (another operation), kResourceExhausted (a
    /// row of one image is too much), and what Plan::create says.
    static Result<std::unique_ptr<ConvolutionInPieces>> create(const Conv2dProblem &problem, const PlanOptions &options, size_t device_bytes);

    Status pack_filters(ConstView filters, const ExecutionContext &context);
    /// Filters are not packed, or not given.
    Status execute(const Tensors &tensors, const ExecutionContext &context);

    /// Of a piece.
    const Plan &plan() const {
        return plan_;
    }
    int64_t pieces() const;

private:
    /// What a piece holds on the device.
    struct Slot {
        DeviceBuffer input, residual, output;
        DeviceEvent sent, computed, fetched;
    };
    ConvolutionInPieces(const Conv2dProblem &problem, const Plan &plan, DeviceRuntime &device)
        : problem_(problem), plan_(plan), device_(device) {
    }
    Status reserve();
    /// The first image and output row of a piece.
    int64_t first_image(int64_t piece) const;
    int64_t first_row(int64_t piece) const;
    Status send(const ForwardTensors &tensors, int64_t piece);
    Status compute(int64_t piece, bool bias, const ExecutionContext &context);
    Status fetch(const ForwardTensors &tensors, int64_t piece);
    Status run(const Tensors &tensors, const ExecutionContext &context);
    Status finish(Status status, void *stream);

    const Conv2dProblem problem_;
    const Plan plan_;
    DeviceRuntime &device_;
    DeviceBuffer filters_, packed_, bias_, workspace_;
    DeviceStream sends_, fetches_;
    Stager sender_, fetcher_;
    Slot slots_[2];
    bool input_pinned_ = false, output_pinned_ = false;  ///< of the last call: dense, and in memory that the device reads and writes itself
    bool packed_once_ = false;
};

}  // namespace fourfold
