#include "fourfold/staged_plan.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "checks.h"
#include "device/pieces.h"
#include "device/stager.h"

namespace fourfold {

struct StagedPlan::Impl {
    Impl(const Plan &p, DeviceRuntime &on)
        : plan(p), device(p.device()), runtime(on), has_filters(p.packed_filter_bytes() > 0) {
    }
    ~Impl() {
        if (launched.get() != nullptr) {
            static_cast<void>(runtime.wait(launched.get()));  // nobody is left to tell
        }
    }

    const Plan plan;
    const Device device;
    DeviceRuntime &runtime;
    Stager stager;
    std::unique_ptr<ConvolutionInPieces> pieces;  ///< does everything, where it is there
    const bool has_filters;
    bool packed_once = false;
    // What each operation reads and writes: see Tensors.
    DeviceBuffer input, second_input, residual, bias, filters, packed, workspace, output, second_output;
    bool bias_given = false;  ///< of the last upload
    DeviceEvent launched;     ///< when what launch() began is done; the caller's stream may be gone then
    bool second_output_wanted = false;
    // The last call's views, with the device's addresses.
    ConstView input_view, second_input_view, residual_view, filters_view;
    MutableView output_view;

    Status reserve(DeviceBuffer &buffer, size_t bytes) {
        Result<DeviceBuffer> memory = DeviceBuffer::allocate(device, bytes);
        if (memory) {
            buffer = std::move(*memory);
        }
        return memory.status();
    }

    /// What is needed on the device, and the most that is copied at once.
    struct Need {
        DeviceBuffer *buffer;
        size_t bytes;
    };
    Result<std::vector<Need>> needs(size_t &most_copied) {
        const Conv2dProblem &p = plan.problem();
        const auto floats = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
        const size_t x = floats(p.input_elements()), w = floats(p.filter_elements()), y = floats(p.output_elements());
        const size_t columns = p.moves_columns() ? floats(p.column_elements()) : 0;
        size_t in = x, out = y, second_in = 0, second_out = 0, channels = 0;
        switch (p.operation) {
        case Operation::kForward:
            channels = floats(p.out_channels);
            break;
        case Operation::kBackwardData:
            in = y;
            out = x;
            channels = floats(p.in_channels);
            break;
        case Operation::kBackwardFilters:
            second_in = y;
            out = w;
            second_out = floats(p.out_channels);
            break;
        case Operation::kUnfold:
            out = columns;
            break;
        case Operation::kFold:
            in = columns;
            out = x;
            break;
        default:
            return bad("operation of '" + p.to_string() + "' is no plan's");
        }
        most_copied = std::max({in, second_in, out, has_filters ? w : 0});
        return std::vector<Need>{
            {&input, in}, {&second_input, second_in}, {&residual, p.residual ? out : 0}, {&bias, channels}, {&filters, has_filters ? w : 0}, {&packed, plan.packed_filter_bytes()}, {&workspace, has_filters ? plan.workspace_bytes_unpacked() : plan.workspace_bytes()}, {&output, out}, {&second_output, second_out}};
    }

    /// kResourceExhausted where more than `most` bytes of the device are needed.
    Status reserve_all(size_t most) {
        size_t most_copied = 0;
        const Result<std::vector<Need>> all = needs(most_copied);
        if (!all) {
            return all.status();
        }
        double bytes = 0.0;
        for (const Need &need : *all) {
            bytes += static_cast<double>(need.bytes);
        }
        if (bytes > static_cast<double>(most)) {
            return device_error(device, StatusCode::kResourceExhausted, plan.problem().to_string() + ": takes " + std::to_string(static_cast<size_t>(bytes)) + " bytes of memory and may have " + std::to_string(most));
        }
        for (const Need &need : *all) {
            if (Status status = reserve(*need.buffer, need.bytes); !status.ok()) {
                return status;
            }
        }
        const Status status = launched.make(runtime);
        return status.ok() ? stager.make(runtime, most_copied) : status;
    }

