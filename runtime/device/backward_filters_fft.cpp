// bwd-filters by whole-plane transforms on a GPU: group by group a forward problem in which images and input channels change places and gy
// is the filter (backward_filters_fft.cpp has the formulas). gy is packed in every execution, some images at a time: the sum of those
// before is then what the forward plan adds.
#include <utility>

#include "backward_filters.h"
#include "device/device_plan.h"

namespace fourfold {
namespace {

constexpr int64_t kReach = (int64_t{1} << 29) - 1;  // floats that 32-bit indices of bytes reach

class DeviceFftFilterGradient final : public BackwardFiltersPlan {
public:
    explicit DeviceFftFilterGradient(const PlanRequest &request)
        : BackwardFiltersPlan(request), device_(*request.device), join_(device_variant(device_, "join_planes")), bias_(device_, problem_, tables_), outputs_(problem_.out_channels / problem_.groups), zeros_(tables_.add_zeros(static_cast<size_t>(outputs_))) {
        const Conv2dProblem &p = problem_;
        // Images are what the forward problem sums over, and a kernel call reaches all of these together.
        const int64_t largest = std::max(p.in_channels * p.in_height * p.in_width, p.out_channels * p.out_height() * p.out_width());
        images_ = std::clamp<int64_t>(std::min(kImagesOfASum, kReach / largest), 1, p.batch);
        images_ = ceil_div(p.batch, ceil_div(p.batch, images_));
    }

    Status plan(const PlanRequest &request) {
        const Conv2dProblem q = exchanged(images_);
        PlanRequest part = request;
        part.rank = nullptr;  // it knows the whole problem only
        Arena arena;
        sums_offset_ = arena.reserve_floats(static_cast<double>(q.output_elements()));
        packed_offset_ = arena.bytes();
        const auto bias_bytes = static_cast<size_t>(bias_.floats() * sizeof(float));
        if (Status status = bias_.within_reach(); !status.ok()) {
            return status;
        }
        size_t own = packed_offset_;
        // The size of the packed gradient is known with the plan; a limit then holds for what is left.
        for (int attempt = 0; attempt < 2; attempt++) {
            if (own > request.options.workspace_limit) {
                workspace_bytes = own;
                return workspace_exhausted(own, request.options.workspace_limit);
            }
            part.options.workspace_limit = request.options.workspace_limit - own;
            size_t packed = 0, scratch = bias_bytes;
            for (const auto &[images, plan] : {std::pair(images_, &plan_), {problem_.batch % images_, &rest_}}) {
                if (images == 0) {
                    continue;
                }
                const Result<Conv2dProblem> problem = reachable_problem(exchanged(images));
                Status status = problem.status();
                if (problem) {
                    part.problem = *problem;
                    Result<std::unique_ptr<AlgorithmPlan>> made = plan_device_fft(part);
                    status = made.status();
                    *plan = made ? std::move(*made) : nullptr;
                }
                if (!status.ok()) {
                    return Status(status.code(), "as a forward problem, '" + exchanged(images).to_string() + "': " + status.message() + (own > packed_offset_ ? " (besides " + std::to_string(own) + " bytes)" : ""));
                }
                packed = std::max(packed, (*plan)->packed_bytes);
                scratch = std::max({scratch, (*plan)->workspace_bytes, (*plan)->pack_workspace_bytes});
                part.collect = nullptr;
            }
            own = packed_offset_ + (packed + kAlignment - 1) / kAlignment * kAlignment;
            workspace_bytes = own + scratch;
            if (workspace_bytes <= request.options.workspace_limit) {
                break;
            }
        }
        scratch_offset_ = own;
        if (workspace_bytes > request.options.workspace_limit) {
            return workspace_exhausted(workspace_bytes, request.options.workspace_limit);
        }
        serial_workspace_bytes = workspace_bytes;
        variant = plan_->variant;
        choice = plan_->choice;
        const int64_t rounds = problem_.groups * ceil_div(problem_.batch, images_);
        details = "as '" + q.to_string() + "'" + (rounds > 1 ? ", " + std::to_string(rounds) + " times" : "") + ": " + plan_->details;
        // Packing transforms one plane for each of gy, and has launches of its own.
        const double channels = static_cast<double>(q.in_channels), outputs = static_cast<double>(outputs_), times = static_cast<double>(problem_.batch * problem_.groups) / static_cast<double>(images_);
        const DeviceModel model(device_.info());
        serial_seconds = predicted_seconds = plan_->serial_seconds * times * (1.0 + 2.0 * channels * outputs / (static_cast<double>(q.batch) * (channels + outputs))) + static_cast<double>(10 * rounds) * model.launch_seconds;
        return Status();
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        for (AlgorithmPlan *plan : {plan_.get(), rest_.get()}) {
            status = status.ok() && plan != nullptr ? plan->prepare() : status;
        }
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        Status status;
        for (int64_t g = 0; g < problem_.groups && status.ok(); g++) {
            status = group(t, g, workspace, execution);
        }
        if (!status.ok() || t.grad_bias == nullptr) {
            return status;
        }
        return on_device(execution, [&](KernelContext &context) {
            return bias_.run(t, floats_at(workspace, scratch_offset_), tables_, context);
        });
    }

private:
    /// Of a group.
    Conv2dProblem exchanged(int64_t images) const {
        Conv2dProblem q = filter_gradient_problem(problem_, images);
        q.groups = 1;
        q.in_channels = images;
        q.out_channels = outputs_;
        q.residual = images_ < problem_.batch;
        return q;
    }

