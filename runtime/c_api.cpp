// The C interface over the C++ one: structs copied field by field, Status turned into a code and a message of the thread.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "bad.h"
#include "fourfold/fourfold.h"
#include "fourfold/fourfold_c.h"
#include "fourfold/staged_plan.h"

using namespace fourfold;

struct fourfold_plan {
    Plan plan;
};
struct fourfold_layer {
    Conv2dLayer layer;
};
struct fourfold_profile {
    Profile profile;
};
struct fourfold_spectral_plan {
    SpectralPlan plan;
};
struct fourfold_spectral_transform {
    SpectralTransform transform;
};
struct fourfold_training_plan {
    TrainingPlan plan;
};
struct fourfold_device_buffer {
    DeviceBuffer buffer;
};
struct fourfold_staged_plan {
    StagedPlan plan;
};

namespace {

// C's numbers are C++'s.
static_assert(FOURFOLD_INTERNAL == static_cast<int>(StatusCode::kInternal) && FOURFOLD_SPECTRAL == static_cast<int>(Operation::kSpectral));
static_assert(FOURFOLD_CIRCULAR == static_cast<int>(PaddingMode::kCircular) && FOURFOLD_CONVOLUTION == static_cast<int>(FilterMode::kConvolution));
static_assert(FOURFOLD_NHWC == static_cast<int>(Layout::kNhwc) && FOURFOLD_POST_CLAMP == static_cast<int>(PostOp::kClamp));
static_assert(FOURFOLD_ALGORITHM_WINOGRAD == static_cast<int>(Algorithm::kWinograd) && FOURFOLD_OPENCL == static_cast<int>(Device::kOpenCl));
static_assert(FOURFOLD_ACCURACY_RELAXED == static_cast<int>(Accuracy::kRelaxed) && FOURFOLD_FFT_KISSFFT == static_cast<int>(FftBackend::kKissFft));
static_assert(FOURFOLD_BCIJ == static_cast<int>(SpectralOrder::kBcij) && FOURFOLD_EFFORT_MEASURE == static_cast<int>(Effort::kMeasure) && FOURFOLD_CACHE_COLD == static_cast<int>(CacheState::kCold));
static_assert(FOURFOLD_TIER_MEASURED == static_cast<int>(Tier::kMeasured));
static_assert(FOURFOLD_FFT_PATIENT == static_cast<int>(FftRigor::kPatient) && FOURFOLD_ALIGNMENT == kAlignment);

thread_local std::string last_error;

fourfold_status fail(StatusCode code, const std::string &message) {
    try {
        last_error = message;
    } catch (const std::bad_alloc &) {
        last_error.clear();
    }
    return static_cast<fourfold_status>(code);
}

fourfold_status returned(const Status &status) {
    return status.ok() ? FOURFOLD_OK : fail(status.code(), status.message());
}

/// Runs what returns a Status. Text and vectors may run out of memory; nothing else throws.
template<typename Function>
fourfold_status guarded(Function &&function) {
    try {
        return returned(function());
    } catch (const std::bad_alloc &) {
        return fail(StatusCode::kResourceExhausted, "memory ran out");
    }
}

Status not_null(const char *name, const void *pointer) {
    return pointer != nullptr ? Status() : bad(std::string(name) + " is null");
}

/// Reads a caller's struct of any known size: what it lacks keeps `known`'s defaults.
template<typename Struct>
Status read_struct(const char *name, const Struct *given, Struct &known) {
    if (given == nullptr) {
        return not_null(name, given);
    }
    const size_t size = given->struct_size;
    if (size < sizeof(size_t) || size > sizeof(Struct)) {
        return bad(std::string(name) + " has struct_size " + std::to_string(size) + "; this library knows up to " + std::to_string(sizeof(Struct)) +
                   (size == 0 ? " (was it initialised?)" : size > sizeof(Struct) ? " (compiled against a newer fourfold_c.h?)"
                                                                                 : ""));
    }
    std::memcpy(static_cast<void *>(&known), given, size);
    return Status();
}

/// Whether write_struct will find room.
template<typename Struct>
Status check_room(const char *name, const Struct *target, size_t size) {
    if (target == nullptr) {
        return not_null(name, target);
    }
    if (size < sizeof(size_t) || size > sizeof(Struct)) {
        return bad(std::string(name) + " has struct_size " + std::to_string(size) + "; this library knows up to " + std::to_string(sizeof(Struct)));
    }
    return Status();
}

/// Writes as much of `known` as the caller has room for.
template<typename Struct>
Status write_struct(const char *name, const Struct &known, Struct *target, size_t size) {
    Status status = check_room(name, target, size);
    if (!status.ok()) {
        return status;
    }
    Struct copy = known;
    copy.struct_size = size;
    std::memcpy(static_cast<void *>(target), &copy, size);
    return Status();
}

/// An enumeration of the values 0 to `last`.
template<typename Enum>
Status read_enum(const char *name, int32_t value, Enum last, Enum &result) {
    if (value < 0 || value > static_cast<int32_t>(last)) {
        return bad(std::string(name) + " is " + std::to_string(value) + "; it must be 0 to " + std::to_string(static_cast<int32_t>(last)));
    }
    result = static_cast<Enum>(value);
    return Status();
}

Status read_names(const char *list, const char *const *names, size_t count, std::vector<std::string> &result) {
    if (names == nullptr && count != 0) {
        return bad(std::string(list) + " is null, but its count is " + std::to_string(count));
    }
    for (size_t i = 0; i < count; i++) {
        if (names[i] == nullptr) {
            return bad("name " + std::to_string(i) + " in " + list + " is null");
        }
        result.emplace_back(names[i]);
    }
    return Status();
}

Status write_text(const std::string &text, char *buffer, size_t capacity, size_t *length) {
    if (buffer == nullptr && capacity != 0) {
        return bad("buffer is null, but its capacity is " + std::to_string(capacity));
    }
    if (capacity != 0) {
        const size_t n = std::min(capacity - 1, text.size());
        std::memcpy(buffer, text.data(), n);
        buffer[n] = '\0';
    }
    if (length != nullptr) {
        *length = text.size();
    }
    return Status();
}

fourfold_problem to_c(const Conv2dProblem &p) {
    fourfold_problem c{};
    c.struct_size = sizeof c;
    c.operation = static_cast<int32_t>(p.operation);
    c.padding_mode = static_cast<int32_t>(p.padding_mode);
    c.filter_mode = static_cast<int32_t>(p.filter_mode);
    c.layout = static_cast<int32_t>(p.layout);
    c.post_op = static_cast<int32_t>(p.post_op);
    c.residual = p.residual;
    c.batch = p.batch;
    c.in_channels = p.in_channels;
    c.in_height = p.in_height;
    c.in_width = p.in_width;
    c.out_channels = p.out_channels;
    c.filter_height = p.filter_height;
    c.filter_width = p.filter_width;
    c.stride_h = p.stride_h;
    c.stride_w = p.stride_w;
    c.pad_top = p.pad_top;
    c.pad_bottom = p.pad_bottom;
    c.pad_left = p.pad_left;
    c.pad_right = p.pad_right;
    c.dilation_h = p.dilation_h;
    c.dilation_w = p.dilation_w;
    c.groups = p.groups;
    c.padding_value = p.padding_value;
    c.clamp_lo = p.clamp_lo;
    c.clamp_hi = p.clamp_hi;
    return c;
}

Status from_c(const fourfold_problem *given, Conv2dProblem &p) {
    fourfold_problem c = to_c(Conv2dProblem());
    Status status = read_struct("problem", given, c);
    if (status.ok()) {
        status = read_enum("operation", c.operation, Operation::kSpectral, p.operation);
    }
    if (status.ok()) {
        status = read_enum("padding_mode", c.padding_mode, PaddingMode::kCircular, p.padding_mode);
    }
    if (status.ok()) {
        status = read_enum("filter_mode", c.filter_mode, FilterMode::kConvolution, p.filter_mode);
    }
    if (status.ok()) {
        status = read_enum("layout", c.layout, Layout::kNhwc, p.layout);
    }
    if (status.ok()) {
        status = read_enum("post_op", c.post_op, PostOp::kClamp, p.post_op);
    }
    p.residual = c.residual != 0;
    p.batch = c.batch;
    p.in_channels = c.in_channels;
    p.in_height = c.in_height;
    p.in_width = c.in_width;
    p.out_channels = c.out_channels;
    p.filter_height = c.filter_height;
    p.filter_width = c.filter_width;
    p.stride_h = c.stride_h;
    p.stride_w = c.stride_w;
    p.pad_top = c.pad_top;
    p.pad_bottom = c.pad_bottom;
    p.pad_left = c.pad_left;
    p.pad_right = c.pad_right;
    p.dilation_h = c.dilation_h;
    p.dilation_w = c.dilation_w;
    p.groups = c.groups;
    p.padding_value = c.padding_value;
    p.clamp_lo = c.clamp_lo;
    p.clamp_hi = c.clamp_hi;
    return status;
}

fourfold_transposed to_c(const Conv2dProblem::Transposed &t) {
    return {sizeof(fourfold_transposed), t.batch, t.in_channels, t.in_height, t.in_width, t.out_channels, t.filter_height, t.filter_width, t.stride_h, t.stride_w,
            t.padding_h, t.padding_w, t.output_padding_h, t.output_padding_w, t.dilation_h, t.dilation_w, t.groups};
}

Conv2dProblem::Transposed from_c(const fourfold_transposed &t) {
    return {t.batch, t.in_channels, t.in_height, t.in_width, t.out_channels, t.filter_height, t.filter_width, t.stride_h, t.stride_w,
            t.padding_h, t.padding_w, t.output_padding_h, t.output_padding_w, t.dilation_h, t.dilation_w, t.groups};
}

fourfold_plan_options to_c(const PlanOptions &o) {
    return {sizeof(fourfold_plan_options), static_cast<int32_t>(o.algorithm), static_cast<int32_t>(o.device.kind), o.threads, static_cast<int32_t>(o.accuracy),
            static_cast<int32_t>(o.fft_backend), static_cast<int32_t>(o.fft_rigor), o.workspace_limit, o.packed_filter_limit, nullptr,
            nullptr, static_cast<int32_t>(o.effort), static_cast<int32_t>(o.cache), o.choose_for_threads, o.packs_each_time, nullptr, 0, o.device.ordinal};
}

/// A null pointer is the defaults.
Status from_c(const fourfold_plan_options *given, PlanOptions &o) {
    if (given == nullptr) {
        return Status();
    }
    fourfold_plan_options c = to_c(PlanOptions());
    Status status = read_struct("options", given, c);
    if (status.ok()) {
        status = read_enum("algorithm", c.algorithm, Algorithm::kWinograd, o.algorithm);
    }
    if (status.ok()) {
        status = read_enum("device", c.device, Device::kOpenCl, o.device.kind);
    }
    if (status.ok()) {
        status = read_enum("accuracy", c.accuracy, Accuracy::kRelaxed, o.accuracy);
    }
    if (status.ok()) {
        status = read_enum("fft_backend", c.fft_backend, FftBackend::kKissFft, o.fft_backend);
    }
    if (status.ok()) {
        status = read_enum("fft_rigor", c.fft_rigor, FftRigor::kPatient, o.fft_rigor);
    }
    o.device.ordinal = c.device_ordinal;
    o.threads = c.threads;
    o.workspace_limit = c.workspace_limit;
    o.packed_filter_limit = c.packed_filter_limit;
    o.variant = c.variant != nullptr ? c.variant : "";
    o.choice = c.choice != nullptr ? c.choice : "";
    o.choose_for_threads = c.choose_for_threads != 0;
    o.packs_each_time = c.packs_each_time != 0;
    if (status.ok()) {
        status = read_enum("effort", c.effort, Effort::kMeasure, o.effort);
    }
    if (status.ok()) {
        status = read_enum("cache", c.cache, CacheState::kCold, o.cache);
    }
    return status.ok() ? read_names("blocked", c.blocked, c.blocked_count, o.blocked) : status;
}

ConstView from_c(const fourfold_const_view &v) {
    return v.strided ? ConstView(v.data, v.strides[0], v.strides[1], v.strides[2], v.strides[3]) : ConstView(v.data);
}
MutableView from_c(const fourfold_view &v) {
    return v.strided ? MutableView(v.data, v.strides[0], v.strides[1], v.strides[2], v.strides[3]) : MutableView(v.data);
}

Status from_c(const fourfold_tensors *given, Tensors &t) {
    fourfold_tensors c{};
    const Status status = read_struct("tensors", given, c);
    t.input = from_c(c.input);
    t.filters = c.packed_filters != nullptr ? Filters(ConstMemoryBlock{c.packed_filters, c.packed_filter_bytes}) : Filters(from_c(c.filters));
    t.bias = c.bias;
    t.residual = from_c(c.residual);
    t.output = from_c(c.output);
    t.grad_output = from_c(c.grad_output);
    t.grad_input = from_c(c.grad_input);
    t.grad_filters = from_c(c.grad_filters);
    t.grad_bias = c.grad_bias;
    return status;
}

fourfold_spectral_problem to_c(const SpectralProblem &p) {
    return {sizeof(fourfold_spectral_problem), static_cast<int32_t>(p.operation), static_cast<int32_t>(p.order), p.batch, p.in_channels, p.height, p.half_width, p.out_channels};
}

Status from_c(const fourfold_spectral_problem *given, SpectralProblem &p) {
    fourfold_spectral_problem c = to_c(SpectralProblem());
    Status status = read_struct("problem", given, c);
    if (status.ok()) {
        status = read_enum("operation", c.operation, Operation::kSpectral, p.operation);
    }
    if (status.ok()) {
        status = read_enum("order", c.order, SpectralOrder::kBcij, p.order);
    }
    p.batch = c.batch;
    p.in_channels = c.in_channels;
    p.height = c.height;
    p.half_width = c.half_width;
    p.out_channels = c.out_channels;
    return status;
}

const Complex *numbers(const float *pairs) {
    return reinterpret_cast<const Complex *>(pairs);
}
Complex *numbers(float *pairs) {
    return reinterpret_cast<Complex *>(pairs);
}
ConstSpectrumView from_c(const fourfold_const_spectrum &v) {
    return v.strided ? ConstSpectrumView(numbers(v.data), v.strides[0], v.strides[1], v.strides[2], v.strides[3]) : ConstSpectrumView(numbers(v.data));
}
MutableSpectrumView from_c(const fourfold_spectrum &v) {
    return v.strided ? MutableSpectrumView(numbers(v.data), v.strides[0], v.strides[1], v.strides[2], v.strides[3]) : MutableSpectrumView(numbers(v.data));
}

class CallbackExecutor final : public Executor {
public:
    void run(int jobs, void (*job)(void *, int), void *argument) override {
        function(data, jobs, job, argument);
    }
    fourfold_executor function = nullptr;
    void *data = nullptr;
};

/// `executor` must outlive the context's use.
Status from_c(const fourfold_context *given, CallbackExecutor &executor, ExecutionContext &context) {
    if (given == nullptr) {
        return Status();
    }
    fourfold_context c{};
    Status status = read_struct("context", given, c);
    if (status.ok()) {
        executor.function = c.executor;
        executor.data = c.executor_data;
        context.executor = c.executor != nullptr ? &executor : nullptr;
        context.profile = c.profile != nullptr ? &c.profile->profile : nullptr;
        context.stream = c.stream;
    }
    return status;
}

fourfold_training_options to_c(const TrainingOptions &o) {
    return {sizeof(fourfold_training_options), o.threads, static_cast<int32_t>(o.fft_backend), static_cast<int32_t>(o.fft_rigor), o.workspace_limit};
}

/// A null pointer is the defaults.
Status from_c(const fourfold_training_options *given, TrainingOptions &o) {
    if (given == nullptr) {
        return Status();
    }
    fourfold_training_options c = to_c(TrainingOptions());
    Status status = read_struct("options", given, c);
    if (status.ok()) {
        status = read_enum("fft_backend", c.fft_backend, FftBackend::kKissFft, o.fft_backend);
    }
    if (status.ok()) {
        status = read_enum("fft_rigor", c.fft_rigor, FftRigor::kPatient, o.fft_rigor);
    }
    o.threads = c.threads;
    o.workspace_limit = c.workspace_limit;
    return status;
}

/// run(context) with the caller's context.
template<typename Run>
Status in_context(const fourfold_context *given, const Run &run) {
    CallbackExecutor executor;
    ExecutionContext context;
    const Status status = from_c(given, executor, context);
    return status.ok() ? run(context) : status;
}

/// A new *target of what make() returns; null with the status that says why there is none.
template<typename Handle, typename Make>
fourfold_status created(const char *name, Handle **target, const Make &make) {
    return guarded([&] {
        if (target == nullptr) {
            return not_null(name, target);
        }
        *target = nullptr;
        auto made = make();
        if (made) {
            *target = new Handle{std::move(*made)};
        }
        return made.status();
    });
}

/// Both, the problem first.
template<typename GivenProblem, typename GivenOptions, typename Problem, typename Options>
Status from_c(const GivenProblem *problem, const GivenOptions *options, Problem &p, Options &o) {
    const Status status = from_c(problem, p);
    return status.ok() ? from_c(options, o) : status;
}

/// Both kinds of problems' operations.
template<typename Problem, typename GivenProblem>
fourfold_status write_flops(const GivenProblem *problem, double *flops) {
    return guarded([&] {
        Problem p;
        Status status = from_c(problem, p);
        if (status.ok()) {
            status = p.validate();
        }
        if (status.ok()) {
            status = not_null("flops", flops);
        }
        if (status.ok()) {
            *flops = p.flops();
        }
        return status;
    });
}

}  // namespace