    /// Sizes of x, w and y, and of columns.
    using Sizes = std::array<int64_t, 4>;
    Sizes image_sizes() const {
        const Conv2dProblem &p = plan.problem();
        return {p.batch, p.in_channels, p.in_height, p.in_width};
    }
    Sizes filter_sizes() const {
        const Conv2dProblem &p = plan.problem();
        return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
    }
    Sizes result_sizes() const {
        const Conv2dProblem &p = plan.problem();
        return {p.batch, p.out_channels, p.out_height(), p.out_width()};
    }
    Sizes column_sizes() const {
        const Conv2dProblem &p = plan.problem();
        return {p.batch, p.in_channels, p.filter_height * p.filter_width, p.out_height() * p.out_width()};
    }

    /// Whether the view is of memory without gaps: then it is copied as it lies.
    template<typename T>
    static Status check(const char *name, const TensorView<T> &view, const Sizes &sizes) {
        if (view.data == nullptr) {
            return bad(std::string(name) + " is null");
        }
        int64_t reach = 1, elements = 1;
        for (int d = 0; d < 4 && !view.dense; d++) {
            if (view.strides[d] < 1) {
                return bad(std::string(name) + " has a stride of " + std::to_string(view.strides[d]) + "; each must be positive");
            }
            reach += (sizes[static_cast<size_t>(d)] - 1) * view.strides[d];
            elements *= sizes[static_cast<size_t>(d)];
        }
        return reach == elements ? Status() : bad(std::string(name) + " has gaps between its elements; a StagedPlan takes tensors without");
    }

    /// To the device, and the view there.
    Status send(const char *name, const DeviceBuffer &to, const ConstView &view, const Sizes &sizes, void *stream, ConstView &there) {
        if (to.bytes() == 0) {
            return Status();
        }
        if (Status status = check(name, view, sizes); !status.ok()) {
            return status;
        }
        there = view;
        there.data = to.floats();
        return stager.send(to.data(), view.data, to.bytes(), stream);
    }
    Status fetch(const char *name, const DeviceBuffer &from, const MutableView &view, void *stream) {
        if (view.data == nullptr) {
            return bad(std::string(name) + " is null");
        }
        return stager.fetch(view.data, from.data(), from.bytes(), stream);
    }

    /// For every call, before anything is put into its stream.
    Status enter(const ExecutionContext &context) const {
        return own_stream(device, context.stream);
    }
    Status enter(const Tensors &tensors, const ExecutionContext &context) const {
        if (has_filters && tensors.filters.is_packed()) {
            return bad("filters are packed; a StagedPlan takes them as they are and packs them on the device, or keeps those of its pack_filters where none are given");
        }
        return enter(context);
    }
    /// Waits until nothing reads or writes the caller's memory any more, also after an error.
    Status finish(Status status, const ExecutionContext &context) const {
        const Status waited = runtime.synchronize(context.stream);
        return status.ok() ? waited : status;
    }

    static Result<StagedPlan> create(const Plan &plan, size_t device_bytes);

    /// For the parts of execute.
    Status at_once() const {
        return pieces == nullptr ? Status() : device_error(device, StatusCode::kUnsupported, "the work is done in " + std::to_string(pieces->pieces()) + " pieces, of which only execute is one call");
    }

