// Plan, explain and the checks at the door: everything past this file works on validated problems and tensors.
#include "fourfold/plan.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <mutex>
#include <new>
#include <sstream>

#include "algorithm.h"
#include "checks.h"
#include "fft/fft.h"
#include "halide_hooks.h"
#include "machine.h"

namespace fourfold {
namespace {

/// What a view is to an execution. Filters are read and written by code that steps through them in any order.
enum class Role { kInput, kFilters, kOutput, kFilterGradient };

/// Fills in a dense view's strides and checks any other's.
template<typename T>
Status resolve(const char *name, const TensorView<T> &view, Layout layout, const std::array<int64_t, 4> &size, Role role, Strided<T> &result) {
    // Outermost first.
    const std::array<int, 4> nesting = layout == Layout::kNchw ? std::array<int, 4>{0, 1, 2, 3} : std::array<int, 4>{0, 2, 3, 1};
    const int last = nesting[3];
    if (view.data == nullptr) {
        return bad(std::string(name) + " is null");
    }
    if (reinterpret_cast<uintptr_t>(view.data) % alignof(float) != 0) {
        return bad(std::string(name) + " is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    result.data = view.data;
    if (view.dense) {
        result.s[last] = 1;
        for (int i = 2; i >= 0; i--) {
            result.s[nesting[i]] = result.s[nesting[i + 1]] * size[nesting[i + 1]];
        }
        return Status();
    }
    std::copy(view.strides, view.strides + 4, result.s);
    const auto text = [&] {
        return std::string(name) + " has strides " + std::to_string(view.strides[0]) + "," + std::to_string(view.strides[1]) + "," + std::to_string(view.strides[2]) + "," + std::to_string(view.strides[3]);
    };
    for (int d = 0; d < 4; d++) {
        if (size[d] > 1 && (result.s[d] < 1 || result.s[d] > (int64_t{1} << 60) / size[d])) {
            return bad(text() + "; each must be positive and the tensor must fit in memory");
        }
    }
    const bool image = role == Role::kInput || role == Role::kOutput;
    if (image && size[last] > 1 && result.s[last] != 1) {
        return bad(text() + "; the " + (layout == Layout::kNchw ? "last" : "second") + " must be 1");
    }
    // A dimension of one element never steps; give it a stride that no check stumbles over.
    if (size[last] == 1) {
        result.s[last] = 1;
    }
    std::array<int, 4> order = {3, 2, 1, 0};
    std::sort(order.begin(), order.end(), [&](int a, int b) { return result.s[a] < result.s[b]; });
    int64_t reach = 1;
    for (int d : order) {
        if (size[d] == 1) {
            continue;
        }
        if ((role == Role::kOutput || role == Role::kFilterGradient) && result.s[d] < reach) {
            return bad(text() + "; elements of an output must not overlap");
        }
        reach += (size[d] - 1) * result.s[d];
    }
    for (int i = 2; i >= 0; i--) {
        const int d = nesting[i], inner = nesting[i + 1];
        if (size[d] == 1) {
            result.s[d] = result.s[inner] * size[inner];
        }
    }
    if (const int d = nesting[2]; image && result.s[d] < size[last] && size[d] > 1) {
        return bad(text() + (layout == Layout::kNchw ? "; rows of " : "; pixels of ") + std::to_string(size[last]) + " elements overlap");
    }
    return Status();
}

/// The half-open range of addresses of a validated view.
template<typename T>
std::pair<uintptr_t, uintptr_t> address_range(const Strided<T> &v, const std::array<int64_t, 4> &size) {
    int64_t last = 0;
    for (int d = 0; d < 4; d++) {
        last += (size[d] - 1) * v.s[d];
    }
    const auto begin = reinterpret_cast<uintptr_t>(v.data);
    return {begin, begin + static_cast<uintptr_t>(last + 1) * sizeof(float)};
}

Status resolve_options(const Conv2dProblem &problem, PlanOptions &options) {
    Status status = prepare_process(options.threads);
    status = status.ok() ? problem.validate() : status;
    if (!status.ok()) {
        return status;
    }
    if (options.device != Device::kCpu) {
        return Status(StatusCode::kUnsupported, std::string("device '") + to_string(options.device) + "' is not in this build");
    }
    if (problem.operation != Operation::kForward && problem.operation != Operation::kBackwardData && problem.operation != Operation::kBackwardFilters) {
        const std::string text = problem.to_string();
        return Status(StatusCode::kUnsupported, "operation '" + text.substr(0, text.find(' ')) + "' is not in this version; fwd, bwd-data and bwd-filters are" + (problem.operation == Operation::kSpectral ? "; SpectralPlan makes spectral products" : ""));
    }
    return Status();
}

/// Whether generated code, which indexes with 32 bits, can be asked at all.
Status within_reach(const Conv2dProblem &p) {
    constexpr int64_t limit = (int64_t{1} << 31) - (1 << 16);
    const int64_t padded_h = p.in_height + p.pad_top + p.pad_bottom, padded_w = p.in_width + p.pad_left + p.pad_right;
    if (padded_h > limit || padded_w > limit) {
        return Status(StatusCode::kUnsupported, "the padded input is " + std::to_string(padded_h) + "x" + std::to_string(padded_w) + "; generated code reaches 2^31 - 2^16 in one axis");
    }
    constexpr int64_t most_taps = int64_t{1} << 22;
    if (p.filter_height > most_taps || p.filter_width > most_taps / p.filter_height) {
        return Status(StatusCode::kUnsupported, "a filter of " + std::to_string(p.filter_height) + "x" + std::to_string(p.filter_width) + " has over 2^22 taps");
    }
    return Status();
}

size_t physical_memory() {
    static const size_t bytes = static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
    return bytes;
}

struct Planned {
    const AlgorithmEntry *entry;
    Status status;
    std::unique_ptr<AlgorithmPlan> plan;
};

/// What the caller holds; bwd-filters has nothing to pack.
size_t packed_bytes(const Conv2dProblem &problem, const AlgorithmPlan &plan) {
    return problem.operation == Operation::kBackwardFilters ? 0 : plan.packed_bytes + sizeof(PackedHeader);
}

/// Within the limits of generated code, with strides cut to what they mean: with one output in an axis a stride past the
/// input changes nothing but the size of indices.
Result<Conv2dProblem> reachable_problem(const AlgorithmEntry &entry, Conv2dProblem p) {
    if (entry.main_stage != nullptr) {
        if (Status status = within_reach(p); !status.ok()) {
            return status;
        }
        p.stride_h = std::min(p.stride_h, p.in_height + p.pad_top + p.pad_bottom);
        p.stride_w = std::min(p.stride_w, p.in_width + p.pad_left + p.pad_right);
    }
    return p;
}

Result<std::unique_ptr<AlgorithmPlan>> plan_operation(const AlgorithmEntry &entry, const PlanRequest &request) {
    if (request.problem.operation == Operation::kForward) {
        return plan_forward(entry, request);
    }
    PlanRequest reachable = request;
    const Result<Conv2dProblem> problem = reachable_problem(entry, request.problem);
    if (!problem) {
        return problem.status();
    }
    reachable.problem = *problem;
    if (request.problem.operation == Operation::kBackwardData) {
        return plan_backward_data(entry, reachable);
    }
    if (entry.plan_filter_gradient == nullptr) {
        return Status(StatusCode::kUnsupported, std::string("algorithm '") + entry.name + "' has no bwd-filters");
    }
    return entry.plan_filter_gradient(reachable);
}

/// Plans one algorithm within the limits.
Planned plan_one(const AlgorithmEntry &entry, const PlanRequest &request) {
    Planned result{&entry, Status(), nullptr};
    if (entry.plan == nullptr) {
        result.status = Status(StatusCode::kUnsupported, std::string("algorithm '") + entry.name + "' is not in this version");
        return result;
    }
    Result<std::unique_ptr<AlgorithmPlan>> plan = plan_operation(entry, request);
    if (!plan) {
        result.status = plan.status();
        return result;
    }
    const size_t packed = packed_bytes(request.problem, **plan);
    if (packed > request.options.packed_filter_limit) {
        result.status = Status(StatusCode::kResourceExhausted, "needs " + bytes_text(packed) + " for packed filters; the limit is " + std::to_string(request.options.packed_filter_limit));
        return result;
    }
    result.plan = std::move(*plan);
    return result;
}

/// All candidates, and the index of the one that the options choose, or -1.
std::vector<Planned> plan_all(const PlanRequest &request, int &chosen) {
    std::vector<Planned> list;
    chosen = -1;
    for (const AlgorithmEntry &entry : algorithms()) {
        list.push_back(plan_one(entry, request));
        Planned &p = list.back();
        const bool automatic = request.options.algorithm == Algorithm::kAuto;
        const bool eligible = automatic ? entry.automatic : entry.algorithm == request.options.algorithm;
        if (automatic && entry.algorithm == Algorithm::kWinograd && request.options.accuracy == Accuracy::kStrict && p.plan != nullptr) {
            p.status = Status(StatusCode::kUnsupported, "not within accuracy 'strict': its error limit is 2e-5");
            p.plan.reset();
        }
        if (automatic && entry.automatic && p.plan != nullptr) {
            // Nobody who leaves the choice to us wants to swap. Named algorithms may try.
            const size_t needed = p.plan->packed_bytes + p.plan->serial_workspace_bytes;
            if (needed > physical_memory() / 2) {
                p.status = Status(StatusCode::kResourceExhausted, "needs " + bytes_text(needed) + ", over half of this machine's memory");
                p.plan.reset();
            }
        }
        if (p.plan != nullptr && eligible && (chosen < 0 || p.plan->serial_seconds < list[chosen].plan->serial_seconds)) {
            chosen = static_cast<int>(list.size()) - 1;
        }
    }
    return list;
}

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_forward(const AlgorithmEntry &entry, const PlanRequest &request) {
    PlanRequest reachable = request;
    const Result<Conv2dProblem> problem = reachable_problem(entry, request.problem);
    if (!problem) {
        return problem.status();
    }
    reachable.problem = *problem;
    return entry.plan(reachable);
}

struct Plan::Impl {
    Conv2dProblem problem;
    PlanOptions options;
    const AlgorithmEntry *entry;
    std::unique_ptr<AlgorithmPlan> plan;
    PackedHeader header{};
    std::string why;

    size_t packed_bytes() const {
        return fourfold::packed_bytes(problem, *plan);
    }
    /// (b, oc, o0, o1) for fwd, (b, ic, i0, i1) for bwd-data.
    std::array<int64_t, 4> result_size() const {
        return problem.operation == Operation::kForward ? output_size() : input_size();
    }
    std::array<int64_t, 4> input_size() const {
        return {problem.batch, problem.in_channels, problem.in_height, problem.in_width};
    }
    std::array<int64_t, 4> filter_size() const {
        return {problem.out_channels, problem.in_channels / problem.groups, problem.filter_height, problem.filter_width};
    }
    std::array<int64_t, 4> output_size() const {
        return {problem.batch, problem.out_channels, problem.out_height(), problem.out_width()};
    }

    size_t workspace_bytes_unpacked() const {
        return packed_bytes() + std::max(plan->workspace_bytes, plan->pack_workspace_bytes);
    }

    /// fwd and bwd-data, which read filters and write images; and bwd-filters.
    Status execute_image(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const;
    Status execute_filter_gradient(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const;

    Status pack(const ConstView &filters, std::byte *packed, std::byte *workspace, const Execution &execution) const {
        StridedIn w;
        Status status = resolve("filters", filters, problem.layout, filter_size(), Role::kFilters, w);
        if (!status.ok()) {
            return status;
        }
        // The last bytes may be alignment only; saved blocks must not carry old memory.
        std::memset(packed + packed_bytes() - kAlignment, 0, kAlignment);
        status = plan->pack(w, packed + sizeof(PackedHeader), workspace, execution);
        if (status.ok()) {
            std::memcpy(packed, &header, sizeof header);
        }
        return status;
    }
};

Result<Plan> Plan::create(const Conv2dProblem &problem, const PlanOptions &options) {
    try {
        return make(problem, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

Result<Plan> Plan::make(const Conv2dProblem &problem, const PlanOptions &options) {
    PlanRequest request{problem, options};
    Status status = resolve_options(problem, request.options);
    if (!status.ok()) {
        return status;
    }
    auto impl = std::make_shared<Impl>();
    impl->problem = problem;
    if (options.algorithm != Algorithm::kAuto) {
        for (const AlgorithmEntry &entry : algorithms()) {
            if (entry.algorithm != options.algorithm) {
                continue;
            }
            Planned planned = plan_one(entry, request);
            if (planned.plan == nullptr) {
                return Status(planned.status.code(), std::string(entry.name) + ": " + planned.status.message());
            }
            impl->entry = &entry;
            impl->plan = std::move(planned.plan);
            impl->why = "named by the caller";
        }
        if (impl->plan == nullptr) {
            return bad("algorithm " + std::to_string(static_cast<int>(options.algorithm)) + " does not exist");
        }
    } else {
        int chosen = -1;
        std::vector<Planned> list = plan_all(request, chosen);
        if (chosen < 0) {
            // Every automatic candidate said no: their reasons, worst code first.
            std::string reasons;
            StatusCode code = StatusCode::kUnsupported;
            for (const Planned &p : list) {
                if (p.entry->automatic) {
                    reasons += (reasons.empty() ? "" : "; ") + std::string(p.entry->name) + ": " + p.status.message();
                    code = p.status.code() == StatusCode::kInvalidArgument ? StatusCode::kInvalidArgument : p.status.code() == StatusCode::kResourceExhausted && code != StatusCode::kInvalidArgument ? StatusCode::kResourceExhausted : code;
                }
            }
            return Status(code, "no algorithm can do this: " + reasons);
        }
        impl->entry = list[chosen].entry;
        impl->plan = std::move(list[chosen].plan);
        impl->why = "least time by the cost model";
    }
    impl->options = request.options;
    // Whatever changes the bytes of a packed block must change this line.
    Conv2dProblem filters = problem;
    filters.batch = 1;
    filters.post_op = PostOp::kNone;
    filters.residual = false;
    if (problem.operation != Operation::kBackwardFilters) {
        impl->header = make_header(std::string(version()) + "|" + impl->plan->layout + "|" + filters.to_string(), impl->plan->packed_bytes);
    }
    Plan plan;
    plan.impl_ = std::move(impl);
    return plan;
}

const Conv2dProblem &Plan::problem() const {
    return impl_->problem;
}

Algorithm Plan::algorithm() const {
    return impl_->entry->algorithm;
}

const std::string &Plan::variant() const {
    return impl_->plan->variant;
}

int Plan::threads() const {
    return impl_->options.threads;
}

size_t Plan::workspace_bytes() const {
    return impl_->plan->workspace_bytes;
}

size_t Plan::workspace_bytes_unpacked() const {
    return impl_->workspace_bytes_unpacked();
}

size_t Plan::packed_filter_bytes() const {
    return impl_->packed_bytes();
}

double Plan::predicted_seconds() const {
    return impl_->plan->predicted_seconds;
}

std::string Plan::describe() const {
    std::ostringstream s;
    s << "problem    " << impl_->problem.to_string() << "\n"
      << "algorithm  " << impl_->entry->name << " (" << impl_->why << ")\n"
      << "variant    " << impl_->plan->variant << "\n"
      << "blocking   " << impl_->plan->details << "\n"
      << "memory     workspace " << bytes_text(workspace_bytes()) << ", packed filters " << bytes_text(packed_filter_bytes()) << "\n"
      << "threads    " << impl_->options.threads << "\n"
      << "accuracy   " << to_string(impl_->options.accuracy) << "\n"
      << "predicted  " << impl_->plan->predicted_seconds * 1e3 << " ms\n";
    return s.str();
}

Status Plan::pack_filters(ConstView filters, MemoryBlock packed, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with Plan::create");
    }
    if (impl_->problem.operation == Operation::kBackwardFilters) {
        return bad("bwd-filters reads no filters; there is nothing to pack");
    }
    Status status = check_block("packed", packed.data, packed.bytes, impl_->packed_bytes());
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, impl_->plan->pack_workspace_bytes);
    }
    if (!status.ok()) {
        return status;
    }
    const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
    return impl_->pack(filters, static_cast<std::byte *>(packed.data), static_cast<std::byte *>(workspace.data), execution);
}

Status Plan::execute(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    if (impl_ == nullptr) {
        return bad("the plan is empty; make one with Plan::create");
    }
    return impl_->problem.operation == Operation::kBackwardFilters ? impl_->execute_filter_gradient(tensors, workspace, context) : impl_->execute_image(tensors, workspace, context);
}

Status Plan::Impl::execute_image(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    const bool forward = problem.operation == Operation::kForward;
    const char *const in_name = forward ? "input" : "grad_output", *const out_name = forward ? "output" : "grad_input";
    const ConstView &in_view = forward ? tensors.input : tensors.grad_output;
    const MutableView &out_view = forward ? tensors.output : tensors.grad_input;
    const std::array<int64_t, 4> in_size = forward ? input_size() : output_size(), out_size = result_size();
    ForwardTensors t;
    Status status = resolve(in_name, in_view, problem.layout, in_size, Role::kInput, t.input);
    if (status.ok()) {
        status = resolve(out_name, out_view, problem.layout, out_size, Role::kOutput, t.output);
    }
    if (status.ok() && problem.residual) {
        status = resolve("residual", tensors.residual, problem.layout, out_size, Role::kInput, t.residual);
    }
    if (!status.ok()) {
        return status;
    }
    if (reinterpret_cast<uintptr_t>(tensors.bias) % alignof(float) != 0) {
        return bad("bias is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    t.bias = tensors.bias;
    const auto out = address_range(t.output, out_size);
    // Regions of one larger tensor interleave without sharing an element, so views are the caller's business.
    if (out_view.dense && in_view.dense && same_memory(out, address_range(t.input, in_size))) {
        return bad(std::string(in_name) + " and " + out_name + " overlap");
    }
    if (out_view.dense && tensors.filters.is_packed() && same_memory(out, block_range(tensors.filters.packed.data, tensors.filters.packed.bytes))) {
        return bad(std::string("packed filters and ") + out_name + " overlap");
    }
    if (out_view.dense && t.bias != nullptr && same_memory(out, block_range(t.bias, static_cast<size_t>(out_size[1]) * sizeof(float)))) {
        return bad(std::string("bias and ") + out_name + " overlap");
    }
    if (out_view.dense && problem.residual && tensors.residual.dense && same_memory(out, address_range(t.residual, out_size))) {
        return bad(std::string("residual and ") + out_name + " overlap");
    }
    const bool packed_given = tensors.filters.is_packed();
    const size_t needed = packed_given ? plan->workspace_bytes : workspace_bytes_unpacked();
    status = check_block("workspace", workspace.data, workspace.bytes, needed);
    if (!status.ok()) {
        return status;
    }
    if (workspace.data != nullptr && same_memory(out, block_range(workspace.data, needed))) {
        return bad(std::string("workspace and ") + out_name + " overlap");
    }

    const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
    auto *scratch = static_cast<std::byte *>(workspace.data);
    const std::byte *packed = nullptr;
    if (packed_given) {
        status = check_block("packed filters", tensors.filters.packed.data, tensors.filters.packed.bytes, packed_bytes());
        if (!status.ok()) {
            return status;
        }
        packed = static_cast<const std::byte *>(tensors.filters.packed.data);
        if (std::memcmp(packed, &header, sizeof(PackedHeader)) != 0) {
            return bad(std::memcmp(packed, kMagic, sizeof kMagic) != 0 ? "packed filters are no block that pack_filters wrote" : "packed filters were packed for another problem, plan or version");
        }
    } else {
        if (tensors.filters.view.data == nullptr) {
            return bad("filters are null");
        }
        status = pack(tensors.filters.view, scratch, scratch + packed_bytes(), execution);
        if (!status.ok()) {
            return status;
        }
        packed = scratch;
        scratch += packed_bytes();
    }
    return plan->forward(t, packed + sizeof(PackedHeader), scratch, execution);
}

Status Plan::Impl::execute_filter_gradient(const Tensors &tensors, MemoryBlock workspace, const ExecutionContext &context) const {
    FilterGradientTensors t;
    Status status = resolve("input", tensors.input, problem.layout, input_size(), Role::kInput, t.input);
    if (status.ok()) {
        status = resolve("grad_output", tensors.grad_output, problem.layout, output_size(), Role::kInput, t.grad_output);
    }
    if (status.ok()) {
        status = resolve("grad_filters", tensors.grad_filters, problem.layout, filter_size(), Role::kFilterGradient, t.grad_filters);
    }
    if (status.ok()) {
        status = check_block("workspace", workspace.data, workspace.bytes, plan->workspace_bytes);
    }
    if (!status.ok()) {
        return status;
    }
    if (reinterpret_cast<uintptr_t>(tensors.grad_bias) % alignof(float) != 0) {
        return bad("grad_bias is not aligned to " + std::to_string(alignof(float)) + " bytes");
    }
    t.grad_bias = tensors.grad_bias;
    const auto filters = address_range(t.grad_filters, filter_size());
    const auto bias = block_range(t.grad_bias, t.grad_bias != nullptr ? static_cast<size_t>(problem.out_channels) * sizeof(float) : 0);
    const struct {
        const char *name;
        bool dense;
        std::pair<uintptr_t, uintptr_t> range;
    } others[] = {
        {"input", tensors.input.dense, address_range(t.input, input_size())},
        {"grad_output", tensors.grad_output.dense, address_range(t.grad_output, output_size())},
        {"workspace", true, block_range(workspace.data, workspace.data != nullptr ? plan->workspace_bytes : 0)},
    };
    for (const auto &other : others) {
        if (other.dense && tensors.grad_filters.dense && same_memory(filters, other.range)) {
            return bad(std::string(other.name) + " and grad_filters overlap");
        }
        if (other.dense && same_memory(bias, other.range)) {
            return bad(std::string(other.name) + " and grad_bias overlap");
        }
    }
    if (tensors.grad_filters.dense && same_memory(filters, bias)) {
        return bad("grad_bias and grad_filters overlap");
    }
    const Execution execution = {context.executor != nullptr ? *context.executor : default_executor(), context.profile};
    return plan->filter_gradient(t, static_cast<std::byte *>(workspace.data), execution);
}

namespace {

Result<std::vector<Candidate>> list_candidates(const Conv2dProblem &problem, const PlanOptions &options) {
    PlanRequest request{problem, options};
    Status status = resolve_options(problem, request.options);
    if (!status.ok()) {
        return status;
    }
    int chosen = -1;
    std::vector<Planned> list = plan_all(request, chosen);
    std::vector<Candidate> candidates;
    for (size_t i = 0; i < list.size(); i++) {
        const Planned &p = list[i];
        Candidate c;
        c.algorithm = p.entry->algorithm;
        c.supported = p.plan != nullptr;
        c.chosen = static_cast<int>(i) == chosen;
        if (p.plan != nullptr) {
            c.variant = p.plan->variant;
            c.predicted_seconds = p.plan->predicted_seconds;
            c.workspace_bytes = p.plan->workspace_bytes;
            c.packed_filter_bytes = packed_bytes(problem, *p.plan);
            c.reason = c.chosen ? (options.algorithm == Algorithm::kAuto ? "least time by the cost model" : "named by the caller") : p.entry->automatic ? "slower on one thread by the cost model" : "a baseline, never chosen";
        } else {
            c.reason = p.status.message();
        }
        candidates.push_back(std::move(c));
    }
    return candidates;
}

}  // namespace

Result<std::vector<Candidate>> explain(const Conv2dProblem &problem, const PlanOptions &options) {
    try {
        return list_candidates(problem, options);
    } catch (const std::bad_alloc &) {
        return Status(StatusCode::kResourceExhausted, "memory ran out while planning");
    }
}

const char *to_string(Algorithm algorithm) {
    for (const AlgorithmEntry &entry : algorithms()) {
        if (entry.algorithm == algorithm) {
            return entry.name;
        }
    }
    return "auto";
}

const char *to_string(Device device) {
    return device == Device::kCuda ? "cuda" : device == Device::kOpenCl ? "opencl" : "cpu";
}

const char *to_string(FftBackend backend) {
    return backend == FftBackend::kFftw ? "fftw" : backend == FftBackend::kKissFft ? "kissfft" : "auto";
}

const char *to_string(Accuracy accuracy) {
    return accuracy == Accuracy::kStrict ? "strict" : accuracy == Accuracy::kRelaxed ? "relaxed" : "default";
}

Result<Algorithm> parse_algorithm(std::string_view name) {
    std::string known = "auto";
    if (name == "auto") {
        return Algorithm::kAuto;
    }
    for (const AlgorithmEntry &entry : algorithms()) {
        if (name == entry.name) {
            return entry.algorithm;
        }
        known += std::string(", ") + entry.name;
    }
    return bad("algorithm '" + std::string(name) + "' does not exist; there are " + known);
}

Result<Device> parse_device(std::string_view name) {
    for (Device d : {Device::kCpu, Device::kCuda, Device::kOpenCl}) {
        if (name == to_string(d)) {
            return d;
        }
    }
    return bad("device '" + std::string(name) + "' does not exist; there are cpu, cuda, opencl");
}

Result<Accuracy> parse_accuracy(std::string_view name) {
    for (Accuracy a : {Accuracy::kStrict, Accuracy::kDefault, Accuracy::kRelaxed}) {
        if (name == to_string(a)) {
            return a;
        }
    }
    return bad("accuracy '" + std::string(name) + "' does not exist; there are strict, default, relaxed");
}

const char *version() {
    return FOURFOLD_VERSION;
}

}  // namespace fourfold