const char *fourfold_version(void) {
    return version();
}

int32_t fourfold_abi_version(void) {
    return FOURFOLD_ABI_VERSION;
}

const char *fourfold_last_error(void) {
    return last_error.c_str();
}

const char *fourfold_status_name(int32_t status) {
    static const char *const names[] = {"ok", "invalid argument", "unsupported", "resource exhausted", "internal"};
    return status >= FOURFOLD_OK && status <= FOURFOLD_INTERNAL ? names[status] : "unknown";
}

fourfold_status fourfold_problem_init(fourfold_problem *problem, size_t struct_size) {
    return guarded([&] { return write_struct("problem", to_c(Conv2dProblem()), problem, struct_size); });
}

fourfold_status fourfold_problem_parse(fourfold_problem *problem, size_t struct_size, const char *text) {
    return guarded([&] {
        if (text == nullptr) {
            return not_null("text", text);
        }
        const Result<Conv2dProblem> p = Conv2dProblem::parse(text);
        return p ? write_struct("problem", to_c(*p), problem, struct_size) : p.status();
    });
}

fourfold_status fourfold_problem_print(const fourfold_problem *problem, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] {
        Conv2dProblem p;
        const Status status = from_c(problem, p);
        return status.ok() ? write_text(p.to_string(), buffer, capacity, length) : status;
    });
}

