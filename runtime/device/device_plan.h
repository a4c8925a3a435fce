// What the plans of a GPU share. A stage is one launch over all images, in the order of the caller's stream; there are no tasks and no
// scratch for each, and the host waits for nothing.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "device/runtime.h"
#include "kernel.h"
#include "parallel.h"
#include "registry.h"

namespace fourfold {

/// The variants of a stage that a device runs, in the list's order, for the best of its targets.
std::vector<const Variant *> device_variants_of(const DeviceRuntime &device, const char *stage);
/// The one with exactly these parameters; the list guarantees that it exists.
const Variant &device_variant(const DeviceRuntime &device, const char *stage, const std::string &parameters = "");

/// Whether a variant was compiled with such a parameter, "form=forward".
bool has_parameter(const Variant &variant, const char *parameter);

/// Runs `launches`, a function of a KernelContext that returns false with a message in it, on the execution's stream.
template<typename Launches>
Status on_device(const Execution &execution, const Launches &launches) {
    KernelContext context;
    context.profile = execution.profile;
    context.device = execution.device;
    context.stream = execution.stream;
    context.modules = execution.modules;
    if (launches(context)) {
        return Status();
    }
    const std::string text = context.text;
    return text.rfind("device '", 0) == 0 ? Status(context.exhausted ? StatusCode::kResourceExhausted : StatusCode::kInternal, text) : device_error(execution.device->info().device, StatusCode::kInternal, "a generated kernel refused: " + text);
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
    std::vector<std::byte> bytes_;  ///< until upload
    DeviceBuffer memory_;
};

/// Whether filters, packed for m output channels at a time, are below the 2^31 bytes that a kernel call's indices reach.
Status packed_within_reach(int64_t m, int64_t outputs, int64_t channels, int64_t taps, int64_t groups);

/// What a device can do, in rough numbers: enough to rank algorithms.
struct DeviceModel {
    double flops, bytes_per_second, launch_seconds;
    explicit DeviceModel(const DeviceInfo &info);
};

/// Every filter tap's place relative to the padded image's (or, before padding, the image's) first pixel, as kernels read them.
struct DeviceTaps {
    size_t rows, columns;  ///< offsets in the tables
    /// position(r) for each tap r of an axis; by filter rows and columns together, or, with `apart`, each axis alone.
    template<typename Row, typename Column>
    static DeviceTaps add(DeviceTables &tables, int64_t height, int64_t width, bool apart, const Row &row, const Column &column) {
        std::vector<int32_t> r, s;
        for (int64_t i = 0; i < height; i++) {
            for (int64_t j = 0; j < width; j++) {
                if (!apart || j == 0) {
                    r.push_back(static_cast<int32_t>(row(i)));
                }
                if (!apart || i == 0) {
                    s.push_back(static_cast<int32_t>(column(j)));
                }
            }
        }
        const size_t rows = tables.add(r);
        return {rows, tables.add(s)};
    }
};

/// Filters (i % m, tap, channel, i / m, group) as conv_implicit reads them, from any strides. Exchanged, for the gradient of the
/// input, i are the input channels and the sum runs over output channels.
class DeviceFilterPacker {
public:
    DeviceFilterPacker(const DeviceRuntime &device, const Conv2dProblem &problem, bool exchanged, int64_t m, DeviceTables &tables);
    size_t packed_bytes() const;
    bool pack(const StridedIn &filters, float *packed, const DeviceTables &tables, KernelContext &context) const;
    /// The same with the distance between groups given, where it is no multiple of that between output channels.
    bool pack_groups(const StridedIn &filters, int64_t group_stride, float *packed, const DeviceTables &tables, KernelContext &context) const;
    /// The packed filters of all groups, as the ports of the kernels take them; or with all taps of a channel as channels.
    KernelBuffer<float, 5> view(const float *packed, bool taps_as_channels = false) const;

private:
    const Conv2dProblem problem_;
    const Variant &variant_;
    const bool exchanged_;
    const int64_t m_, taps_, channels_, outputs_, blocks_;
    size_t rows_, columns_;
};

/// The image with its padding materialised by mode, which zero padding and a constant do not need.
class DevicePad {
public:
    DevicePad(const DeviceRuntime &device, const Conv2dProblem &problem);
    bool needed() const {
        return needed_;
    }
    double floats() const;
    /// Dense planes of all images from the input.
    bool run(const StridedIn &input, float *padded, KernelContext &context) const;
    StridedIn view(const float *padded) const;
    /// Of what is read: the padded image where it is needed, otherwise the image.
    int64_t height() const {
        return height_;
    }
    int64_t width() const {
        return width_;
    }
    /// What lies outside of what is read.
    float value() const {
        return problem_.padding_mode == PaddingMode::kConstant ? problem_.padding_value : 0.0f;
    }
    /// The padding before that is not materialised.
    int64_t top() const {
        return needed_ ? 0 : problem_.pad_top;
    }
    int64_t left() const {
        return needed_ ? 0 : problem_.pad_left;
    }

private:
    const Conv2dProblem problem_;
    const Variant *variant_ = nullptr;
    bool needed_ = false;
    int64_t height_, width_;
};

/// The gradient of a padded image back onto the image, with bias, residual and post-op: the adjoint of DevicePad.
class DeviceFoldPadding {
public:
    DeviceFoldPadding(const DeviceRuntime &device, const Conv2dProblem &problem, DeviceTables &tables);
    bool needed() const {
        return needed_;
    }
    int64_t height() const {
        return height_;
    }
    int64_t width() const {
        return width_;
    }
    double floats() const;
    StridedOut view(float *padded) const;
    bool run(const float *padded, const DeviceTables &tables, const float *bias, const KernelPostOp &post, const ForwardTensors &t, KernelContext &context) const;

private:
    const Conv2dProblem problem_;
    const Variant &variant_;
    bool needed_;
    int64_t height_, width_;
    size_t row_begin_ = 0, row_ = 0, column_begin_ = 0, column_ = 0;
    int64_t row_count_ = 0, column_count_ = 0;
};

/// conv_implicit over all images: a sum over channels and taps for each output channel and pixel.
struct ImplicitStage {
    const Variant *kernel;
    int64_t groups, channels, outputs, taps;  ///< channels and outputs of a group

