#include "fourfold/staged_plan.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "checks.h"

namespace fourfold {

struct StagedPlan::Impl {
    explicit Impl(const Plan &p)
        : plan(p), device(p.device()) {
    }

    const Plan plan;
    const Device device;
    bool has_filters = false, packed_once = false;
    // What each operation reads and writes: see Tensors.
    DeviceBuffer input, second_input, residual, bias, filters, packed, workspace, output, second_output;
    bool bias_given = false;  ///< of the last upload
    void *stream = nullptr;   ///< of the last call
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

    Status reserve_all() {
        const Conv2dProblem &p = plan.problem();
        const auto floats = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
        const size_t x = floats(p.input_elements()), w = floats(p.filter_elements()), y = floats(p.output_elements());
        const size_t columns = p.moves_columns() ? floats(p.column_elements()) : 0;
        size_t in = x, out = y, second_in = 0, second_out = 0, channels = 0;
        has_filters = plan.packed_filter_bytes() > 0;
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
        const std::pair<DeviceBuffer *, size_t> all[] = {
            {&input, in}, {&second_input, second_in}, {&residual, p.residual ? out : 0}, {&bias, channels}, {&filters, has_filters ? w : 0}, {&packed, plan.packed_filter_bytes()},
            {&workspace, has_filters ? plan.workspace_bytes_unpacked() : plan.workspace_bytes()}, {&output, out}, {&second_output, second_out}};
        for (const auto &[buffer, bytes] : all) {
            if (Status status = reserve(*buffer, bytes); !status.ok()) {
                return status;
            }
        }
        return Status();
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
    Status send(const char *name, const DeviceBuffer &to, const ConstView &view, const Sizes &sizes, void *stream, ConstView &there) const {
        if (to.bytes() == 0) {
            return Status();
        }
        if (Status status = check(name, view, sizes); !status.ok()) {
            return status;
        }
        there = view;
        there.data = to.floats();
        return copy_to_device(device, to.data(), view.data, to.bytes(), stream);
    }
    Status fetch(const char *name, const DeviceBuffer &from, const MutableView &view, void *stream) const {
        if (view.data == nullptr) {
            return bad(std::string(name) + " is null");
        }
        return copy_to_host(device, view.data, from.data(), from.bytes(), stream);
    }
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
StagedPlan::~StagedPlan() {
    if (impl_ != nullptr) {
        static_cast<void>(synchronize(impl_->device, impl_->stream));  // nobody is left to tell
    }
}

const Plan &StagedPlan::plan() const {
    return impl_->plan;
}

Result<StagedPlan> StagedPlan::create(const Plan &plan) {
    if (plan.device().kind == Device::kCpu) {
        return bad("a plan of device 'cpu' needs no staging; execute it");
    }
    auto impl = std::make_unique<Impl>(plan);
    if (Status status = impl->reserve_all(); !status.ok()) {
        return status;
    }
    return StagedPlan(std::move(impl));
}

Status StagedPlan::pack_filters(ConstView filters, const ExecutionContext &context) {
    Impl &s = *impl_;
    s.stream = context.stream;
    if (!s.has_filters) {
        return bad("this operation reads no filters; there is nothing to pack");
    }
    Status status = s.send("filters", s.filters, filters, s.filter_sizes(), context.stream, s.filters_view);
    if (status.ok()) {
        status = s.plan.pack_filters(s.filters_view, s.packed, s.workspace, context);
    }
    if (status.ok()) {
        status = synchronize(s.device, context.stream);
    }
    s.packed_once = s.packed_once || status.ok();
    return status;
}

Status StagedPlan::upload(const Tensors &t, const ExecutionContext &context) {
    Impl &s = *impl_;
    const Conv2dProblem &p = s.plan.problem();
    const bool from_output = p.operation == Operation::kBackwardData;
    const Impl::Sizes in = from_output ? s.result_sizes() : p.operation == Operation::kFold ? s.column_sizes() : s.image_sizes();
    const Impl::Sizes out = p.operation == Operation::kForward ? s.result_sizes() : p.operation == Operation::kBackwardFilters ? s.filter_sizes() : p.operation == Operation::kUnfold ? s.column_sizes() : s.image_sizes();
    Status status = Impl::check(s.result_name(), s.result(t), out);
    if (status.ok()) {
        s.output_view = s.result(t);
        s.output_view.data = s.output.floats();
        status = s.send(from_output ? "grad_output" : "input", s.input, from_output ? t.grad_output : t.input, in, context.stream, s.input_view);
    }
    if (status.ok()) {
        status = s.send("grad_output", s.second_input, t.grad_output, s.result_sizes(), context.stream, s.second_input_view);
    }
    if (status.ok()) {
        status = s.send("residual", s.residual, t.residual, out, context.stream, s.residual_view);
    }
    s.bias_given = t.bias != nullptr && s.bias.bytes() > 0;
    if (status.ok() && s.bias_given) {
        status = copy_to_device(s.device, s.bias.data(), t.bias, s.bias.bytes(), context.stream);
    }
    if (status.ok() && s.has_filters && t.filters.view.data != nullptr) {
        status = pack_filters(t.filters.view, context);
    }
    s.second_output_wanted = t.grad_bias != nullptr;
    return status;
}

Status StagedPlan::launch(const ExecutionContext &context) {
    Impl &s = *impl_;
    s.stream = context.stream;
    if (s.has_filters && !s.packed_once) {
        return bad("filters are null, and none were packed before");
    }
    Tensors t;
    switch (s.plan.problem().operation) {
    case Operation::kBackwardData:
        t.grad_output = s.input_view;
        t.grad_input = s.output_view;
        break;
    case Operation::kBackwardFilters:
        t.input = s.input_view;
        t.grad_output = s.second_input_view;
        t.grad_filters = s.output_view;
        t.grad_bias = s.second_output_wanted ? s.second_output.floats() : nullptr;
        break;
    default:
        t.input = s.input_view;
        t.output = s.output_view;
    }
    t.bias = s.bias_given ? s.bias.floats() : nullptr;
    t.residual = s.residual_view;
    if (s.has_filters) {
        t.filters = Filters(ConstMemoryBlock(s.packed));
    }
    return s.plan.execute(t, s.workspace, context);
}

Status StagedPlan::download(const Tensors &t, const ExecutionContext &context) {
    Impl &s = *impl_;
    const Status status = s.fetch(s.result_name(), s.output, s.result(t), context.stream);
    const bool more = status.ok() && s.second_output.bytes() > 0 && t.grad_bias != nullptr;
    return more ? s.fetch("grad_bias", s.second_output, MutableView(t.grad_bias), context.stream) : status;
}

Status StagedPlan::execute(const Tensors &tensors, const ExecutionContext &context) {
    Status status = upload(tensors, context);
    status = status.ok() ? launch(context) : status;
    return status.ok() ? download(tensors, context) : status;
}

}  // namespace fourfold