    /// Begins what the public pack_filters and upload wait for, and execute after begin_launch().
    Status begin_pack(ConstView filters, const ExecutionContext &context);
    Status begin_upload(const Tensors &tensors, const ExecutionContext &context);
    Status begin_launch(const ExecutionContext &context);
    /// Where the result goes in the caller's memory.
    const MutableView &result(const Tensors &t) const {
        const Operation operation = plan.problem().operation;
        return operation == Operation::kBackwardData ? t.grad_input : operation == Operation::kBackwardFilters ? t.grad_filters : t.output;
    }
    const char *result_name() const {
        const Operation operation = plan.problem().operation;
        return operation == Operation::kBackwardData ? "grad_input" : operation == Operation::kBackwardFilters ? "grad_filters" : "output";
    }
};

StagedPlan::StagedPlan(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {
}
StagedPlan::StagedPlan(StagedPlan &&other) noexcept = default;
StagedPlan &StagedPlan::operator=(StagedPlan &&other) noexcept = default;
StagedPlan::~StagedPlan() = default;

const Plan &StagedPlan::plan() const {
    return impl_->plan;
}

int64_t StagedPlan::pieces() const {
    return impl_->pieces != nullptr ? impl_->pieces->pieces() : 1;
}

Result<StagedPlan> StagedPlan::create(const Plan &plan) {
    if (plan.device().kind == Device::kCpu) {
        return bad("a plan of device 'cpu' needs no staging; execute it");
    }
    return Impl::create(plan, std::numeric_limits<size_t>::max());
}

Result<StagedPlan> StagedPlan::Impl::create(const Plan &plan, size_t device_bytes) {
    const Result<DeviceRuntime *> runtime = device_runtime(plan.device());
    if (!runtime) {
        return runtime.status();
    }
    auto impl = std::make_unique<Impl>(plan, **runtime);
    const Status status = impl->reserve_all(device_bytes);
    return status.ok() ? Result<StagedPlan>(StagedPlan(std::move(impl))) : status;
}

Result<StagedPlan> StagedPlan::create(const Conv2dProblem &problem, const PlanOptions &options, size_t device_bytes) {
    if (options.device.kind == Device::kCpu) {
        return bad("device 'cpu' needs no staging; make a Plan and execute it");
    }
    const Result<DeviceRuntime *> runtime = device_runtime(options.device);
    if (!runtime) {
        return runtime.status();
    }
    // Not the last byte: drivers take some for themselves.
    const size_t limit = std::min(device_bytes, (*runtime)->free_bytes() / 16 * 15);
    PlanOptions within = options;
    within.workspace_limit = std::min(options.workspace_limit, limit);
    const Result<Plan> plan = Plan::create(problem, within);
    Result<StagedPlan> whole = plan ? Impl::create(*plan, limit) : Result<StagedPlan>(plan.status());
    // What lacks is memory of the device, not a workspace of the caller's.
    const auto explained = [&](const Status &status) {
        const bool memory = status.code() == StatusCode::kResourceExhausted && status.message().rfind("device '", 0) != 0;
        return memory ? device_error(options.device, status.code(), "within " + std::to_string(limit) + " bytes of memory: " + status.message()) : status;
    };
    const bool too_large = whole.status().code() == StatusCode::kResourceExhausted || whole.status().code() == StatusCode::kUnsupported;
    if (whole) {
        return whole;
    }
    if (!too_large || problem.operation != Operation::kForward) {
        return explained(whole.status());
    }
    Result<std::unique_ptr<ConvolutionInPieces>> pieces = ConvolutionInPieces::create(problem, options, limit);
    if (!pieces) {
        return explained(plan.status().code() == StatusCode::kUnsupported ? plan.status() : pieces.status());
    }
    auto impl = std::make_unique<Impl>((*pieces)->plan(), **runtime);
    impl->pieces = std::move(*pieces);
    return StagedPlan(std::move(impl));
}

Status StagedPlan::Impl::begin_pack(ConstView view, const ExecutionContext &context) {
    if (!has_filters) {
        return bad("this operation reads no filters; there is nothing to pack");
    }
    Status status = send("filters", filters, view, filter_sizes(), context.stream, filters_view);
    status = status.ok() ? plan.pack_filters(filters_view, packed, workspace, context) : status;
    packed_once = packed_once || status.ok();
    return status;
}

Status StagedPlan::pack_filters(ConstView filters, const ExecutionContext &context) {
    if (impl_->pieces != nullptr) {
        return impl_->pieces->pack_filters(filters, context);
    }
    const Status status = impl_->enter(context);
    return status.ok() ? impl_->finish(impl_->begin_pack(filters, context), context) : status;
}

Status StagedPlan::Impl::begin_upload(const Tensors &t, const ExecutionContext &context) {
    const Conv2dProblem &p = plan.problem();
    const bool from_output = p.operation == Operation::kBackwardData;
    const Sizes in = from_output ? result_sizes() : p.operation == Operation::kFold ? column_sizes()
                                                                                    : image_sizes();
    const Sizes out = p.operation == Operation::kForward ? result_sizes() : p.operation == Operation::kBackwardFilters ? filter_sizes()
                                                                        : p.operation == Operation::kUnfold            ? column_sizes()
                                                                                                                       : image_sizes();
    Status status = check(result_name(), result(t), out);
    if (status.ok()) {
        output_view = result(t);
        output_view.data = output.floats();
        status = send(from_output ? "grad_output" : "input", input, from_output ? t.grad_output : t.input, in, context.stream, input_view);
    }
    status = status.ok() ? send("grad_output", second_input, t.grad_output, result_sizes(), context.stream, second_input_view) : status;
    status = status.ok() ? send("residual", residual, t.residual, out, context.stream, residual_view) : status;
    bias_given = t.bias != nullptr && bias.bytes() > 0;
    if (status.ok() && bias_given) {
        status = stager.send(bias.data(), t.bias, bias.bytes(), context.stream);
    }
    if (status.ok() && has_filters && t.filters.view.data != nullptr) {
        status = begin_pack(t.filters.view, context);
    }
    second_output_wanted = t.grad_bias != nullptr;
    return status;
}

Status StagedPlan::upload(const Tensors &tensors, const ExecutionContext &context) {
    Status status = impl_->at_once();
    status = status.ok() ? impl_->enter(tensors, context) : status;
    return status.ok() ? impl_->finish(impl_->begin_upload(tensors, context), context) : status;
}

Status StagedPlan::Impl::begin_launch(const ExecutionContext &context) {
    if (has_filters && !packed_once) {
        return bad("filters are null, and none were packed before");
    }
    Tensors t;
    switch (plan.problem().operation) {
    case Operation::kBackwardData:
        t.grad_output = input_view;
        t.grad_input = output_view;
        break;
    case Operation::kBackwardFilters:
        t.input = input_view;
        t.grad_output = second_input_view;
        t.grad_filters = output_view;
        t.grad_bias = second_output_wanted ? second_output.floats() : nullptr;
        break;
    default:
        t.input = input_view;
        t.output = output_view;
    }
    t.bias = bias_given ? bias.floats() : nullptr;
    t.residual = residual_view;
    if (has_filters) {
        t.filters = Filters(ConstMemoryBlock(packed));
    }
    return plan.execute(t, workspace, context);
}

Status StagedPlan::launch(const ExecutionContext &context) {
    Impl &s = *impl_;
    Status status = s.at_once();
    status = status.ok() ? s.enter(context) : status;
    if (!status.ok()) {
        return status;
    }
    status = s.begin_launch(context);
    // Also after an error, which some launches may have come before.
    const Status recorded = s.runtime.record(s.launched.get(), context.stream);
    return status.ok() ? recorded : status;
}

Status StagedPlan::download(const Tensors &t, const ExecutionContext &context) {
    Impl &s = *impl_;
    Status status = s.at_once();
    status = status.ok() ? s.enter(context) : status;
    status = !status.ok() ? status : s.fetch(s.result_name(), s.output, s.result(t), context.stream);
    const bool more = status.ok() && s.second_output.bytes() > 0 && t.grad_bias != nullptr;
    return more ? s.fetch("grad_bias", s.second_output, MutableView(t.grad_bias), context.stream) : status;
}

Status StagedPlan::execute(const Tensors &tensors, const ExecutionContext &context) {
    Status status = impl_->enter(tensors, context);
    if (!status.ok()) {
        return status;
    }
    if (impl_->pieces != nullptr) {
        return impl_->pieces->execute(tensors, context);
    }
    status = impl_->begin_upload(tensors, context);
    status = status.ok() ? impl_->begin_launch(context) : status;
    status = status.ok() ? download(tensors, context) : status;
    return status.ok() ? status : impl_->finish(status, context);
}

}  // namespace fourfold
