#include "fourfold/staged_plan.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <utility>

#include "checks.h"
#include "device/pieces.h"
#include "device/stager.h"
#include "views.h"

namespace fourfold {
namespace {

/// What an operation reads and writes, in bytes.
struct TensorBytes {
    size_t in = 0, second_in = 0, residual = 0, bias = 0, filters = 0, out = 0, second_out = 0;

    explicit TensorBytes(const Conv2dProblem &p) {
        const auto floats = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
        const size_t x = floats(p.input_elements()), w = floats(p.filter_elements()), y = floats(p.output_elements());
        in = x;
        out = y;
        switch (p.operation) {
        case Operation::kForward:
            bias = floats(p.out_channels);
            filters = w;
            break;
        case Operation::kBackwardData:
            in = y;
            out = x;
            bias = floats(p.in_channels);
            filters = w;
            break;
        case Operation::kBackwardFilters:
            second_in = y;
            out = w;
            second_out = floats(p.out_channels);
            break;
        case Operation::kUnfold:
            out = floats(p.column_elements());
            break;
        case Operation::kFold:
            in = floats(p.column_elements());
            out = x;
            break;
        default:
            break;
        }
        residual = p.residual ? out : 0;
    }
    double all() const {
        double sum = 0.0;
        for (const size_t bytes : {in, second_in, residual, bias, filters, out, second_out}) {
            sum += static_cast<double>(bytes);
        }
        return sum;
    }
};

/// What a plan of the problem would need more than it may have.
Status too_much(Device device, const Conv2dProblem &problem, double bytes, size_t most) {
    return device_error(device, StatusCode::kResourceExhausted, problem.to_string() + ": takes " + std::to_string(static_cast<size_t>(bytes)) + " bytes of memory and may have " + std::to_string(most));
}

}  // namespace

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

    /// kResourceExhausted where more than `most` bytes of the device are needed.
    Status reserve_all(size_t most) {
        const TensorBytes t(plan.problem());
        // The filters are packed into a block of their own.
        const size_t packed_bytes = plan.packed_filter_bytes(), scratch = has_filters ? plan.workspace_bytes_unpacked() - packed_bytes : plan.workspace_bytes();
        const double bytes = t.all() + static_cast<double>(packed_bytes) + static_cast<double>(scratch);
        if (bytes > static_cast<double>(most)) {
            return too_much(device, plan.problem(), bytes, most);
        }
        for (const auto &[buffer, needed] : {std::pair(&input, t.in), {&second_input, t.second_in}, {&residual, t.residual}, {&bias, t.bias}, {&filters, t.filters}, {&packed, packed_bytes}, {&workspace, scratch}, {&output, t.out}, {&second_output, t.second_out}}) {
            if (Status status = reserve(*buffer, needed); !status.ok()) {
                return status;
            }
        }
        const Status status = launched.make(runtime);
        return status.ok() ? stager.make(runtime, std::max({t.in, t.second_in, t.out, t.filters})) : status;
    }

    using Sizes = std::array<int64_t, 4>;

    /// Of the result.
    Sizes out_sizes() const {
        switch (plan.problem().operation) {
        case Operation::kForward:
            return output_size(plan.problem());
        case Operation::kBackwardFilters:
            return filter_size(plan.problem());
        case Operation::kUnfold:
            return column_size(plan.problem());
        default:
            return input_size(plan.problem());
        }
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
    Status fetch(const DeviceBuffer &from, void *to, void *stream) {
        return stager.fetch(to, from.data(), from.bytes(), stream);
    }
    /// Whether the result lies as upload() was told: bytes are copied as they are.
    Status check_result(const MutableView &view) const {
        if (output_view.data == nullptr) {
            return bad("nothing was uploaded; there is no result to download");
        }
        Status status = check(result_name(), view, out_sizes());
        const Layout layout = plan.problem().operation == Operation::kUnfold ? Layout::kNchw : plan.problem().layout;
        StridedOut here, there;
        status = status.ok() ? resolve(result_name(), view, layout, out_sizes(), Role::kFilterGradient, here) : status;
        status = status.ok() ? resolve(result_name(), output_view, layout, out_sizes(), Role::kFilterGradient, there) : status;
        return !status.ok() || std::equal(here.s, here.s + 4, there.s) ? status : bad(std::string(result_name()) + " has other strides than when it was uploaded");
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
    // The workspace has what the tensors leave, and on a second try what the packed filters, whose size the first one told, leave of that.
    if (Status status = problem.validate(); !status.ok()) {
        return status;
    }
    const double tensors = TensorBytes(problem).all();
    double beside = tensors;
    Status planned;
    Result<StagedPlan> whole = too_much(options.device, problem, tensors, limit);
    for (int i = 0; i < 2 && beside <= static_cast<double>(limit); i++) {
        PlanOptions within = options;
        within.workspace_limit = std::min(options.workspace_limit, limit - static_cast<size_t>(beside));
        const Result<Plan> plan = Plan::create(problem, within);
        planned = plan.status();
        whole = plan ? Impl::create(*plan, limit) : Result<StagedPlan>(planned);
        if (whole || !plan || whole.status().code() != StatusCode::kResourceExhausted) {
            break;
        }
        beside = tensors + static_cast<double>(plan->packed_filter_bytes());
    }
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
        return explained(planned.code() == StatusCode::kUnsupported ? planned : pieces.status());
    }
    auto impl = std::make_unique<Impl>((*pieces)->plan(), **runtime);
    impl->pieces = std::move(*pieces);
    return StagedPlan(std::move(impl));
}

Status StagedPlan::Impl::begin_pack(ConstView view, const ExecutionContext &context) {
    if (!has_filters) {
        return bad("this operation reads no filters; there is nothing to pack");
    }
    Status status = send("filters", filters, view, filter_size(plan.problem()), context.stream, filters_view);
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
    const Sizes in = from_output ? output_size(p) : p.operation == Operation::kFold ? column_size(p)
                                                                                    : input_size(p);
    const Sizes out = out_sizes();
    Status status = check(result_name(), result(t), out);
    if (status.ok()) {
        output_view = result(t);
        output_view.data = output.floats();
        status = send(from_output ? "grad_output" : "input", input, from_output ? t.grad_output : t.input, in, context.stream, input_view);
    }
    status = status.ok() ? send("grad_output", second_input, t.grad_output, output_size(p), context.stream, second_input_view) : status;
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
    status = status.ok() ? s.check_result(s.result(t)) : status;
    const bool more = s.second_output.bytes() > 0 && t.grad_bias != nullptr;
    if (status.ok() && more && !s.second_output_wanted) {
        status = bad("grad_bias was null when the tensors were uploaded; it was not computed");
    }
    status = status.ok() ? s.fetch(s.output, s.result(t).data, context.stream) : status;
    return status.ok() && more ? s.fetch(s.second_output, t.grad_bias, context.stream) : status;
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
