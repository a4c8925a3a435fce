#include "fourfold/staged_plan.h"

#include <algorithm>
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
    bool second_output_wanted = false;

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

    /// To the device from dense memory of the host.
    Status send(const char *name, const DeviceBuffer &to, const ConstView &view, void *stream) const {
        if (to.bytes() == 0) {
            return Status();
        }
        if (view.data == nullptr) {
            return bad(std::string(name) + " is null");
        }
        if (!view.dense) {
            return bad(std::string(name) + " has strides; a StagedPlan takes dense tensors");
        }
        return copy_to_device(device, to.data(), view.data, to.bytes(), stream);
    }
    Status fetch(const char *name, const DeviceBuffer &from, const MutableView &view, void *stream) const {
        if (view.data == nullptr) {
            return bad(std::string(name) + " is null");
        }
        if (!view.dense) {
            return bad(std::string(name) + " has strides; a StagedPlan takes dense tensors");
        }
        return copy_to_host(device, view.data, from.data(), from.bytes(), stream);
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

Status StagedPlan::pack_filters(ConstView filters) {
    Impl &s = *impl_;
    if (!s.has_filters) {
        return bad("this operation reads no filters; there is nothing to pack");
    }
    Status status = s.send("filters", s.filters, filters, nullptr);
    if (status.ok()) {
        status = s.plan.pack_filters(ConstView(s.filters.floats()), s.packed, s.workspace);
    }
    if (status.ok()) {
        status = synchronize(s.device);
    }
    s.packed_once = s.packed_once || status.ok();
    return status;
}

Status StagedPlan::upload(const Tensors &t, const ExecutionContext &context) {
    Impl &s = *impl_;
    const Conv2dProblem &p = s.plan.problem();
    const bool from_output = p.operation == Operation::kBackwardData;
    Status status = s.send(from_output ? "grad_output" : "input", s.input, from_output ? t.grad_output : t.input, context.stream);
    if (status.ok()) {
        status = s.send("grad_output", s.second_input, t.grad_output, context.stream);
    }
    if (status.ok()) {
        status = s.send("residual", s.residual, t.residual, context.stream);
    }
    s.bias_given = t.bias != nullptr && s.bias.bytes() > 0;
    if (status.ok() && s.bias_given) {
        status = s.send("bias", s.bias, ConstView(t.bias), context.stream);
    }
    if (status.ok() && s.has_filters && t.filters.view.data != nullptr) {
        status = pack_filters(t.filters.view);
    }
    s.second_output_wanted = t.grad_bias != nullptr;
    return status;
}

Status StagedPlan::launch(const ExecutionContext &context) {
    Impl &s = *impl_;
    if (s.has_filters && !s.packed_once) {
        return bad("filters are null, and none were packed before");
    }
    const float *const bias = s.bias_given ? s.bias.floats() : nullptr;
    const float *const residual = s.residual.floats();
    Tensors t;
    switch (s.plan.problem().operation) {
    case Operation::kBackwardData:
        t.grad_output = s.input.floats();
        t.grad_input = s.output.floats();
        break;
    case Operation::kBackwardFilters:
        t.input = s.input.floats();
        t.grad_output = s.second_input.floats();
        t.grad_filters = s.output.floats();
        t.grad_bias = s.second_output_wanted ? s.second_output.floats() : nullptr;
        break;
    default:
        t.input = s.input.floats();
        t.output = s.output.floats();
    }
    t.bias = bias;
    t.residual = residual;
    if (s.has_filters) {
        t.filters = Filters(ConstMemoryBlock(s.packed));
    }
    return s.plan.execute(t, s.workspace, context);
}

Status StagedPlan::download(const Tensors &t, const ExecutionContext &context) {
    Impl &s = *impl_;
    Status status;
    switch (s.plan.problem().operation) {
    case Operation::kBackwardData:
        return s.fetch("grad_input", s.output, t.grad_input, context.stream);
    case Operation::kBackwardFilters:
        status = s.fetch("grad_filters", s.output, t.grad_filters, context.stream);
        return status.ok() && t.grad_bias != nullptr ? s.fetch("grad_bias", s.second_output, MutableView(t.grad_bias), context.stream) : status;
    default:
        return s.fetch("output", s.output, t.output, context.stream);
    }
}

Status StagedPlan::execute(const Tensors &tensors, const ExecutionContext &context) {
    Status status = upload(tensors, context);
    status = status.ok() ? launch(context) : status;
    return status.ok() ? download(tensors, context) : status;
}

}  // namespace fourfold
