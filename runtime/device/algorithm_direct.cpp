// direct on a GPU: every thread sums some output channels of some pixels over channels and taps, reading the image where it lies (an
// implicit GEMM), or, where groups have one input channel, a tile of it in shared memory; one launch for all images, bias, residual and
// post-op included. The gradient of the input is the same with
// channels exchanged and strides dividing; that of the filters sums over pixels in parts. Zero and constant padding are read as such;
// other modes are padded first, or folded back after.
#include "device/device_plan.h"

namespace fourfold {
namespace {

/// Images of 2^31 bytes and more are beyond a kernel call's 32-bit indices.
Status images_within_reach(const Conv2dProblem &p) {
    const double largest = std::max(static_cast<double>(p.in_channels) * static_cast<double>(p.in_height + p.pad_top + p.pad_bottom) * static_cast<double>(p.in_width + p.pad_left + p.pad_right), static_cast<double>(p.out_channels) * static_cast<double>(p.out_height() * p.out_width()));
    return largest < static_cast<double>(1 << 29) ? Status() : Status(StatusCode::kUnsupported, "an image of 2^31 bytes or more is beyond a kernel call's reach");
}

/// What the plans of images share: padding materialised where its mode needs that, packed filters, tables. A plan adds its stage.
class DeviceImagesPlan : public AlgorithmPlan {
public:
    Status block(size_t workspace_limit) {
        Arena arena;
        padded_offset_ = arena.reserve_floats(padded_floats());
        workspace_bytes = serial_workspace_bytes = arena.bytes();
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        packed_bytes = packer_.packed_bytes();
        const DeviceModel model(device_.info());
        const double bytes = 4.0 * (static_cast<double>(problem_.input_elements()) + static_cast<double>(problem_.output_elements())), padded = 8.0 * static_cast<double>(workspace_bytes / sizeof(float));
        serial_seconds = predicted_seconds = stage_seconds(model, bytes + padded) + (padded > 0 ? padded / model.bytes_per_second + model.launch_seconds : 0.0);
        details = stage_text();
        Status status = images_within_reach(problem_);
        return status.ok() ? stage_limits() : status;
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) { return packer_.pack(filters, floats_at(packed, 0), tables_, context); });
    }

protected:
    DeviceImagesPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), device_(*request.device), gradient_(problem_.operation == Operation::kBackwardData), post_(kernel_post_op(problem_)), pad_(device_, problem_), packer_(device_, problem_, gradient_, kernel.parameter("m", 1), tables_), zeros_(tables_.add_zeros(static_cast<size_t>(std::max(problem_.in_channels, problem_.out_channels)))) {
        variant = choice = kernel.name;
        layout = std::string(gradient_ ? "bwd-data " : "") + "device direct m" + std::to_string(kernel.parameter("m", 1));
    }

    /// Of the padded images in the workspace.
    virtual double padded_floats() const {
        return pad_.floats();
    }
    virtual double stage_seconds(const DeviceModel &model, double bytes) const = 0;
    virtual std::string stage_text() const = 0;
    /// kUnsupported where the device cannot launch the stage.
    virtual Status stage_limits() const = 0;

    const float *bias_or_zeros(const float *bias) const {
        return bias != nullptr ? bias : tables_.floats(zeros_);
    }
    /// The images as the stage reads them, padded where that is needed; false with a message in the context.
    bool padded(const StridedIn &input, std::byte *workspace, StridedIn &read, KernelContext &context) const {
        float *const to = floats_at(workspace, padded_offset_);
        read = pad_.needed() ? pad_.view(to) : input;
        return !pad_.needed() || pad_.run(input, to, context);
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const bool gradient_;
    const KernelPostOp post_;
    DeviceTables tables_;
    const DevicePad pad_;
    const DeviceFilterPacker packer_;
    const size_t zeros_;
    size_t padded_offset_ = 0;
};