    struct Image {
        int64_t height, width;
    };
    /// Channels and taps summed before a partial sum joins the total: about 256 terms, as the error of long sums grows with the
    /// root of this.
    int64_t channel_block() const {
        return std::min<int64_t>(channels, 256);
    }
    int64_t tap_block() const {
        return ceil_div(taps, ceil_div(taps, std::max<int64_t>(1, 256 / channel_block())));
    }
    bool run(const KernelBuffer<float, 5> &filters, const StridedIn &x, Image in, const int32_t *rows, const int32_t *columns, float value, int64_t step_h, int64_t step_w, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &y, Image out, int64_t images, KernelContext &context) const;
    /// Whether a launch can number its blocks: 65,535 in all dimensions of a grid but the first.
    Status within_grid() const;
    /// Predicted seconds of a call, and how the variant is spoken of.
    double seconds(const DeviceModel &model, Image out, int64_t images, double bytes) const;
    std::string text() const;
};

/// conv_plane over all images: groups with one input channel, whose part of the image a block keeps in shared memory.
struct PlaneStage {
    const Variant *kernel;
    Conv2dProblem problem;
    size_t most_shared;  ///< bytes that the device has for a block

    /// x: what is read, its padding before it and its value outside.
    bool run(const KernelBuffer<float, 5> &filters, const StridedIn &x, ImplicitStage::Image in, int64_t top, int64_t left, float value, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &y, KernelContext &context) const;
    /// kUnsupported where a grid has too few blocks, shared memory is too small or packed filters are too large.
    Status within_limits() const;
    double shared_bytes() const;
    double seconds(const DeviceModel &model, double bytes) const;
    std::string text() const;
};

/// filter_gradient over the images, then sum_parts into the caller's filters; and the bias gradient, the same with one tap that reads 1.
/// Where the parts of all images are too many, those of some images at a time are added to a running sum.
class FilterGradientStage {
public:
    FilterGradientStage(const DeviceRuntime &device, const Variant &kernel, const Conv2dProblem &problem, DeviceTables &tables);
    /// Whether the parts of one image can be summed in one launch.
    Status within_reach() const;
    /// Floats of parts, rows to a part and images at a time chosen so that they stay below `most` where that is possible.
    double lay_out(double most);
    /// What lay_out chose, and how threads share the work.
    std::string text() const;
    /// Predicted seconds of the sums, after lay_out.
    double seconds(const DeviceModel &model) const;
    /// x: what the taps read, of in.height x in.width pixels; with taps_as_channels the columns of unfold, already shifted.
    bool run(const StridedIn &x, ImplicitStage::Image in, const int32_t *rows, const int32_t *columns, float value, bool taps_as_channels, const FilterGradientTensors &t, float *parts, const DeviceTables &tables, KernelContext &context) const;
    /// Of the bias alone.
    bool run_bias(const StridedIn &x, ImplicitStage::Image in, const FilterGradientTensors &t, float *parts, const DeviceTables &tables, KernelContext &context) const;

private:
    /// The parts of `count` images from `first` on.
    bool launch(const StridedIn &gy, const StridedIn &x, ImplicitStage::Image in, int64_t first, int64_t count, int64_t channels, int64_t taps, const int32_t *rows, const int32_t *columns, int64_t step_h, int64_t step_w, float value, float *parts, KernelContext &context) const;
    /// Sums of `row` terms for each output channel over all images: launch_parts(first, count, to) makes parts of row * out_channels floats,
    /// total(at) is a sum as sum_parts writes it, and `result` the last one.
    template<typename LaunchParts, typename Total>
    bool sum(int64_t row, const LaunchParts &launch_parts, const Total &total, const KernelBuffer<float, 4> &result, bool flip, float *parts, KernelContext &context) const;
    double part_floats() const {
        return std::max(static_cast<double>(problem_.filter_elements()), static_cast<double>(problem_.out_channels));
    }