fourfold_status fourfold_problem_validate(const fourfold_problem *problem) {
    return guarded([&] {
        Conv2dProblem p;
        const Status status = from_c(problem, p);
        return status.ok() ? p.validate() : status;
    });
}

fourfold_status fourfold_problem_output_size(const fourfold_problem *problem, int64_t *height, int64_t *width) {
    return guarded([&] {
        Conv2dProblem p;
        Status status = from_c(problem, p);
        if (status.ok()) {
            status = height == nullptr ? not_null("height", height) : not_null("width", width);
        }
        if (status.ok() && (p.stride_h < 1 || p.stride_w < 1)) {
            status = bad("stride is " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w) + "; it must be at least 1");
        }
        if (status.ok()) {
            *height = p.out_height();
            *width = p.out_width();
        }
        return status;
    });
}

fourfold_status fourfold_problem_flops(const fourfold_problem *problem, double *flops) {
    return write_flops<Conv2dProblem>(problem, flops);
}

fourfold_status fourfold_problem_set_padding(fourfold_problem *problem, int32_t padding) {
    return guarded([&] {
        Conv2dProblem p;
        Status status = from_c(problem, p);
        if (status.ok() && (padding < FOURFOLD_VALID || padding > FOURFOLD_SAME)) {
            status = bad("padding is " + std::to_string(padding) + "; it must be 0 to " + std::to_string(FOURFOLD_SAME));
        }
        if (status.ok() && (p.stride_h < 1 || p.stride_w < 1)) {
            status = bad("stride is " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w) + "; it must be at least 1");
        }
        if (!status.ok()) {
            return status;
        }
        p = padding == FOURFOLD_VALID ? p.valid() : padding == FOURFOLD_FULL ? p.full()
                                                                             : p.same();
        return write_struct("problem", to_c(p), problem, problem->struct_size);
    });
}