/// fwd and bwd-data.
class DeviceDirectPlan final : public DeviceImagesPlan {
public:
    DeviceDirectPlan(const PlanRequest &request, const Variant &kernel)
        : DeviceImagesPlan(request, kernel), fold_(device_, problem_, tables_), stage_{&kernel, problem_.groups, (gradient_ ? problem_.out_channels : problem_.in_channels) / problem_.groups, (gradient_ ? problem_.in_channels : problem_.out_channels) / problem_.groups, problem_.filter_height * problem_.filter_width} {
        const Conv2dProblem &p = problem_;
        const int64_t top = fold_.needed() ? 0 : p.pad_top, left = fold_.needed() ? 0 : p.pad_left;
        taps_ = gradient_ ? DeviceTaps::add(tables_, p.filter_height, p.filter_width, false, [&](int64_t r) { return top - r * p.dilation_h; }, [&](int64_t s) { return left - s * p.dilation_w; })
                          : DeviceTaps::add(tables_, p.filter_height, p.filter_width, false, [&](int64_t r) { return r * p.dilation_h - pad_.top(); }, [&](int64_t s) { return s * p.dilation_w - pad_.left(); });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const float *const bias = bias_or_zeros(t.bias);
        const int32_t *const rows = tables_.ints(taps_.rows), *const columns = tables_.ints(taps_.columns);
        const KernelBuffer<float, 5> filters = packer_.view(floats_at(packed, 0));
        return on_device(execution, [&](KernelContext &context) {
            const ImplicitStage::Image y = {p.out_height(), p.out_width()};
            if (gradient_) {
                if (fold_.needed()) {
                    float *const whole = floats_at(workspace, padded_offset_);
                    return stage_.run(filters, t.input, y, rows, columns, 0.0f, p.stride_h, p.stride_w, tables_.floats(zeros_), StridedIn{}, KernelPostOp{}, fold_.view(whole), target(), p.batch, context) &&
                           fold_.run(whole, tables_, bias, post_, t, context);
                }
                return stage_.run(filters, t.input, y, rows, columns, 0.0f, p.stride_h, p.stride_w, bias, t.residual, post_, t.output, target(), p.batch, context);
            }
            StridedIn x;
            return padded(t.input, workspace, x, context) &&
                   stage_.run(filters, x, {pad_.height(), pad_.width()}, rows, columns, pad_.value(), p.stride_h, p.stride_w, bias, t.residual, post_, t.output, y, p.batch, context);
        });
    }

private:
    double padded_floats() const override {
        return gradient_ ? fold_.floats() : pad_.floats();
    }
    double stage_seconds(const DeviceModel &model, double bytes) const override {
        // Of the taps that a pixel of the gradient tries, one in s0*s1 hits.
        return stage_.seconds(model, gradient_ ? target() : ImplicitStage::Image{problem_.out_height(), problem_.out_width()}, problem_.batch, bytes);
    }
    std::string stage_text() const override {
        return stage_.text() + (gradient_ && fold_.needed() ? "; the padded image's gradient is folded back" : pad_.needed() && !gradient_ ? "; padded first" : "");
    }
    Status stage_limits() const override {
        return stage_.within_grid();
    }
    /// Of the gradient: the padded image's where that is folded back.
    ImplicitStage::Image target() const {
        return {fold_.height(), fold_.width()};
    }

    const DeviceFoldPadding fold_;
    const ImplicitStage stage_;
    DeviceTaps taps_{};
};

/// fwd where groups have one input channel: depthwise layers and single-channel images.
class DevicePlanePlan final : public DeviceImagesPlan {
public:
    DevicePlanePlan(const PlanRequest &request, const Variant &kernel)
        : DeviceImagesPlan(request, kernel), stage_{&kernel, problem_, device_.shared_bytes()} {
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            StridedIn x;
            return padded(t.input, workspace, x, context) &&
                   stage_.run(packer_.view(floats_at(packed, 0)), x, {pad_.height(), pad_.width()}, pad_.top(), pad_.left(), pad_.value(), bias_or_zeros(t.bias), t.residual, post_, t.output, context);
        });
    }

