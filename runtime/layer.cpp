// Conv2dLayer: a Plan, or a SeparablePlan where the filters' values allow it, with its memory.
#include "fourfold/layer.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "checks.h"
#include "fourfold/separable.h"
#include "tables.h"
#include "two_passes.h"

namespace fourfold {

bool two_passes_are_faster(const Conv2dProblem &problem, ConstView filters, PlanOptions options) {
    options.threads = 1;
    options.choose_for_threads = options.packs_each_time = false;
    const Result<SeparablePlan> separable = SeparablePlan::create(problem, filters, options);
    const Result<std::vector<Candidate>> candidates = separable ? explain(problem, options) : separable.status();
    if (!candidates) {
        return false;
    }
    const std::shared_ptr<const Tables> tables = current_tables();
    const std::vector<const MeasuredProblem *> measured = tables->exact({tuning_problem(problem), options.accuracy, options.threads, options.cache, recorded_limit(options.workspace_limit)});
    double correction = 1.0, seconds = std::numeric_limits<double>::infinity();
    for (const Candidate &c : *candidates) {
        // Both passes are direct: their predictions are as far off as its.
        if (c.algorithm == Algorithm::kDirect && c.supported) {
            correction = c.corrected_seconds / c.predicted_seconds;
        }
        if (c.chosen) {
            seconds = c.corrected_seconds;
            for (size_t i = 0; !measured.empty() && i < measured.front()->entries.size(); i++) {
                const MeasuredProblem::Entry &entry = measured.front()->entries[i];
                seconds = entry.choice == c.choice ? entry.seconds : seconds;
            }
        }
    }
    return correction * separable->predicted_seconds() < seconds;
}

struct Conv2dLayer::Impl {
    Conv2dProblem problem;
    std::optional<Plan> plan;
    std::optional<SeparablePlan> separable;  ///< instead of the plan
    std::vector<float> bias;                 ///< empty: none
    AlignedBuffer packed, workspace;
};

Conv2dLayer::Conv2dLayer()
    : impl_(std::make_unique<Impl>()) {
}
Conv2dLayer::Conv2dLayer(Conv2dLayer &&) noexcept = default;
Conv2dLayer &Conv2dLayer::operator=(Conv2dLayer &&) noexcept = default;
Conv2dLayer::~Conv2dLayer() = default;

Result<Conv2dLayer> Conv2dLayer::create(const Conv2dProblem &problem, ConstView filters, const float *bias, const PlanOptions &options) {
    try {
        return make(problem, filters, bias, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while making a layer");
    }
}

Result<Conv2dLayer> Conv2dLayer::make(const Conv2dProblem &problem, ConstView filters, const float *bias, const PlanOptions &options) {
    if (Status status = problem.validate(); !status.ok()) {
        return status;
    }
    if (problem.operation != Operation::kForward && problem.operation != Operation::kBackwardData) {
        return bad(problem.to_string() + " is no layer; fwd and bwd-data are");
    }
    if (filters.data == nullptr) {
        return bad("filters are null");
    }
    if (options.device != Device::kCpu) {
        return Status(StatusCode::kUnsupported, "a layer's memory is the host's; on device '" + to_string(options.device) + "' use Plan or StagedPlan");
    }
    Result<Plan> plan = Plan::create(problem, options);
    if (!plan) {
        return plan.status();
    }
    Conv2dLayer layer;
    Impl &own = *layer.impl_;
    own.problem = problem;
    if (bias != nullptr) {
        own.bias.assign(bias, bias + (problem.operation == Operation::kForward ? problem.out_channels : problem.in_channels));
    }
    // What the caller or the environment names, or bars, is left alone.
    std::vector<std::string> barred = *process_blocked();  // good, or there were no plan
    barred.insert(barred.end(), options.blocked.begin(), options.blocked.end());
    const bool free_choice = options.algorithm == Algorithm::kAuto && options.choice.empty() && options.variant.empty() && plan->tier() != Tier::kEnvironment && std::find(barred.begin(), barred.end(), "direct") == barred.end();
    if (free_choice && problem.operation == Operation::kForward && problem.filter_height > 1 && problem.filter_width > 1) {
        if (two_passes_are_faster(problem, filters, options)) {
            Result<SeparablePlan> separable = SeparablePlan::create(problem, filters, options);
            if (!separable) {
                return separable.status();
            }
            own.separable = std::move(*separable);
        }
    }
    const auto reserve = [](AlignedBuffer &buffer, size_t bytes, const char *what) {
        buffer = bytes > 0 ? AlignedBuffer(bytes) : AlignedBuffer();
        if (buffer.bytes() != bytes) {
            return Status(StatusCode::kResourceExhausted, "memory ran out: " + bytes_text(bytes) + " for " + what);
        }
        // Kernels compute in lanes that nobody reads: what malloc left there may be denormal, and slow.
        std::fill_n(static_cast<std::byte *>(buffer.data()), bytes, std::byte{0});
        return Status();
    };
    if (own.separable) {
        if (Status status = reserve(own.workspace, own.separable->workspace_bytes(), "the workspace"); !status.ok()) {
            return status;
        }
        return layer;
    }
    {
        AlignedBuffer scratch;
        Status status = reserve(own.packed, plan->packed_filter_bytes(), "the packed filters");
        if (status.ok()) {
            status = reserve(scratch, plan->workspace_bytes_unpacked(), "packing the filters");
        }
        if (status.ok()) {
            status = plan->pack_filters(filters, own.packed, scratch);
        }
        if (!status.ok()) {
            return status;
        }
    }
    if (Status status = reserve(own.workspace, plan->workspace_bytes(), "the workspace"); !status.ok()) {
        return status;
    }
    own.plan = std::move(*plan);
    return layer;
}

Status Conv2dLayer::run(ConstView input, MutableView output, ConstView residual, const ExecutionContext &context) {
    if (impl_ == nullptr) {
        return bad("the layer was moved from");
    }
    Tensors tensors;
    const bool forward = impl_->problem.operation == Operation::kForward;
    (forward ? tensors.input : tensors.grad_output) = input;
    (forward ? tensors.output : tensors.grad_input) = output;
    tensors.bias = impl_->bias.empty() ? nullptr : impl_->bias.data();
    tensors.residual = residual;
    if (impl_->separable) {
        return impl_->separable->execute(tensors, impl_->workspace, context);
    }
    tensors.filters = Filters(impl_->packed);
    return impl_->plan->execute(tensors, impl_->workspace, context);
}

const Conv2dProblem &Conv2dLayer::problem() const {
    return impl_->problem;
}

bool Conv2dLayer::separable() const {
    return impl_->separable.has_value();
}

size_t Conv2dLayer::workspace_bytes() const {
    return impl_->workspace.bytes();
}

size_t Conv2dLayer::packed_filter_bytes() const {
    return impl_->packed.bytes();
}

double Conv2dLayer::predicted_seconds() const {
    return impl_->separable ? impl_->separable->predicted_seconds() : impl_->plan->predicted_seconds();
}

std::string Conv2dLayer::describe() const {
    return impl_->separable ? impl_->separable->describe() : impl_->plan->describe();
}

}  // namespace fourfold