fourfold_status fourfold_transposed_init(fourfold_transposed *layer, size_t struct_size) {
    return guarded([&] { return write_struct("layer", to_c(Conv2dProblem::Transposed()), layer, struct_size); });
}

fourfold_status fourfold_problem_transposed(fourfold_problem *problem, size_t struct_size, const fourfold_transposed *layer) {
    return guarded([&] {
        fourfold_transposed t = to_c(Conv2dProblem::Transposed());
        const Status status = read_struct("layer", layer, t);
        return status.ok() ? write_struct("problem", to_c(Conv2dProblem::transposed(from_c(t))), problem, struct_size) : status;
    });
}

const char *fourfold_algorithm_name(int32_t algorithm) {
    const bool known = algorithm >= FOURFOLD_ALGORITHM_AUTO && algorithm <= FOURFOLD_ALGORITHM_WINOGRAD;
    return known ? to_string(static_cast<Algorithm>(algorithm)) : nullptr;
}

fourfold_status fourfold_algorithm_parse(const char *name, int32_t *algorithm) {
    return guarded([&] {
        if (name == nullptr || algorithm == nullptr) {
            return bad(name == nullptr ? "name is null" : "algorithm is null");
        }
        const Result<Algorithm> parsed = parse_algorithm(name);
        if (parsed) {
            *algorithm = static_cast<int32_t>(*parsed);
        }
        return parsed.status();
    });
}

fourfold_status fourfold_plan_options_init(fourfold_plan_options *options, size_t struct_size) {
    return guarded([&] { return write_struct("options", to_c(PlanOptions()), options, struct_size); });
}

fourfold_status fourfold_plan_create(const fourfold_problem *problem, const fourfold_plan_options *options, fourfold_plan **plan) {
    return created("plan", plan, [&]() -> Result<Plan> {
        Conv2dProblem p;
        PlanOptions o;
        const Status status = from_c(problem, options, p, o);
        return status.ok() ? Plan::create(p, o) : status;
    });
}

void fourfold_plan_destroy(fourfold_plan *plan) {
    delete plan;
}

fourfold_status fourfold_plan_query(const fourfold_plan *plan, fourfold_plan_info *info) {
    return guarded([&] {
        if (plan == nullptr || info == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "info is null");
        }
        const Plan &p = plan->plan;
        const fourfold_plan_info known = {sizeof known, p.variant().c_str(), static_cast<int32_t>(p.algorithm()), p.threads(), p.workspace_bytes(), p.workspace_bytes_unpacked(), p.packed_filter_bytes(), p.predicted_seconds(), p.choice().c_str(), p.decided_by().c_str(), static_cast<int32_t>(p.tier()), static_cast<int32_t>(p.device().kind), p.device().ordinal};
        return write_struct("info", known, info, info->struct_size);
    });
}

fourfold_status fourfold_plan_problem(const fourfold_plan *plan, fourfold_problem *problem, size_t struct_size) {
    return guarded([&] { return plan == nullptr ? not_null("plan", plan) : write_struct("problem", to_c(plan->plan.problem()), problem, struct_size); });
}

fourfold_status fourfold_plan_describe(const fourfold_plan *plan, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] { return plan == nullptr ? not_null("plan", plan) : write_text(plan->plan.describe(), buffer, capacity, length); });
}

fourfold_status fourfold_plan_pack_filters(const fourfold_plan *plan, const fourfold_const_view *filters, void *packed, size_t packed_bytes,
                                           void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr || filters == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "filters is null");
        }
        return in_context(context, [&](const ExecutionContext &c) { return plan->plan.pack_filters(from_c(*filters), {packed, packed_bytes}, {workspace, workspace_bytes}, c); });
    });
}

fourfold_status fourfold_plan_execute(const fourfold_plan *plan, const fourfold_tensors *tensors, void *workspace, size_t workspace_bytes,
                                      const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr) {
            return not_null("plan", plan);
        }
        Tensors t;
        const Status status = from_c(tensors, t);
        return status.ok() ? in_context(context, [&](const ExecutionContext &c) { return plan->plan.execute(t, {workspace, workspace_bytes}, c); }) : status;
    });
}

fourfold_status fourfold_layer_create(const fourfold_problem *problem, const fourfold_const_view *filters, const float *bias, const fourfold_plan_options *options,
                                      fourfold_layer **layer) {
    return created("layer", layer, [&]() -> Result<Conv2dLayer> {
        Conv2dProblem p;
        PlanOptions o;
        Status status = from_c(problem, options, p, o);
        if (status.ok()) {
            status = not_null("filters", filters);
        }
        return status.ok() ? Conv2dLayer::create(p, from_c(*filters), bias, o) : status;
    });
}

void fourfold_layer_destroy(fourfold_layer *layer) {
    delete layer;
}