    const Conv2dProblem problem_;
    const Variant &kernel_, &sum_;
    int64_t rows_ = 1, row_blocks_ = 1, images_ = 1;
    size_t nowhere_;  ///< a tap outside every image
};

/// The gradient of the bias alone, by the variant that is expected to be fastest for sums of so many pixels and one tap.
class BiasGradientStage {
public:
    BiasGradientStage(const DeviceRuntime &device, const Conv2dProblem &problem, DeviceTables &tables);
    Status within_reach() const {
        return stage_.within_reach();
    }
    /// Of parts, which run() takes.
    double floats() const {
        return floats_;
    }
    bool run(const FilterGradientTensors &t, float *parts, const DeviceTables &tables, KernelContext &context) const {
        return stage_.run_bias(t.input, image_, t, parts, tables, context);
    }

private:
    const ImplicitStage::Image image_;  ///< of the input, which nothing reads
    FilterGradientStage stage_;
    double floats_;
};

/// Dense copies and finished results: out = post(in + bias + residual) for images of any strides.
bool device_finish(const DeviceRuntime &device, const StridedIn &in, ImplicitStage::Image size, int64_t channels, int64_t images, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &out, KernelContext &context);

/// Compiles all modules of a plan, and makes it hold them, by walking through its pack and forward without launching, with addresses that
/// nothing reads.
Status compile_modules(AlgorithmPlan &plan, DeviceRuntime &device, const Conv2dProblem &problem);

/// The forced variant of a stage on a device, or null when none is named.
Result<const Variant *> forced_device_variant(const PlanRequest &request, const char *stage);

/// Calls make(variant, consider) for each variant of the stage that the request admits; make hands every plan that it builds to
/// consider(plan). The one with the least predicted time wins: a plan decides its memory in block(workspace_limit), and takes nothing of
/// the device before it is chosen and prepared.
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
        if (const Status *failed = request.failure(plan->choice)) {
            status = *failed;
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
    return std::unique_ptr<AlgorithmPlan>(std::move(best));
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_direct(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_im2col(const PlanRequest &request);
/// bwd-filters: direct from the image, im2col from its columns.
Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_direct(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_im2col(const PlanRequest &request);
/// unfold and fold.
Result<std::unique_ptr<AlgorithmPlan>> plan_device_columns(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft_tiled(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_winograd(const PlanRequest &request);
/// What the two above ask of a problem, forward or bwd-filters: rows and columns of fft_tiled's tiles, and the reason where none is larger than
/// what the filter spans after decimation; winograd's reason.
constexpr int64_t kDeviceTiles[] = {16, 32, 64};
Status device_tiles_hold(int64_t rows, int64_t columns);
Status device_winograd_takes(const Conv2dProblem &problem);
/// bwd-data by the planner's forward plans (backward_data.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_device_adjoint(Algorithm algorithm, Planner planner, const PlanRequest &request);
/// bwd-filters by whole-plane transforms (backward_filters_fft.cpp), and by transforms of tiles (backward_filters_tiled.cpp).
Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_fft(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_fft_tiled(const PlanRequest &request);
Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_winograd(const PlanRequest &request);

}  // namespace fourfold