    Status group(const FilterGradientTensors &t, int64_t g, std::byte *workspace, const Execution &execution) const {
        const Conv2dProblem &p = problem_, q = exchanged(images_);
        const int64_t *x = t.input.s, *gy = t.grad_output.s, *w = t.grad_filters.s;
        float *const sums = floats_at(workspace, sums_offset_);
        const int64_t plane = q.out_height() * q.out_width();
        ForwardTensors one;
        one.output = {sums, {outputs_ * plane, plane, q.out_width(), 1}};
        for (int64_t n = 0; n < p.batch; n += images_) {
            const AlgorithmPlan &plan = n + images_ <= p.batch ? *plan_ : *rest_;
            one.input = {t.input.data + n * x[0] + g * q.batch * x[1], {x[1], x[0], x[2], x[3]}};
            const StridedIn filters = {t.grad_output.data + n * gy[0] + g * outputs_ * gy[1], {gy[1], gy[0], gy[2], gy[3]}};
            Status status = plan.pack(filters, workspace + packed_offset_, workspace + scratch_offset_, execution);
            status = status.ok() ? plan.forward(one, workspace + packed_offset_, workspace + scratch_offset_, execution) : status;
            if (!status.ok()) {
                return status;
            }
            one.residual = {sums, {one.output.s[0], one.output.s[1], one.output.s[2], one.output.s[3]}};
        }
        // To the caller's filters: planes that are one tile each, backwards where filters are flipped.
        return on_device(execution, [&](KernelContext &context) {
            const bool flip = p.filter_mode == FilterMode::kConvolution;
            const int64_t sign = flip ? -1 : 1;
            float *const first = t.grad_filters.data + g * outputs_ * w[0] + (flip ? (p.filter_height - 1) * w[2] + (p.filter_width - 1) * w[3] : 0);
            const Floats<4> from(sums, {{q.out_width(), 1}, {q.out_height(), q.out_width()}, {outputs_, plane}, {q.batch, outputs_ * plane}});
            const Floats<4> to(first, {{p.filter_width, sign * w[3]}, {p.filter_height, sign * w[2]}, {outputs_, w[0]}, {q.batch, w[1]}});
            return call(join_, context, from, int32_t{1}, int32_t{1}, static_cast<int32_t>(q.out_width()), static_cast<int32_t>(q.out_height()), Floats<1>(tables_.floats(zeros_), {{outputs_, 1}}), to, int32_t{0}, int32_t{0}, 0.0f, 0.0f, to);
        });
    }

    DeviceRuntime &device_;
    const Variant &join_;
    DeviceTables tables_;
    const BiasGradientStage bias_;
    const int64_t outputs_;  ///< of a group
    const size_t zeros_;
    int64_t images_ = 1;  ///< at a time
    std::unique_ptr<AlgorithmPlan> plan_, rest_;  ///< of images_ images; of the last ones where they are fewer
    size_t sums_offset_ = 0, packed_offset_ = 0, scratch_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_fft(const PlanRequest &request) {
    auto plan = std::make_unique<DeviceFftFilterGradient>(request);
    if (Status status = plan->plan(request); !status.ok()) {
        return status;
    }
    return std::unique_ptr<AlgorithmPlan>(std::move(plan));
}

}  // namespace fourfold