fourfold_status fourfold_layer_query(const fourfold_layer *layer, fourfold_layer_info *info) {
    return guarded([&] {
        if (layer == nullptr || info == nullptr) {
            return bad(layer == nullptr ? "layer is null" : "info is null");
        }
        const Conv2dLayer &l = layer->layer;
        const fourfold_layer_info known = {sizeof known, l.workspace_bytes(), l.packed_filter_bytes(), l.predicted_seconds(), l.separable()};
        return write_struct("info", known, info, info->struct_size);
    });
}

fourfold_status fourfold_layer_describe(const fourfold_layer *layer, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] { return layer == nullptr ? not_null("layer", layer) : write_text(layer->layer.describe(), buffer, capacity, length); });
}

fourfold_status fourfold_layer_run(fourfold_layer *layer, const fourfold_const_view *input, const fourfold_view *output, const fourfold_const_view *residual,
                                   const fourfold_context *context) {
    return guarded([&] {
        if (layer == nullptr || input == nullptr || output == nullptr) {
            return bad(layer == nullptr ? "layer is null" : input == nullptr ? "input is null"
                                                                             : "output is null");
        }
        return in_context(context, [&](const ExecutionContext &c) { return layer->layer.run(from_c(*input), from_c(*output), residual != nullptr ? from_c(*residual) : ConstView(), c); });
    });
}

fourfold_status fourfold_spectral_problem_init(fourfold_spectral_problem *problem, size_t struct_size) {
    return guarded([&] { return write_struct("problem", to_c(SpectralProblem()), problem, struct_size); });
}

fourfold_status fourfold_spectral_problem_parse(fourfold_spectral_problem *problem, size_t struct_size, const char *text) {
    return guarded([&] {
        if (text == nullptr) {
            return not_null("text", text);
        }
        const Result<SpectralProblem> p = SpectralProblem::parse(text);
        return p ? write_struct("problem", to_c(*p), problem, struct_size) : p.status();
    });
}

fourfold_status fourfold_spectral_problem_print(const fourfold_spectral_problem *problem, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] {
        SpectralProblem p;
        const Status status = from_c(problem, p);
        return status.ok() ? write_text(p.to_string(), buffer, capacity, length) : status;
    });
}

fourfold_status fourfold_spectral_problem_validate(const fourfold_spectral_problem *problem) {
    return guarded([&] {
        SpectralProblem p;
        const Status status = from_c(problem, p);
        return status.ok() ? p.validate() : status;
    });
}

fourfold_status fourfold_spectral_problem_flops(const fourfold_spectral_problem *problem, double *flops) {
    return write_flops<SpectralProblem>(problem, flops);
}

fourfold_status fourfold_spectral_options_init(fourfold_spectral_options *options, size_t struct_size) {
    return guarded([&] { return write_struct("options", fourfold_spectral_options{sizeof *options, 0, nullptr}, options, struct_size); });
}

fourfold_status fourfold_spectral_plan_create(const fourfold_spectral_problem *problem, const fourfold_spectral_options *options, fourfold_spectral_plan **plan) {
    return created("plan", plan, [&]() -> Result<SpectralPlan> {
        SpectralProblem p;
        fourfold_spectral_options o{};
        Status status = from_c(problem, p);
        if (status.ok() && options != nullptr) {
            status = read_struct("options", options, o);
        }
        return status.ok() ? SpectralPlan::create(p, {o.threads, o.variant != nullptr ? o.variant : ""}) : status;
    });
}

void fourfold_spectral_plan_destroy(fourfold_spectral_plan *plan) {
    delete plan;
}

fourfold_status fourfold_spectral_plan_query(const fourfold_spectral_plan *plan, fourfold_spectral_info *info) {
    return guarded([&] {
        if (plan == nullptr || info == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "info is null");
        }
        const SpectralPlan &p = plan->plan;
        const fourfold_spectral_info known = {sizeof known, p.variant().c_str(), p.threads(), p.workspace_bytes(), p.workspace_bytes_unpacked(), p.packed_filter_bytes()};
        return write_struct("info", known, info, info->struct_size);
    });
}

fourfold_status fourfold_spectral_plan_describe(const fourfold_spectral_plan *plan, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] { return plan == nullptr ? not_null("plan", plan) : write_text(plan->plan.describe(), buffer, capacity, length); });
}

fourfold_status fourfold_spectral_plan_pack_filters(const fourfold_spectral_plan *plan, const fourfold_const_spectrum *filters, void *packed, size_t packed_bytes,
                                                    const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr || filters == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "filters is null");
        }
        return in_context(context, [&](const ExecutionContext &c) { return plan->plan.pack_filters(from_c(*filters), {packed, packed_bytes}, c); });
    });
}

fourfold_status fourfold_spectral_plan_execute(const fourfold_spectral_plan *plan, const fourfold_spectral_tensors *tensors, void *workspace, size_t workspace_bytes,
                                               const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr) {
            return not_null("plan", plan);
        }
        fourfold_spectral_tensors given{};
        if (Status status = read_struct("tensors", tensors, given); !status.ok()) {
            return status;
        }
        SpectralTensors t;
        t.input = from_c(given.input);
        t.filters = given.packed_filters != nullptr ? SpectralFilters(ConstMemoryBlock{given.packed_filters, given.packed_filter_bytes}) : SpectralFilters(from_c(given.filters));
        t.output = from_c(given.output);
        t.grad_output = from_c(given.grad_output);
        t.grad_input = from_c(given.grad_input);
        t.grad_filters = from_c(given.grad_filters);
        t.accumulate = given.accumulate != 0;
        return in_context(context, [&](const ExecutionContext &c) { return plan->plan.execute(t, {workspace, workspace_bytes}, c); });
    });
}

fourfold_status fourfold_spectral_transform_options_init(fourfold_spectral_transform_options *options, size_t struct_size) {
    return guarded([&] { return write_struct("options", fourfold_spectral_transform_options{sizeof *options, 0, FOURFOLD_FFT_AUTO, FOURFOLD_FFT_ESTIMATE}, options, struct_size); });
}

fourfold_status fourfold_spectral_transform_create(int64_t height, int64_t width, int32_t order, const fourfold_spectral_transform_options *options,
                                                   fourfold_spectral_transform **transform) {
    return created("transform", transform, [&]() -> Result<SpectralTransform> {
        SpectralOrder known = SpectralOrder::kBijc;
        fourfold_spectral_transform_options given{};
        SpectralTransformOptions o;
        Status status = read_enum("order", order, SpectralOrder::kBcij, known);
        if (status.ok() && options != nullptr) {
            status = read_struct("options", options, given);
        }
        if (status.ok()) {
            status = read_enum("fft_backend", given.fft_backend, FftBackend::kKissFft, o.fft_backend);
        }
        if (status.ok()) {
            status = read_enum("fft_rigor", given.fft_rigor, FftRigor::kPatient, o.fft_rigor);
        }
        o.threads = given.threads;
        return status.ok() ? SpectralTransform::create(height, width, known, o) : status;
    });
}

