// What the plans of a GPU share. A stage is one launch over all images, in the order of the caller's stream; there are no tasks and no
// scratch for each, and the host waits for nothing.
#pragma once

#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "device/runtime.h"
#include "kernel.h"
#include "stages.h"

namespace fourfold {

/// The variants of a stage that a device runs, in the list's order, for the best of its targets.
std::vector<const Variant *> device_variants_of(const DeviceRuntime &device, const char *stage);
/// The one with exactly these parameters; the list guarantees that it exists.
const Variant &device_variant(const DeviceRuntime &device, const char *stage, const std::string &parameters = "");

/// Runs `launches`, a function of a KernelContext that returns false with a message in it, on the execution's stream.
template<typename Launches>
Status on_device(const Execution &execution, const Launches &launches) {
    KernelContext context;
    context.profile = execution.profile;
    context.device = execution.device;
    context.stream = execution.stream;
    context.plan_only = execution.plan_only;
    if (launches(context)) {
        return Status();
    }
    return Status(StatusCode::kInternal, std::string("a generated kernel refused: ") + context.text);
}

/// Tables that kernels read, in memory of the device that the plan owns: laid out first, then copied once.
class DeviceTables {
public:
    /// Adds a table and returns its offset in bytes.
    size_t add(const std::vector<int32_t> &values);
    size_t add(const std::vector<float> &values);
    size_t add_zeros(size_t floats);
    Status upload(DeviceRuntime &device);
    const int32_t *ints(size_t offset) const {
        return reinterpret_cast<const int32_t *>(static_cast<const std::byte *>(memory_.data()) + offset);
    }
    const float *floats(size_t offset) const {
        return reinterpret_cast<const float *>(static_cast<const std::byte *>(memory_.data()) + offset);
    }

private:
    std::vector<std::byte> bytes_;
    DeviceBuffer memory_;
};

/// Filters (i % m, tap, channel, i / m, group) as conv_implicit, conv_direct and gemm read them, from any strides.
class DeviceFilterPacker {
public:
    DeviceFilterPacker(const DeviceRuntime &device, const Conv2dProblem &problem, int64_t m, DeviceTables &tables);
    size_t packed_bytes() const;
    bool pack(const StridedIn &filters, float *packed, const DeviceTables &tables, KernelContext &context) const;
    /// The packed filters of all groups, as the ports of the kernels take them.
    KernelBuffer<float, 5> view(const float *packed) const;

private:
    const Conv2dProblem problem_;
    const Variant &variant_;
    const int64_t m_, taps_, channels_, blocks_;
    size_t rows_, columns_;
};

/// The image with its padding materialised by mode; what the mode `constant` (and zero padding) needs not.
class DevicePad {
public:
    explicit DevicePad(const DeviceRuntime &device, const Conv2dProblem &problem);
    bool needed() const {
        return needed_;
    }
    double floats() const;
    /// Dense planes of all images from the input.
    bool run(const StridedIn &input, float *padded, KernelContext &context) const;
    StridedIn view(const float *padded) const;
    int64_t height() const {
        return height_;
    }
    int64_t width() const {
        return width_;
    }

private:
    const Conv2dProblem problem_;
    const Variant *variant_;
    bool needed_;
    int64_t height_, width_;
};

/// Dense planes (image, channel, pixel) finished into the output: bias, residual, post-op, any strides.
bool device_crop(const DeviceRuntime &device, const Conv2dProblem &problem, const float *dense, const int64_t strides[4], const float *bias, const ForwardTensors &t, KernelContext &context);

/// What a device can do, in rough numbers: enough to rank algorithms.
struct DeviceModel {
    double flops, bytes_per_second, launch_seconds;
    explicit DeviceModel(const DeviceInfo &info);
};

/// Compiles all modules of a plan by walking through its pack and forward without launching, with addresses that nothing reads.
Status compile_modules(AlgorithmPlan &plan, DeviceRuntime &device, const Conv2dProblem &problem);

/// The forced variant of a stage on a device, or null when none is named.
Result<const Variant *> forced_device_variant(const PlanRequest &request, const char *stage);

/// Calls make(variant, consider) for each variant of the stage that the request admits; make hands every plan that it builds to
/// consider(plan). The one with the least predicted time is prepared: a plan decides its memory in block(workspace_limit), and
/// copies its tables and compiles its modules in prepare().
template<typename PlanType, typename Make>
Result<std::unique_ptr<AlgorithmPlan>> best_device_variant(const PlanRequest &request, const char *stage, const Make &make) {
    const Result<const Variant *> forced = forced_device_variant(request, stage);
    if (!forced) {
        return forced.status();
    }
    std::unique_ptr<PlanType> best;
    Status status(StatusCode::kUnsupported, std::string("no variant of ") + stage + " for device '" + to_string(request.options.device) + "'");
    const auto consider = [&](std::unique_ptr<PlanType> plan) {
        if (!request.admits(*plan)) {
            return;
        }
        if (Status blocked = plan->block(request.options.workspace_limit); !blocked.ok()) {
            status = blocked;
            return;
        }
        request.considered(*plan);
        if (best == nullptr || plan->ranked_seconds < best->ranked_seconds) {
            best = std::move(plan);
        }
    };
    for (const Variant *variant : device_variants_of(*request.device, stage)) {
        if ((*forced == nullptr || *forced == variant) && request.admits(*variant)) {
            make(*variant, consider);
        }
    }
    if (best == nullptr) {
        return request.restricted() && status.code() == StatusCode::kUnsupported ? request.not_admitted(stage) : status;
    }
    if (Status prepared = best->prepare(); !prepared.ok()) {
        return prepared;
    }
    return std::unique_ptr<AlgorithmPlan>(std::move(best));
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_im2col(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft_tiled(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_winograd(const PlanRequest &request);

}  // namespace fourfold