private:
    double stage_seconds(const DeviceModel &model, double bytes) const override {
        return stage_.seconds(model, bytes);
    }
    std::string stage_text() const override {
        return stage_.text() + (pad_.needed() ? "; padded first" : "");
    }
    Status stage_limits() const override {
        return stage_.within_limits();
    }

    const PlaneStage stage_;
};

/// bwd-filters.
class DeviceFilterGradientPlan final : public AlgorithmPlan {
public:
    DeviceFilterGradientPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), device_(*request.device), pad_(device_, problem_), stage_(device_, kernel, problem_, tables_) {
        variant = choice = kernel.name;
        const Conv2dProblem &p = problem_;
        taps_ = DeviceTaps::add(tables_, p.filter_height, p.filter_width, false, [&](int64_t r) { return r * p.dilation_h - pad_.top(); }, [&](int64_t s) { return s * p.dilation_w - pad_.left(); });
    }

    Status block(size_t workspace_limit) {
        constexpr double most = 64 << 20;
        for (double floats : {most, 0.0}) {
            Arena arena;
            padded_offset_ = arena.reserve_floats(pad_.floats());
            parts_offset_ = arena.reserve_floats(stage_.lay_out(floats));
            workspace_bytes = serial_workspace_bytes = arena.bytes();
            if (workspace_bytes <= workspace_limit) {
                break;
            }
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        const DeviceModel model(device_.info());
        serial_seconds = predicted_seconds = stage_.seconds(model) + 3.0 * static_cast<double>(workspace_bytes) / model.bytes_per_second + 4 * model.launch_seconds;
        details = stage_.text() + (pad_.needed() ? "; padded first" : "");
        Status status = images_within_reach(problem_);
        return status.ok() ? stage_.within_reach() : status;
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const override {
        return Status();
    }
    Status forward(const ForwardTensors &, const std::byte *, std::byte *, const Execution &) const override {
        return Status(StatusCode::kInternal, "a plan of bwd-filters was asked for images");
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        float *const padded = floats_at(workspace, padded_offset_);
        return on_device(execution, [&](KernelContext &context) {
            if (pad_.needed() && !pad_.run(t.input, padded, context)) {
                return false;
            }
            return stage_.run(pad_.needed() ? pad_.view(padded) : t.input, {pad_.height(), pad_.width()}, tables_.ints(taps_.rows), tables_.ints(taps_.columns), pad_.value(), false, t, floats_at(workspace, parts_offset_), tables_, context);
        });
    }

private:
    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    DeviceTables tables_;
    const DevicePad pad_;
    FilterGradientStage stage_;
    DeviceTaps taps_{};
    size_t padded_offset_ = 0, parts_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_direct(const PlanRequest &request) {
    const bool gradient = request.problem.operation == Operation::kBackwardData;
    Result<std::unique_ptr<AlgorithmPlan>> implicit = best_device_variant<DeviceDirectPlan>(request, "conv_implicit", [&](const Variant &kernel, const auto &consider) {
        if (has_parameter(kernel, gradient ? "form=transposed" : "form=forward")) {
            consider(std::make_unique<DeviceDirectPlan>(request, kernel));
        }
    });
    if (gradient || request.problem.in_channels != request.problem.groups) {
        return implicit;
    }
    Result<std::unique_ptr<AlgorithmPlan>> plane = best_device_variant<DevicePlanePlan>(request, "conv_plane", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DevicePlanePlan>(request, kernel));
    });
    if (implicit && plane) {
        return (*plane)->ranked_seconds < (*implicit)->ranked_seconds ? std::move(plane) : std::move(implicit);
    }
    const bool named = !request.options.variant.empty() && forced_device_variant(request, "conv_plane").ok();
    return plane || (!implicit && named) ? std::move(plane) : std::move(implicit);
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_direct(const PlanRequest &request) {
    return best_device_variant<DeviceFilterGradientPlan>(request, "filter_gradient", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DeviceFilterGradientPlan>(request, kernel));
    });
}

}  // namespace fourfold