void fourfold_spectral_transform_destroy(fourfold_spectral_transform *transform) {
    delete transform;
}

fourfold_status fourfold_spectral_transform_workspace(const fourfold_spectral_transform *transform, size_t *bytes) {
    return guarded([&] {
        if (transform == nullptr || bytes == nullptr) {
            return bad(transform == nullptr ? "transform is null" : "bytes is null");
        }
        *bytes = transform->transform.workspace_bytes();
        return Status();
    });
}

namespace {

/// run(transform, context) where both are there.
template<typename Run>
fourfold_status transformed(const fourfold_spectral_transform *transform, const fourfold_context *context, const Run &run) {
    return guarded([&] {
        if (transform == nullptr) {
            return not_null("transform", transform);
        }
        return in_context(context, [&](const ExecutionContext &c) { return run(transform->transform, c); });
    });
}

}  // namespace

fourfold_status fourfold_spectral_transform_forward(const fourfold_spectral_transform *transform, const float *images, int64_t batch, int64_t channels,
                                                    float *spectra, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return transformed(transform, context, [&](const SpectralTransform &t, const ExecutionContext &c) { return t.forward(images, batch, channels, numbers(spectra), {workspace, workspace_bytes}, c); });
}

fourfold_status fourfold_spectral_transform_inverse(const fourfold_spectral_transform *transform, const float *spectra, int64_t batch, int64_t channels,
                                                    float *images, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return transformed(transform, context, [&](const SpectralTransform &t, const ExecutionContext &c) { return t.inverse(numbers(spectra), batch, channels, images, {workspace, workspace_bytes}, c); });
}

fourfold_status fourfold_spectral_transform_filters(const fourfold_spectral_transform *transform, const fourfold_problem *problem, const float *filters,
                                                    float *spectra, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return transformed(transform, context, [&](const SpectralTransform &t, const ExecutionContext &c) {
        Conv2dProblem p;
        const Status status = from_c(problem, p);
        return status.ok() ? t.filters(p, filters, numbers(spectra), {workspace, workspace_bytes}, c) : status;
    });
}

namespace {

/// run(plan, view, context) where all are there.
template<typename View, typename Run>
fourfold_status trained(const fourfold_training_plan *plan, const char *name, const View *view, const fourfold_context *context, const Run &run) {
    return guarded([&] {
        if (plan == nullptr || view == nullptr) {
            return plan == nullptr ? not_null("plan", plan) : not_null(name, view);
        }
        return in_context(context, [&](const ExecutionContext &c) { return run(plan->plan, from_c(*view), c); });
    });
}

}  // namespace

fourfold_status fourfold_training_options_init(fourfold_training_options *options, size_t struct_size) {
    return guarded([&] { return write_struct("options", to_c(TrainingOptions()), options, struct_size); });
}

fourfold_status fourfold_training_plan_create(const fourfold_problem *problem, const fourfold_training_options *options, fourfold_training_plan **plan) {
    return created("plan", plan, [&]() -> Result<TrainingPlan> {
        Conv2dProblem p;
        TrainingOptions o;
        const Status status = from_c(problem, options, p, o);
        return status.ok() ? TrainingPlan::create(p, o) : status;
    });
}

void fourfold_training_plan_destroy(fourfold_training_plan *plan) {
    delete plan;
}

fourfold_status fourfold_training_plan_query(const fourfold_training_plan *plan, fourfold_training_info *info) {
    return guarded([&] {
        if (plan == nullptr || info == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "info is null");
        }
        const TrainingPlan &p = plan->plan;
        const fourfold_training_info known = {sizeof known, p.threads(), static_cast<int32_t>(p.backend()), p.input_spectra_bytes(), p.filter_spectra_bytes(), p.gradient_spectra_bytes(), p.workspace_bytes()};
        return write_struct("info", known, info, info->struct_size);
    });
}

fourfold_status fourfold_training_plan_describe(const fourfold_training_plan *plan, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] { return plan == nullptr ? not_null("plan", plan) : write_text(plan->plan.describe(), buffer, capacity, length); });
}

fourfold_status fourfold_training_plan_transform_input(const fourfold_training_plan *plan, const fourfold_const_view *input, int64_t step, void *input_spectra,
                                                       size_t input_spectra_bytes, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return trained(plan, "input", input, context, [&](const TrainingPlan &p, ConstView x, const ExecutionContext &c) {
        return p.transform_input(x, step, {input_spectra, input_spectra_bytes}, {workspace, workspace_bytes}, c);
    });
}

fourfold_status fourfold_training_plan_transform_filters(const fourfold_training_plan *plan, const fourfold_const_view *filters, int64_t step, void *filter_spectra,
                                                         size_t filter_spectra_bytes, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return trained(plan, "filters", filters, context, [&](const TrainingPlan &p, ConstView w, const ExecutionContext &c) {
        return p.transform_filters(w, step, {filter_spectra, filter_spectra_bytes}, {workspace, workspace_bytes}, c);
    });
}

fourfold_status fourfold_training_plan_transform_gradient(const fourfold_training_plan *plan, const fourfold_const_view *grad_output, int64_t step, void *gradient_spectra,
                                                          size_t gradient_spectra_bytes, void *workspace, size_t workspace_bytes, const fourfold_context *context) {
    return trained(plan, "grad_output", grad_output, context, [&](const TrainingPlan &p, ConstView gy, const ExecutionContext &c) {
        return p.transform_gradient(gy, step, {gradient_spectra, gradient_spectra_bytes}, {workspace, workspace_bytes}, c);
    });
}

fourfold_status fourfold_training_plan_forward(const fourfold_training_plan *plan, const void *input_spectra, size_t input_spectra_bytes, const void *filter_spectra,
                                               size_t filter_spectra_bytes, const float *bias, const fourfold_view *output, void *workspace, size_t workspace_bytes,
                                               const fourfold_context *context) {
    return trained(plan, "output", output, context, [&](const TrainingPlan &p, MutableView y, const ExecutionContext &c) {
        return p.forward({input_spectra, input_spectra_bytes}, {filter_spectra, filter_spectra_bytes}, bias, y, {workspace, workspace_bytes}, c);
    });
}

fourfold_status fourfold_training_plan_backward_data(const fourfold_training_plan *plan, const void *gradient_spectra, size_t gradient_spectra_bytes, const void *filter_spectra,
                                                     size_t filter_spectra_bytes, const fourfold_view *grad_input, void *workspace, size_t workspace_bytes,
                                                     const fourfold_context *context) {
    return trained(plan, "grad_input", grad_input, context, [&](const TrainingPlan &p, MutableView gx, const ExecutionContext &c) {
        return p.backward_data({gradient_spectra, gradient_spectra_bytes}, {filter_spectra, filter_spectra_bytes}, gx, {workspace, workspace_bytes}, c);
    });
}

fourfold_status fourfold_training_plan_backward_filters(const fourfold_training_plan *plan, const void *input_spectra, size_t input_spectra_bytes, const void *gradient_spectra,
                                                        size_t gradient_spectra_bytes, const fourfold_view *grad_filters, float *grad_bias, void *workspace,
                                                        size_t workspace_bytes, const fourfold_context *context) {
    return trained(plan, "grad_filters", grad_filters, context, [&](const TrainingPlan &p, MutableView gw, const ExecutionContext &c) {
        return p.backward_filters({input_spectra, input_spectra_bytes}, {gradient_spectra, gradient_spectra_bytes}, gw, grad_bias, {workspace, workspace_bytes}, c);
    });
}

void *fourfold_alloc(size_t bytes) {
    const size_t blocks = bytes / kAlignment + (bytes % kAlignment != 0 || bytes == 0);
    return blocks > SIZE_MAX / kAlignment ? nullptr : std::aligned_alloc(kAlignment, blocks * kAlignment);
}

void fourfold_free(void *memory) {
    std::free(memory);
}

fourfold_status fourfold_list_devices(void (*each)(void *data, const fourfold_device_info *info), void *data) {
    return guarded([&] {
        if (each == nullptr) {
            return bad("each is null");
        }
        for (const DeviceInfo &d : devices()) {
            const fourfold_device_info info = {sizeof info, static_cast<int32_t>(d.device.kind), d.device.ordinal, d.name.c_str(), d.driver.c_str(), d.memory_bytes, d.compute_units, d.capability};
            each(data, &info);
        }
        return Status();
    });
}

namespace {

/// run(device) for the device that the two name.
template<typename Run>
fourfold_status on_device(int32_t kind, int32_t ordinal, const Run &run) {
    return guarded([&] {
        Device device(Device::kCpu, ordinal);
        const Status status = read_enum("device", kind, Device::kOpenCl, device.kind);
        return status.ok() ? run(device) : status;
    });
}

}  // namespace

fourfold_status fourfold_device_buffer_create(int32_t device, int32_t ordinal, size_t bytes, fourfold_device_buffer **buffer) {
    if (buffer != nullptr) {
        *buffer = nullptr;
    }
    return on_device(device, ordinal, [&](Device d) {
        if (buffer == nullptr) {
            return not_null("buffer", buffer);
        }
        Result<DeviceBuffer> made = DeviceBuffer::allocate(d, bytes);
        if (made) {
            *buffer = new fourfold_device_buffer{std::move(*made)};
        }
        return made.status();
    });
}

void *fourfold_device_buffer_data(const fourfold_device_buffer *buffer) {
    return buffer != nullptr ? buffer->buffer.data() : nullptr;
}

void fourfold_device_buffer_destroy(fourfold_device_buffer *buffer) {
    delete buffer;
}

fourfold_status fourfold_copy_to_device(int32_t device, int32_t ordinal, void *to, const void *from, size_t bytes, void *stream) {
    return on_device(device, ordinal, [&](Device d) { return copy_to_device(d, to, from, bytes, stream); });
}

fourfold_status fourfold_copy_to_host(int32_t device, int32_t ordinal, void *to, const void *from, size_t bytes, void *stream) {
    return on_device(device, ordinal, [&](Device d) { return copy_to_host(d, to, from, bytes, stream); });
}

fourfold_status fourfold_synchronize(int32_t device, int32_t ordinal, void *stream) {
    return on_device(device, ordinal, [&](Device d) { return synchronize(d, stream); });
}

fourfold_status fourfold_staged_plan_create(const fourfold_problem *problem, const fourfold_plan_options *options, size_t device_bytes, fourfold_staged_plan **plan) {
    return created("plan", plan, [&]() -> Result<StagedPlan> {
        Conv2dProblem p;
        PlanOptions o;
        const Status status = from_c(problem, options, p, o);
        return status.ok() ? StagedPlan::create(p, o, device_bytes) : status;
    });
}

void fourfold_staged_plan_destroy(fourfold_staged_plan *plan) {
    delete plan;
}

fourfold_status fourfold_staged_plan_pieces(const fourfold_staged_plan *plan, int64_t *pieces) {
    return guarded([&] {
        if (plan == nullptr || pieces == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "pieces is null");
        }
        *pieces = plan->plan.pieces();
        return Status();
    });
}

fourfold_status fourfold_staged_plan_describe(const fourfold_staged_plan *plan, char *buffer, size_t capacity, size_t *length) {
    return guarded([&] { return plan == nullptr ? not_null("plan", plan) : write_text(plan->plan.plan().describe(), buffer, capacity, length); });
}

fourfold_status fourfold_staged_plan_pack_filters(fourfold_staged_plan *plan, const fourfold_const_view *filters, const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr || filters == nullptr) {
            return bad(plan == nullptr ? "plan is null" : "filters is null");
        }
        return in_context(context, [&](const ExecutionContext &c) { return plan->plan.pack_filters(from_c(*filters), c); });
    });
}

fourfold_status fourfold_staged_plan_execute(fourfold_staged_plan *plan, const fourfold_tensors *tensors, const fourfold_context *context) {
    return guarded([&] {
        if (plan == nullptr) {
            return not_null("plan", plan);
        }
        Tensors t;
        const Status status = from_c(tensors, t);
        return status.ok() ? in_context(context, [&](const ExecutionContext &c) { return plan->plan.execute(t, c); }) : status;
    });
}

fourfold_status fourfold_profile_create(fourfold_profile **profile) {
    return guarded([&] {
        if (profile == nullptr) {
            return not_null("profile", profile);
        }
        *profile = nullptr;
        *profile = new fourfold_profile;
        return Status();
    });
}

void fourfold_profile_destroy(fourfold_profile *profile) {
    delete profile;
}

fourfold_status fourfold_profile_reset(fourfold_profile *profile) {
    return guarded([&] {
        if (profile != nullptr) {
            profile->profile.reset();
        }
        return not_null("profile", profile);
    });
}

fourfold_status fourfold_profile_stages(const fourfold_profile *profile, fourfold_stage *stages, size_t capacity, size_t *count) {
    return guarded([&] {
        if (profile == nullptr || count == nullptr || (stages == nullptr && capacity != 0)) {
            return bad(profile == nullptr ? "profile is null" : count == nullptr ? "count is null"
                                                                                 : "stages is null");
        }
        const std::vector<Profile::Stage> list = profile->profile.stages();
        for (size_t i = 0; i < std::min(capacity, list.size()); i++) {
            stages[i] = {list[i].name, list[i].calls, list[i].seconds};
        }
        *count = list.size();
        return Status();
    });
}

namespace {

/// Each of what list(problem, options) has.
fourfold_status for_candidates(const fourfold_problem *problem, const fourfold_plan_options *options, void (*each)(void *data, const fourfold_candidate *candidate), void *data,
                               Result<std::vector<Candidate>> (*list)(const Conv2dProblem &, const PlanOptions &)) {
    return guarded([&] {
        Conv2dProblem p;
        PlanOptions o;
        Status status = from_c(problem, p);
        if (status.ok()) {
            status = from_c(options, o);
        }
        if (status.ok() && each == nullptr) {
            status = bad("each is null");
        }
        if (!status.ok()) {
            return status;
        }
        const Result<std::vector<Candidate>> candidates = list(p, o);
        if (candidates) {
            for (const Candidate &c : *candidates) {
                const fourfold_candidate candidate = {sizeof candidate, static_cast<int32_t>(c.algorithm), c.supported, c.chosen, c.reason.c_str(), c.variant.c_str(), c.predicted_seconds, c.workspace_bytes, c.packed_filter_bytes, c.choice.c_str(), c.corrected_seconds};
                each(data, &candidate);
            }
        }
        return candidates.status();
    });
}

}  // namespace

fourfold_status fourfold_explain(const fourfold_problem *problem, const fourfold_plan_options *options,
                                 void (*each)(void *data, const fourfold_candidate *candidate), void *data) {
    return for_candidates(problem, options, each, data, explain);
}

fourfold_status fourfold_list_choices(const fourfold_problem *problem, const fourfold_plan_options *options,
                                      void (*each)(void *data, const fourfold_candidate *candidate), void *data) {
    return for_candidates(problem, options, each, data, list_choices);
}

fourfold_status fourfold_list_variants(void (*each)(void *data, const fourfold_variant *variant), void *data) {
    return guarded([&] {
        if (each == nullptr) {
            return bad("each is null");
        }
        for (const VariantInfo &v : list_variants()) {
            const fourfold_variant variant = {sizeof variant, v.name.c_str(), v.stage.c_str(), v.isa.c_str(), v.parameters.c_str(), v.runnable, v.hash.c_str()};
            each(data, &variant);
        }
        return Status();
    });
}

fourfold_status fourfold_machine_query(fourfold_machine *target) {
    return guarded([&] {
        if (target == nullptr) {
            return not_null("machine", target);
        }
        const MachineInfo &m = machine();
        const fourfold_machine known = {sizeof known, m.cpu.c_str(), m.microarchitecture.c_str(), m.isa.c_str(), m.hardware_threads, m.l1_bytes, m.l2_bytes, m.l3_bytes};
        return write_struct("machine", known, target, target->struct_size);
    });
}

fourfold_status fourfold_fft_backends(int32_t *backends, size_t capacity, size_t *count) {
    return guarded([&] {
        if (count == nullptr || (backends == nullptr && capacity != 0)) {
            return bad(count == nullptr ? "count is null" : "backends is null");
        }
        const std::vector<FftBackend> list = fft_backends();
        for (size_t i = 0; i < std::min(capacity, list.size()); i++) {
            backends[i] = static_cast<int32_t>(list[i]);
        }
        *count = list.size();
        return Status();
    });
}

fourfold_status fourfold_export_fft_wisdom(char *buffer, size_t capacity, size_t *length) {
    return guarded([&] {
        const Result<std::string> wisdom = export_fft_wisdom();
        return wisdom ? write_text(*wisdom, buffer, capacity, length) : wisdom.status();
    });
}

fourfold_status fourfold_import_fft_wisdom(const char *wisdom) {
    return guarded([&] { return wisdom == nullptr ? not_null("wisdom", wisdom) : import_fft_wisdom(wisdom); });
}

namespace {

fourfold_table_info to_c(const TableInfo &t) {
    return {sizeof(fourfold_table_info), t.name.c_str(), t.shipped, t.records, t.stale, t.foreign, t.unreadable, t.torn};
}

/// What load(name) reads, under the caller's own name for it.
template<typename Load>
Status loaded(const char *name, fourfold_table_info *info, const Load &load) {
    Status status = info != nullptr ? check_room("info", info, info->struct_size) : Status();
    if (!status.ok()) {
        return status;
    }
    const Result<TableInfo> table = load(name);
    if (table && info != nullptr) {
        fourfold_table_info known = to_c(*table);
        known.name = name;
        status = write_struct("info", known, info, info->struct_size);
    }
    return table ? status : table.status();
}

}  // namespace

fourfold_status fourfold_load_table(const char *path, fourfold_table_info *info) {
    return guarded([&] { return path == nullptr ? not_null("path", path) : loaded(path, info, [](const char *name) { return load_table(name); }); });
}

fourfold_status fourfold_load_table_text(const char *name, const char *text, fourfold_table_info *info) {
    return guarded([&] {
        if (name == nullptr || text == nullptr) {
            return bad(name == nullptr ? "name is null" : "text is null");
        }
        return loaded(name, info, [text](const char *called) { return load_table_text(called, text); });
    });
}

fourfold_status fourfold_unload_tables(int32_t keep_shipped) {
    return guarded([&] {
        unload_tables(keep_shipped != 0);
        return Status();
    });
}

fourfold_status fourfold_list_tables(void (*each)(void *data, const fourfold_table_info *info), void *data) {
    return guarded([&] {
        if (each == nullptr) {
            return bad("each is null");
        }
        for (const TableInfo &table : tables()) {
            const fourfold_table_info info = to_c(table);
            each(data, &info);
        }
        return Status();
    });
}

fourfold_status fourfold_block_choices(const char *const *names, size_t count) {
    return guarded([&] {
        std::vector<std::string> list;
        const Status status = read_names("names", names, count, list);
        return status.ok() ? block_choices(list) : status;
    });
}
