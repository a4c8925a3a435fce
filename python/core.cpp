// The extension module fourfold._core: problems, plans and transforms as they are in C++, arrays through DLPack, the GIL released while the
// library works. What Python adds for comfort is in fourfold/__init__.py and fourfold/torch.py.
#include <array>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>
#include <nanobind/stl/vector.h>

#include "fourfold/fourfold.h"
#include "fourfold/staged_plan.h"

#include "binding.h"

using namespace nanobind::literals;
using namespace fourfold;
using namespace fourfold::python;

namespace {

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
using OutArray = nb::ndarray<nb::device::cpu>;

template<typename T>
T value(Result<T> result) {
    check(result.status());
    return std::move(*result);
}

template<typename A>
std::string shape_text(const A &array) {
    std::string s = "(";
    for (size_t i = 0; i < array.ndim(); i++) {
        s += (i == 0 ? "" : ", ") + std::to_string(array.shape(i));
    }
    return s + ")";
}

template<typename T = float, typename A>
void check_array(const char *name, const A &array, std::initializer_list<int64_t> shape) {
    if (array.dtype() != nb::dtype<T>()) {
        throw_error(PyExc_ValueError, std::string(name) + " is not " + (nb::dtype<T>() == nb::dtype<float>() ? "float32" : "complex64"));
    }
    bool same = array.ndim() == shape.size();
    std::string expected;
    for (size_t i = 0; i < shape.size(); i++) {
        const int64_t size = shape.begin()[i];
        same = same && static_cast<int64_t>(array.shape(i)) == size;
        expected += (i == 0 ? "" : ", ") + std::to_string(size);
    }
    if (!same) {
        throw_error(PyExc_ValueError, std::string(name) + " has shape " + shape_text(array) + "; the problem needs (" + expected + ")");
    }
}

/// A view of the array as it lies; an absent one is null, which execute refuses where it needs it. Dense ones say so: execute
/// then sees overlaps.
template<typename T, typename A>
TensorView<T> view(const char *name, const std::optional<A> &array, Layout layout, const Shape &s) {
    if (!array) {
        return nullptr;
    }
    check_array(name, *array, {s[0], s[1], s[2], s[3]});
    if (is_dense(*array, layout)) {
        return static_cast<T *>(array->data());
    }
    return {static_cast<T *>(array->data()), array->stride(0), array->stride(1), array->stride(2), array->stride(3)};
}

template<typename T, typename A>
T *vector(const char *name, const std::optional<A> &array, int64_t size) {
    if (!array) {
        return nullptr;
    }
    check_array(name, *array, {size});
    if (size > 1 && array->stride(0) != 1) {
        throw_error(PyExc_ValueError, std::string(name) + " has stride " + std::to_string(array->stride(0)) + "; it must be contiguous");
    }
    return static_cast<T *>(array->data());
}

/// Columns of unfold and fold as the library has them.
Shape column_shape(const Conv2dProblem &p) {
    return {p.batch, p.in_channels, p.filter_height * p.filter_width, p.out_height() * p.out_width()};
}
nb::tuple as_tuple(const Shape &s) {
    return nb::make_tuple(s[0], s[1], s[2], s[3]);
}

/// Sizes that shapes and padding divide by.
Conv2dProblem parsed(std::string_view text) {
    const Conv2dProblem p = value(Conv2dProblem::parse(text));
    if (p.stride_h < 1 || p.stride_w < 1 || p.dilation_h < 1 || p.dilation_w < 1 || p.groups < 1) {
        check(p.validate());
    }
    return p;
}

struct Options {
    std::string algorithm, device, accuracy, variant, choice, effort, cache, fft_backend, fft_rigor;
    int threads;
    std::optional<size_t> workspace_limit, packed_filter_limit;
    bool choose_for_threads, packs_each_time;
    std::vector<std::string> blocked;
};

/// One of some words, in the order of an enumeration's values.
template<typename Enum>
Enum one_of(const char *name, const std::string &value, std::initializer_list<const char *> words) {
    std::string list;
    for (size_t i = 0; i < words.size(); i++) {
        const char *word = words.begin()[i];
        if (value == word) {
            return static_cast<Enum>(i);
        }
        list += (i == 0 ? "" : i + 1 == words.size() ? " or "
                                                     : ", ") +
                std::string(word);
    }
    throw_error(PyExc_ValueError, std::string(name) + " is '" + value + "'; it must be " + list);
}

FftBackend fft_backend(const std::string &name) {
    return one_of<FftBackend>("fft_backend", name, {"auto", "fftw", "kissfft"});
}
FftRigor fft_rigor(const std::string &name) {
    return one_of<FftRigor>("fft_rigor", name, {"estimate", "measure", "patient"});
}

PlanOptions plan_options(const Options &o) {
    PlanOptions options;
    options.algorithm = value(parse_algorithm(o.algorithm));
    options.device = value(parse_device(o.device));
    options.accuracy = value(parse_accuracy(o.accuracy));
    options.threads = o.threads;
    options.workspace_limit = o.workspace_limit.value_or(options.workspace_limit);
    options.packed_filter_limit = o.packed_filter_limit.value_or(options.packed_filter_limit);
    options.variant = o.variant;
    options.choice = o.choice;
    options.effort = one_of<Effort>("effort", o.effort, {"table", "measure"});
    options.cache = one_of<CacheState>("cache", o.cache, {"warm", "cold"});
    options.fft_backend = fft_backend(o.fft_backend);
    options.fft_rigor = fft_rigor(o.fft_rigor);
    options.choose_for_threads = o.choose_for_threads;
    options.packs_each_time = o.packs_each_time;
    options.blocked = o.blocked;
    return options;
}

/// Options of what computes in the arrays' own memory.
PlanOptions cpu_options(const Options &o) {
    const PlanOptions options = plan_options(o);
    if (options.device != Device::cpu()) {
        throw_error(PyExc_ValueError, "device is '" + o.device + "'; arrays are the CPU's, and StagedPlan takes them to a GPU");
    }
    return options;
}

/// The arguments of an execution as views. `filter_array` keeps the memory of filters that are no block.
Tensors tensors(const Conv2dProblem &p, const std::optional<Array> &input, nb::object filters, const std::optional<Array> &bias, const std::optional<Array> &residual, const std::optional<OutArray> &output,
                const std::optional<Array> &grad_output, const std::optional<OutArray> &grad_input, const std::optional<OutArray> &grad_filters, const std::optional<OutArray> &grad_bias, std::optional<Array> &filter_array) {
    const bool forward = p.operation == Operation::kForward;
    const bool fold = p.operation == Operation::kFold, unfold = p.operation == Operation::kUnfold;
    Tensors t;
    t.input = fold ? view<const float>("input", input, Layout::kNchw, column_shape(p)) : view<const float>("input", input, p.layout, input_shape(p));
    if (nb::isinstance<AlignedBuffer>(filters)) {
        t.filters = nb::cast<const AlignedBuffer &>(filters);
    } else if (!filters.is_none()) {
        Array array;
        if (!nb::try_cast(filters, array)) {
            throw_error(PyExc_ValueError, "filters are neither an array nor PackedFilters");
        }
        filter_array = array;
        t.filters = view<const float>("filters", filter_array, p.layout, filter_shape(p));
    }
    t.bias = vector<const float>("bias", bias, forward ? p.out_channels : p.in_channels);
    t.residual = view<const float>("residual", residual, p.layout, forward ? output_shape(p) : input_shape(p));
    t.output = unfold ? view<float>("output", output, Layout::kNchw, column_shape(p)) : view<float>("output", output, p.layout, fold ? input_shape(p) : output_shape(p));
    t.grad_output = view<const float>("grad_output", grad_output, p.layout, output_shape(p));
    t.grad_input = view<float>("grad_input", grad_input, p.layout, input_shape(p));
    t.grad_filters = view<float>("grad_filters", grad_filters, p.layout, filter_shape(p));
    t.grad_bias = vector<float>("grad_bias", grad_bias, p.out_channels);
    return t;
}

void execute(const Plan &plan, const std::optional<Array> &input, nb::object filters, const std::optional<Array> &bias, const std::optional<Array> &residual, const std::optional<OutArray> &output,
             const std::optional<Array> &grad_output, const std::optional<OutArray> &grad_input, const std::optional<OutArray> &grad_filters, const std::optional<OutArray> &grad_bias, Profile *profile) {
    std::optional<Array> filter_array;
    const Tensors t = tensors(plan.problem(), input, std::move(filters), bias, residual, output, grad_output, grad_input, grad_filters, grad_bias, filter_array);
    const MemoryBlock block = workspace(t.filters.is_packed() ? plan.workspace_bytes() : plan.workspace_bytes_unpacked());
    ExecutionContext context;
    context.profile = profile;
    check(without_gil([&] { return plan.execute(t, block, context); }));
}

AlignedBuffer pack_filters(const Plan &plan, const std::optional<Array> &filters) {
    const ConstView v = view<const float>("filters", filters, plan.problem().layout, filter_shape(plan.problem()));
    AlignedBuffer packed(plan.packed_filter_bytes());
    if (packed.data() == nullptr) {
        throw_error(PyExc_MemoryError, "no memory for packed filters of " + std::to_string(plan.packed_filter_bytes()) + " bytes");
    }
    const MemoryBlock block = workspace(plan.workspace_bytes_unpacked());
    check(without_gil([&] { return plan.pack_filters(v, packed, block); }));
    return packed;
}

/// A Conv2dLayer, whose calls take turns: its workspace is its own.
struct Layer {
    std::optional<Conv2dLayer> layer;
    std::mutex one_at_a_time;

    Layer(const Conv2dProblem &p, const std::optional<Array> &filters, const std::optional<Array> &bias, const Options &options) {
        const PlanOptions o = cpu_options(options);
        const ConstView w = view<const float>("filters", filters, p.layout, filter_shape(p));
        const float *b = vector<const float>("bias", bias, p.operation == Operation::kForward ? p.out_channels : p.in_channels);
        layer.emplace(value(without_gil([&] { return Conv2dLayer::create(p, w, b, o); })));
    }
    void run(const std::optional<Array> &input, const std::optional<OutArray> &output, const std::optional<Array> &residual) {
        const Conv2dProblem &p = layer->problem();
        const bool forward = p.operation == Operation::kForward;
        const Shape from = forward ? input_shape(p) : output_shape(p), to = forward ? output_shape(p) : input_shape(p);
        const ConstView x = view<const float>("input", input, p.layout, from), z = view<const float>("residual", residual, p.layout, to);
        const MutableView y = view<float>("output", output, p.layout, to);
        check(without_gil([&] {
            const std::lock_guard<std::mutex> lock(one_at_a_time);
            return layer->run(x, y, z);
        }));
    }
};

/// A StagedPlan, whose calls take turns.
struct Staged {
    Conv2dProblem problem;
    std::optional<StagedPlan> plan;
    std::mutex one_at_a_time;

    Staged(const Conv2dProblem &p, std::optional<size_t> device_bytes, const Options &options)
        : problem(p) {
        const PlanOptions o = plan_options(options);
        plan.emplace(value(without_gil([&] { return StagedPlan::create(p, o, device_bytes.value_or(std::numeric_limits<size_t>::max())); })));
    }
    void pack_filters(const std::optional<Array> &filters) {
        const ConstView v = view<const float>("filters", filters, problem.layout, filter_shape(problem));
        check(without_gil([&] {
            const std::lock_guard<std::mutex> lock(one_at_a_time);
            return plan->pack_filters(v);
        }));
    }
    void execute(const std::optional<Array> &input, nb::object filters, const std::optional<Array> &bias, const std::optional<Array> &residual, const std::optional<OutArray> &output,
                 const std::optional<Array> &grad_output, const std::optional<OutArray> &grad_input, const std::optional<OutArray> &grad_filters, const std::optional<OutArray> &grad_bias, Profile *profile) {
        std::optional<Array> filter_array;
        const Tensors t = tensors(problem, input, std::move(filters), bias, residual, output, grad_output, grad_input, grad_filters, grad_bias, filter_array);
        ExecutionContext context;
        context.profile = profile;
        check(without_gil([&] {
            const std::lock_guard<std::mutex> lock(one_at_a_time);
            return plan->execute(t, context);
        }));
    }
};

/// A Plan of a GPU on memory of the device, which whoever calls owns: addresses, and strides in elements.
struct DevicePlan {
    using There = std::pair<uintptr_t, std::vector<int64_t>>;
    Plan plan;

    static Plan make(const Conv2dProblem &p, const Options &options) {
        const PlanOptions o = plan_options(options);
        if (o.device == Device::cpu()) {
            throw_error(PyExc_ValueError, "device is 'cpu'; DevicePlan is for GPUs");
        }
        return value(without_gil([&] { return Plan::create(p, o); }));
    }
    template<typename T>
    static TensorView<T> view(const char *name, const std::optional<There> &t) {
        if (!t) {
            return nullptr;
        }
        if (t->second.size() != 4) {
            throw_error(PyExc_ValueError, std::string(name) + " has " + std::to_string(t->second.size()) + " strides; it must have 4");
        }
        return {reinterpret_cast<T *>(t->first), t->second[0], t->second[1], t->second[2], t->second[3]};
    }
    MemoryBlock block(uintptr_t workspace) const {
        return {reinterpret_cast<void *>(workspace), plan.workspace_bytes_unpacked()};
    }
    static ExecutionContext context(uintptr_t stream) {
        ExecutionContext c;
        c.stream = reinterpret_cast<void *>(stream);
        return c;
    }
    void pack_filters(uintptr_t stream, uintptr_t workspace, const There &filters, uintptr_t packed) const {
        const ConstView v = view<const float>("filters", std::optional(filters));
        const MemoryBlock to = {reinterpret_cast<void *>(packed), plan.packed_filter_bytes()};
        check(without_gil([&] { return plan.pack_filters(v, to, block(workspace), context(stream)); }));
    }
    void execute(uintptr_t stream, uintptr_t workspace, const std::optional<There> &input, const std::optional<There> &filters, uintptr_t packed, uintptr_t bias, const std::optional<There> &output, const std::optional<There> &grad_output, const std::optional<There> &grad_input, const std::optional<There> &grad_filters, uintptr_t grad_bias) const {
        Tensors t;
        t.input = view<const float>("input", input);
        t.filters = packed != 0 ? Filters(ConstMemoryBlock{reinterpret_cast<const void *>(packed), plan.packed_filter_bytes()}) : Filters(view<const float>("filters", filters));
        t.bias = reinterpret_cast<const float *>(bias);
        t.output = view<float>("output", output);
        t.grad_output = view<const float>("grad_output", grad_output);
        t.grad_input = view<float>("grad_input", grad_input);
        t.grad_filters = view<float>("grad_filters", grad_filters);
        t.grad_bias = reinterpret_cast<float *>(grad_bias);
        check(without_gil([&] { return plan.execute(t, block(workspace), context(stream)); }));
    }
};

Shape spectrum_shape(const SpectralProblem &p, int64_t a, int64_t b) {
    return {a, b, p.height, p.half_width};
}

/// Indexed (n, channel, row, column), filters (oc, ic, row, column), whatever the order in memory; dense ones say so.
template<typename T, typename A>
TensorView<T> spectrum(const char *name, const std::optional<A> &array, const SpectralProblem &p, const Shape &s, bool filters) {
    if (!array) {
        return nullptr;
    }
    check_array<Complex>(name, *array, {s[0], s[1], s[2], s[3]});
    using Nesting = std::array<int, 4>;
    const Nesting nesting = p.order == SpectralOrder::kBcij ? Nesting{3, 2, 1, 0} : filters ? Nesting{0, 1, 3, 2} : Nesting{1, 3, 2, 0};
    int64_t expected = 1;
    bool dense = true;
    for (int d : nesting) {
        dense = dense && (array->shape(d) == 1 || array->stride(d) == expected);
        expected *= static_cast<int64_t>(array->shape(d));
    }
    auto *data = static_cast<T *>(array->data());
    return dense ? TensorView<T>(data) : TensorView<T>(data, array->stride(0), array->stride(1), array->stride(2), array->stride(3));
}

AlignedBuffer pack_spectra(const SpectralPlan &plan, const std::optional<Array> &filters) {
    const SpectralProblem &p = plan.problem();
    const ConstSpectrumView v = spectrum<const Complex>("filters", filters, p, spectrum_shape(p, p.out_channels, p.in_channels), true);
    AlignedBuffer packed(plan.packed_filter_bytes());
    if (packed.data() == nullptr && plan.packed_filter_bytes() != 0) {
        throw_error(PyExc_MemoryError, "no memory for packed filters of " + std::to_string(plan.packed_filter_bytes()) + " bytes");
    }
    check(without_gil([&] { return plan.pack_filters(v, packed); }));
    return packed;
}

void multiply_spectra(const SpectralPlan &plan, const std::optional<Array> &input, nb::object filters, const std::optional<OutArray> &output, const std::optional<Array> &grad_output,
                      const std::optional<OutArray> &grad_input, const std::optional<OutArray> &grad_filters, bool accumulate) {
    const SpectralProblem &p = plan.problem();
    const Shape x = spectrum_shape(p, p.batch, p.in_channels), y = spectrum_shape(p, p.batch, p.out_channels), w = spectrum_shape(p, p.out_channels, p.in_channels);
    SpectralTensors t;
    t.input = spectrum<const Complex>("input", input, p, x, false);
    std::optional<Array> filter_array;  // keeps the view's memory
    const bool packed = nb::isinstance<AlignedBuffer>(filters);
    if (packed) {
        t.filters = nb::cast<const AlignedBuffer &>(filters);
    } else if (!filters.is_none()) {
        Array array;
        if (!nb::try_cast(filters, array)) {
            throw_error(PyExc_ValueError, "filters are neither an array nor PackedFilters");
        }
        filter_array = array;
        t.filters = spectrum<const Complex>("filters", filter_array, p, w, true);
    }
    t.output = spectrum<Complex>("output", output, p, y, false);
    t.grad_output = spectrum<const Complex>("grad_output", grad_output, p, y, false);
    t.grad_input = spectrum<Complex>("grad_input", grad_input, p, x, false);
    t.grad_filters = spectrum<Complex>("grad_filters", grad_filters, p, w, true);
    t.accumulate = accumulate;
    const MemoryBlock block = workspace(packed ? plan.workspace_bytes() : plan.workspace_bytes_unpacked());
    check(without_gil([&] { return plan.execute(t, block); }));
}

/// A dense array of certain sizes.
template<typename T, typename A>
T *dense(const char *name, const A &array, std::initializer_list<int64_t> shape) {
    check_array<std::remove_const_t<T>>(name, array, shape);
    int64_t expected = 1;
    for (size_t d = array.ndim(); d-- > 0;) {
        if (array.shape(d) != 1 && array.stride(d) != expected) {
            throw_error(PyExc_ValueError, std::string(name) + " must be contiguous");
        }
        expected *= static_cast<int64_t>(array.shape(d));
    }
    return static_cast<T *>(array.data());
}

/// A SpectralTransform with the order that its spectra have.
struct Transform {
    SpectralOrder order;
    SpectralTransform transform;

    Transform(int64_t height, int64_t width, const std::string &order_name, int threads)
        : order(value(parse_spectral_order(order_name))), transform(value(SpectralTransform::create(height, width, order, {threads}))) {
    }
    template<typename T, typename A>
    T *spectra(const A &array, int64_t n, int64_t c, bool filters) const {
        const int64_t h = transform.height(), w = transform.half_width();
        if (order == SpectralOrder::kBcij) {
            return dense<T>("spectra", array, {n, c, h, w});
        }
        return filters ? dense<T>("spectra", array, {h, w, c, n}) : dense<T>("spectra", array, {n, h, w, c});
    }
    void forward(const Array &images, const OutArray &spectrum, int64_t n, int64_t c) const {
        const auto *in = dense<const float>("images", images, {n, c, transform.height(), transform.width()});
        auto *out = spectra<Complex>(spectrum, n, c, false);
        const MemoryBlock block = workspace(transform.workspace_bytes());
        check(without_gil([&] { return transform.forward(in, n, c, out, block); }));
    }
    void inverse(const Array &spectrum, const OutArray &images, int64_t n, int64_t c) const {
        const auto *in = spectra<const Complex>(spectrum, n, c, false);
        auto *out = dense<float>("images", images, {n, c, transform.height(), transform.width()});
        const MemoryBlock block = workspace(transform.workspace_bytes());
        check(without_gil([&] { return transform.inverse(in, n, c, out, block); }));
    }
    void filters(const Conv2dProblem &p, const Array &w, const OutArray &spectrum) const {
        const auto *in = dense<const float>("filters", w, {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width});
        auto *out = spectra<Complex>(spectrum, p.out_channels, p.in_channels, true);
        const MemoryBlock block = workspace(transform.workspace_bytes());
        check(without_gil([&] { return transform.filters(p, in, out, block); }));
    }
};

/// A block that a TrainingPlan's transforms write and its products read.
struct Spectra {
    AlignedBuffer block;
};

/// `given`, or a new block; of too few bytes, the plan refuses it.
nb::object spectra_for(nb::object given, size_t bytes) {
    if (given.is_none()) {
        AlignedBuffer block(bytes);
        if (block.data() == nullptr) {
            throw_error(PyExc_MemoryError, "no memory for spectra of " + std::to_string(bytes) + " bytes");
        }
        return nb::cast(Spectra{std::move(block)});
    }
    if (!nb::isinstance<Spectra>(given)) {
        throw_error(PyExc_ValueError, "out is no Spectra");
    }
    return given;
}

using TrainingTransform = Status (TrainingPlan::*)(ConstView, int64_t, MemoryBlock, MemoryBlock, const ExecutionContext &) const;

nb::object transform_spectra(const TrainingPlan &plan, TrainingTransform transform, const char *name, const std::optional<Array> &array, const Shape &shape, int64_t step, nb::object out, size_t bytes) {
    const ConstView from = view<const float>(name, array, plan.problem().layout, shape);
    nb::object spectra = spectra_for(std::move(out), bytes);
    const MemoryBlock to = nb::cast<Spectra &>(spectra).block, block = workspace(plan.workspace_bytes());
    check(without_gil([&] { return (plan.*transform)(from, step, to, block, {}); }));
    return spectra;
}

TrainingPlan make_training_plan(const Conv2dProblem &problem, int threads, const std::string &backend, const std::string &rigor, std::optional<size_t> workspace_limit) {
    TrainingOptions options;
    options.threads = threads;
    options.fft_backend = fft_backend(backend);
    options.fft_rigor = fft_rigor(rigor);
    options.workspace_limit = workspace_limit.value_or(options.workspace_limit);
    return value(without_gil([&] { return TrainingPlan::create(problem, options); }));
}

nb::list as_dicts(const std::vector<Candidate> &candidates) {
    nb::list list;
    for (const Candidate &c : candidates) {
        nb::dict d;
        d["algorithm"] = to_string(c.algorithm);
        d["supported"] = c.supported;
        d["chosen"] = c.chosen;
        d["reason"] = c.reason;
        d["variant"] = c.variant;
        d["choice"] = c.choice;
        d["predicted_seconds"] = c.predicted_seconds;
        d["corrected_seconds"] = c.corrected_seconds;
        d["workspace_bytes"] = c.workspace_bytes;
        d["packed_filter_bytes"] = c.packed_filter_bytes;
        list.append(d);
    }
    return list;
}

nb::dict as_dict(const TableInfo &t) {
    nb::dict d;
    d["name"] = t.name;
    d["shipped"] = t.shipped;
    d["records"] = t.records;
    d["stale"] = t.stale;
    d["foreign"] = t.foreign;
    d["unreadable"] = t.unreadable;
    d["torn"] = t.torn;
    return d;
}

Layout layout_of(const std::string &name) {
    if (name != "nchw" && name != "nhwc") {
        throw_error(PyExc_ValueError, "layout is '" + name + "'; it must be nchw or nhwc");
    }
    return name == "nhwc" ? Layout::kNhwc : Layout::kNchw;
}

Conv2dProblem transposed(const Shape &input, const Shape &filters, std::array<int64_t, 2> stride, std::array<int64_t, 2> padding, std::array<int64_t, 2> output_padding, std::array<int64_t, 2> dilation, int64_t groups, const std::string &layout) {
    Conv2dProblem::Transposed t;
    t.batch = input[0];
    t.in_channels = filters[0];
    t.in_height = input[2];
    t.in_width = input[3];
    t.out_channels = filters[1] * groups;
    t.filter_height = filters[2];
    t.filter_width = filters[3];
    t.stride_h = stride[0];
    t.stride_w = stride[1];
    t.padding_h = padding[0];
    t.padding_w = padding[1];
    t.output_padding_h = output_padding[0];
    t.output_padding_w = output_padding[1];
    t.dilation_h = dilation[0];
    t.dilation_w = dilation[1];
    t.groups = groups;
    Conv2dProblem p = Conv2dProblem::transposed(t);
    p.layout = layout_of(layout);
    return p;
}

}  // namespace

NB_MODULE(_core, m) {
    m.attr("__version__") = version();
    add_calls(m);

    nb::class_<Conv2dProblem>(m, "Problem", "What to compute, from its one-line form: Problem('fwd b8 ic64 i56x56 oc64 f3x3 p1,1,1,1').")
        .def("__init__", [](Conv2dProblem *self, std::string_view text) { new (self) Conv2dProblem(parsed(text)); }, "text"_a)
        .def_static("transposed", &transposed, "input"_a, "filters"_a, nb::kw_only(), "stride"_a, "padding"_a, "output_padding"_a, "dilation"_a, "groups"_a = 1, "layout"_a = "nchw", "A transposed convolution of an input and filters (ic, oc/groups, f0, f1) of these shapes, as the bwd-data problem that it is.")
        .def("valid", &Conv2dProblem::valid, "Without padding.")
        .def("full", &Conv2dProblem::full, "Padded so that every overlap of filter and image counts.")
        .def("same", &Conv2dProblem::same, "Padded so that o = ceil(i / stride), the odd row or column after.")
        .def("validate", [](const Conv2dProblem &p) { check(p.validate()); }, "Raises ValueError, naming the offending value, unless the problem is valid.")
        .def_prop_ro("input_shape", [](const Conv2dProblem &p) { return as_tuple(input_shape(p)); })
        .def_prop_ro("filter_shape", [](const Conv2dProblem &p) { return as_tuple(filter_shape(p)); })
        .def_prop_ro("output_shape", [](const Conv2dProblem &p) { return as_tuple(output_shape(p)); })
        .def_prop_ro("column_shape", [](const Conv2dProblem &p) { return as_tuple(column_shape(p)); }, "(b, ic, f0*f1, o0*o1): what unfold computes and fold reads.")
        .def_prop_ro("operation", [](const Conv2dProblem &p) { const std::string s = p.to_string(); return s.substr(0, s.find(' ')); })
        .def_prop_ro("layout", [](const Conv2dProblem &p) { return p.layout == Layout::kNhwc ? "nhwc" : "nchw"; })
        .def_prop_ro("flops", &Conv2dProblem::flops, "Multiply-adds of the direct algorithm times two.")
        .def("__str__", &Conv2dProblem::to_string)
        .def("__repr__", [](const Conv2dProblem &p) { return "Problem('" + p.to_string() + "')"; })
        .def("__eq__", [](const Conv2dProblem &a, const Conv2dProblem &b) { return a == b; }, nb::is_operator())
        .def("__hash__", [](const Conv2dProblem &p) { return nb::hash(nb::cast(p.to_string())); });

    nb::class_<AlignedBuffer>(m, "PackedFilters", "Filters in the form that a plan reads; see Plan.pack_filters.")
        .def("__init__", [](AlignedBuffer *self, nb::bytes saved) {
            new (self) AlignedBuffer(saved.size());
            std::memcpy(self->data(), saved.c_str(), self->bytes()); }, "saved"_a)
        .def_prop_ro("nbytes", &AlignedBuffer::bytes)
        .def("__bytes__", [](const AlignedBuffer &b) { return nb::bytes(static_cast<const char *>(b.data()), b.bytes()); }, "To be saved, and read back by an equal plan of the same build.");

    nb::class_<Options>(m, "Options", "What Plan's keywords say.")
        .def("__init__", [](Options *self, const std::string &algorithm, int threads, const std::string &accuracy, std::optional<size_t> workspace_limit, const std::string &variant, const std::string &choice, const std::string &effort, const std::string &cache, bool choose_for_threads, bool packs_each_time, std::vector<std::string> blocked, const std::string &fft_backend, const std::string &fft_rigor, std::optional<size_t> packed_filter_limit, const std::string &device) { new (self) Options{algorithm, device, accuracy, variant, choice, effort, cache, fft_backend, fft_rigor, threads, workspace_limit, packed_filter_limit, choose_for_threads, packs_each_time, std::move(blocked)}; },
             nb::kw_only(), "algorithm"_a = "auto", "threads"_a = 0, "accuracy"_a = "default", "workspace_limit"_a = nb::none(), "variant"_a = "", "choice"_a = "", "effort"_a = "table", "cache"_a = "warm", "choose_for_threads"_a = false, "packs_each_time"_a = false, "blocked"_a = std::vector<std::string>(), "fft_backend"_a = "auto", "fft_rigor"_a = "estimate", "packed_filter_limit"_a = nb::none(), "device"_a = "cpu");

    nb::class_<Profile>(m, "Profile", "Adds up the time spent in each stage, over any number of executions and threads: Plan.execute(..., profile=profile).")
        .def(nb::init<>())
        .def_prop_ro("stages", [](const Profile &p) {
            nb::dict d;
            for (const Profile::Stage &stage : p.stages()) {
                d[stage.name] = nb::make_tuple(stage.calls, stage.seconds);
            }
            return d; }, "{name: (calls, seconds summed over threads)}, in the order of first use.")
        .def("reset", &Profile::reset, "Back to no stages. Not while an execution uses it.");

    nb::class_<Plan>(m, "Plan")
        .def("__init__", [](Plan *self, const Conv2dProblem &problem, const Options &options) {
            const PlanOptions o = cpu_options(options);
            new (self) Plan(value(without_gil([&] { return Plan::create(problem, o); }))); }, "problem"_a, "options"_a)
        .def_prop_ro("problem", [](const Plan &p) { return p.problem(); })
        .def_prop_ro("algorithm", [](const Plan &p) { return to_string(p.algorithm()); })
        .def_prop_ro("variant", [](const Plan &p) { return p.variant(); })
        .def_prop_ro("choice", [](const Plan &p) { return p.choice(); }, "All that was chosen; the option choice with it makes this plan again.")
        .def_prop_ro("tier", [](const Plan &p) { return to_string(p.tier()); }, "What decided: caller, environment, record, neighbours, family, cost model, reference or measured.")
        .def_prop_ro("decided_by", [](const Plan &p) { return p.decided_by(); }, "The same in words.")
        .def_prop_ro("threads", &Plan::threads)
        .def_prop_ro("workspace_bytes", &Plan::workspace_bytes)
        .def_prop_ro("workspace_bytes_unpacked", &Plan::workspace_bytes_unpacked)
        .def_prop_ro("packed_filter_bytes", &Plan::packed_filter_bytes)
        .def_prop_ro("predicted_seconds", &Plan::predicted_seconds)
        .def("describe", &Plan::describe, "Several lines for people.")
        .def("pack_filters", &pack_filters, "filters"_a, "Filters (oc, ic/groups, f0, f1), once for many calls of execute.")
        .def("_execute", &execute, nb::kw_only(), "input"_a = nb::none(), "filters"_a = nb::none(), "bias"_a = nb::none(), "residual"_a = nb::none(), "output"_a = nb::none(), "grad_output"_a = nb::none(), "grad_input"_a = nb::none(), "grad_filters"_a = nb::none(), "grad_bias"_a = nb::none(), "profile"_a = nb::none());

    nb::class_<Layer>(m, "Layer")
        .def(nb::init<const Conv2dProblem &, const std::optional<Array> &, const std::optional<Array> &, const Options &>(), "problem"_a, "filters"_a.none(), "bias"_a.none(), "options"_a)
        .def_prop_ro("problem", [](const Layer &l) { return l.layer->problem(); })
        .def_prop_ro("separable", [](const Layer &l) { return l.layer->separable(); }, "Whether the filters are of rank one and computed as two passes.")
        .def_prop_ro("workspace_bytes", [](const Layer &l) { return l.layer->workspace_bytes(); })
        .def_prop_ro("packed_filter_bytes", [](const Layer &l) { return l.layer->packed_filter_bytes(); })
        .def_prop_ro("predicted_seconds", [](const Layer &l) { return l.layer->predicted_seconds(); })
        .def("describe", [](const Layer &l) { return l.layer->describe(); }, "Several lines for people.")
        .def("_run", &Layer::run, "input"_a.none(), "output"_a.none(), "residual"_a.none());

    nb::class_<Staged>(m, "StagedPlan")
        .def(nb::init<const Conv2dProblem &, std::optional<size_t>, const Options &>(), "problem"_a, "device_bytes"_a.none(), "options"_a)
        .def_prop_ro("problem", [](const Staged &s) { return s.problem; })
        .def_prop_ro("device", [](const Staged &s) { return to_string(s.plan->plan().device()); })
        .def_prop_ro("pieces", [](const Staged &s) { return s.plan->pieces(); }, "How many an execution has; 1 where everything is on the device at once.")
        .def("describe", [](const Staged &s) { return s.plan->plan().describe(); }, "Several lines for people, of a piece's plan.")
        .def("pack_filters", &Staged::pack_filters, "filters"_a, "Filters (oc, ic/groups, f0, f1) to the device, once for many calls of execute, which then get none.")
        .def("_execute", &Staged::execute, nb::kw_only(), "input"_a = nb::none(), "filters"_a = nb::none(), "bias"_a = nb::none(), "residual"_a = nb::none(), "output"_a = nb::none(), "grad_output"_a = nb::none(), "grad_input"_a = nb::none(), "grad_filters"_a = nb::none(), "grad_bias"_a = nb::none(), "profile"_a = nb::none());

    nb::class_<DevicePlan>(m, "DevicePlan", "A plan of a GPU for memory of the device: an address, or a pair of an address and strides.")
        .def("__init__", [](DevicePlan *self, const Conv2dProblem &problem, const Options &options) { new (self) DevicePlan{DevicePlan::make(problem, options)}; }, "problem"_a, "options"_a)
        .def_prop_ro("problem", [](const DevicePlan &p) { return p.plan.problem(); })
        .def_prop_ro("algorithm", [](const DevicePlan &p) { return to_string(p.plan.algorithm()); })
        .def_prop_ro("variant", [](const DevicePlan &p) { return p.plan.variant(); })
        .def_prop_ro("workspace_bytes", [](const DevicePlan &p) { return p.plan.workspace_bytes_unpacked(); }, "Of every call.")
        .def_prop_ro("packed_filter_bytes", [](const DevicePlan &p) { return p.plan.packed_filter_bytes(); })
        .def("describe", [](const DevicePlan &p) { return p.plan.describe(); }, "Several lines for people.")
        .def("pack_filters", &DevicePlan::pack_filters, "stream"_a, "workspace"_a, "filters"_a, "packed"_a, "Filters to packed_filter_bytes bytes at packed, once for many calls of execute.")
        .def("execute", &DevicePlan::execute, "stream"_a, "workspace"_a, nb::kw_only(), "input"_a = nb::none(), "filters"_a = nb::none(), "packed"_a = 0, "bias"_a = 0, "output"_a = nb::none(), "grad_output"_a = nb::none(), "grad_input"_a = nb::none(), "grad_filters"_a = nb::none(), "grad_bias"_a = 0, "Into the stream, not waited for.");
    m.def("synchronize", [](const std::string &device, uintptr_t stream) { check(without_gil([&, d = value(parse_device(device))] { return synchronize(d, reinterpret_cast<void *>(stream)); })); }, "device"_a, "stream"_a = 0, "Waits for what is in a GPU's stream, 0 for its default one.");

    nb::class_<Spectra>(m, "Spectra", "What a TrainingPlan's transforms write and its products read.")
        .def_prop_ro("nbytes", [](const Spectra &s) { return s.block.bytes(); });

    nb::class_<TrainingPlan>(m, "TrainingPlan")
        .def("__init__", [](TrainingPlan *self, const Conv2dProblem &problem, int threads, const std::string &backend, const std::string &rigor, std::optional<size_t> workspace_limit) { new (self) TrainingPlan(make_training_plan(problem, threads, backend, rigor, workspace_limit)); }, "problem"_a, nb::kw_only(), "threads"_a = 0, "fft_backend"_a = "auto", "fft_rigor"_a = "estimate", "workspace_limit"_a = nb::none())
        .def_prop_ro("problem", [](const TrainingPlan &p) { return p.problem(); })
        .def_prop_ro("threads", &TrainingPlan::threads)
        .def_prop_ro("fft_backend", [](const TrainingPlan &p) { return to_string(p.backend()); })
        .def_prop_ro("input_spectra_bytes", &TrainingPlan::input_spectra_bytes)
        .def_prop_ro("filter_spectra_bytes", &TrainingPlan::filter_spectra_bytes)
        .def_prop_ro("gradient_spectra_bytes", &TrainingPlan::gradient_spectra_bytes)
        .def_prop_ro("workspace_bytes", &TrainingPlan::workspace_bytes)
        .def("describe", &TrainingPlan::describe, "Several lines for people.")
        .def("transform_input", [](const TrainingPlan &p, const std::optional<Array> &input, int64_t step, nb::object out) { return transform_spectra(p, &TrainingPlan::transform_input, "input", input, input_shape(p.problem()), step, std::move(out), p.input_spectra_bytes()); }, "input"_a, "step"_a, nb::kw_only(), "out"_a = nb::none(), "x (b, ic, i0, i1) -> X: new Spectra, or those given as out, marked with the step.")
        .def("transform_filters", [](const TrainingPlan &p, const std::optional<Array> &filters, int64_t step, nb::object out) { return transform_spectra(p, &TrainingPlan::transform_filters, "filters", filters, filter_shape(p.problem()), step, std::move(out), p.filter_spectra_bytes()); }, "filters"_a, "step"_a, nb::kw_only(), "out"_a = nb::none(), "w (oc, ic/groups, f0, f1) -> W.")
        .def("transform_gradient", [](const TrainingPlan &p, const std::optional<Array> &grad_output, int64_t step, nb::object out) { return transform_spectra(p, &TrainingPlan::transform_gradient, "grad_output", grad_output, output_shape(p.problem()), step, std::move(out), p.gradient_spectra_bytes()); }, "grad_output"_a, "step"_a, nb::kw_only(), "out"_a = nb::none(), "gy (b, oc, o0, o1) -> G.")
        .def("_forward", [](const TrainingPlan &p, const Spectra &input, const Spectra &filters, const std::optional<Array> &bias, const std::optional<OutArray> &output) {
            const float *b = vector<const float>("bias", bias, p.problem().out_channels);
            const MutableView y = view<float>("output", output, p.problem().layout, output_shape(p.problem()));
            const MemoryBlock block = workspace(p.workspace_bytes());
            check(without_gil([&] { return p.forward(input.block, filters.block, b, y, block); })); }, "input"_a, "filters"_a, "bias"_a.none(), "output"_a)
        .def("_backward_data", [](const TrainingPlan &p, const Spectra &gradient, const Spectra &filters, const std::optional<OutArray> &grad_input) {
            const MutableView gx = view<float>("grad_input", grad_input, p.problem().layout, input_shape(p.problem()));
            const MemoryBlock block = workspace(p.workspace_bytes());
            check(without_gil([&] { return p.backward_data(gradient.block, filters.block, gx, block); })); }, "gradient"_a, "filters"_a, "grad_input"_a)
        .def("_backward_filters", [](const TrainingPlan &p, const Spectra &input, const Spectra &gradient, const std::optional<OutArray> &grad_filters, const std::optional<OutArray> &grad_bias) {
            const MutableView gw = view<float>("grad_filters", grad_filters, p.problem().layout, filter_shape(p.problem()));
            float *gb = vector<float>("grad_bias", grad_bias, p.problem().out_channels);
            const MemoryBlock block = workspace(p.workspace_bytes());
            check(without_gil([&] { return p.backward_filters(input.block, gradient.block, gw, gb, block); })); }, "input"_a, "gradient"_a, "grad_filters"_a, "grad_bias"_a.none());

    nb::class_<SpectralProblem>(m, "SpectralProblem", "A product of half spectra, from its one-line form: SpectralProblem('spectral b128 ic32 i28x15 oc64').")
        .def("__init__", [](SpectralProblem *self, std::string_view text) {
            const SpectralProblem p = value(SpectralProblem::parse(text));
            check(p.validate());
            new (self) SpectralProblem(p); }, "text"_a)
        .def_prop_ro("input_shape", [](const SpectralProblem &p) { return as_tuple(p.order == SpectralOrder::kBcij ? Shape{p.batch, p.in_channels, p.height, p.half_width} : Shape{p.batch, p.height, p.half_width, p.in_channels}); })
        .def_prop_ro("filter_shape", [](const SpectralProblem &p) { return as_tuple(p.order == SpectralOrder::kBcij ? Shape{p.out_channels, p.in_channels, p.height, p.half_width} : Shape{p.height, p.half_width, p.in_channels, p.out_channels}); })
        .def_prop_ro("output_shape", [](const SpectralProblem &p) { return as_tuple(p.order == SpectralOrder::kBcij ? Shape{p.batch, p.out_channels, p.height, p.half_width} : Shape{p.batch, p.height, p.half_width, p.out_channels}); })
        .def_prop_ro("operation", [](const SpectralProblem &p) { return p.operation == Operation::kForward ? "fwd" : p.operation == Operation::kBackwardData ? "bwd-data" : "bwd-filters"; })
        .def_prop_ro("order", [](const SpectralProblem &p) { return to_string(p.order); })
        .def("__str__", &SpectralProblem::to_string)
        .def("__repr__", [](const SpectralProblem &p) { return "SpectralProblem('" + p.to_string() + "')"; })
        .def("__eq__", [](const SpectralProblem &a, const SpectralProblem &b) { return a == b; }, nb::is_operator())
        .def("__hash__", [](const SpectralProblem &p) { return nb::hash(nb::cast(p.to_string())); });

    nb::class_<SpectralPlan>(m, "SpectralPlan")
        .def("__init__", [](SpectralPlan *self, const SpectralProblem &problem, int threads, const std::string &variant) {
            new (self) SpectralPlan(value(without_gil([&] { return SpectralPlan::create(problem, {threads, variant}); }))); }, "problem"_a, nb::kw_only(), "threads"_a = 0, "variant"_a = "")
        .def_prop_ro("problem", [](const SpectralPlan &p) { return p.problem(); })
        .def_prop_ro("variant", [](const SpectralPlan &p) { return p.variant(); })
        .def_prop_ro("threads", &SpectralPlan::threads)
        .def_prop_ro("workspace_bytes", &SpectralPlan::workspace_bytes)
        .def_prop_ro("workspace_bytes_unpacked", &SpectralPlan::workspace_bytes_unpacked)
        .def_prop_ro("packed_filter_bytes", &SpectralPlan::packed_filter_bytes)
        .def("describe", &SpectralPlan::describe, "Several lines for people.")
        .def("_pack_filters", &pack_spectra, "filters"_a)
        .def("_execute", &multiply_spectra, nb::kw_only(), "input"_a = nb::none(), "filters"_a = nb::none(), "output"_a = nb::none(), "grad_output"_a = nb::none(), "grad_input"_a = nb::none(), "grad_filters"_a = nb::none(), "accumulate"_a = false);

    nb::class_<Transform>(m, "SpectralTransform")
        .def(nb::init<int64_t, int64_t, const std::string &, int>(), "height"_a, "width"_a, "order"_a, "threads"_a)
        .def("_forward", &Transform::forward, "images"_a, "spectra"_a, "batch"_a, "channels"_a)
        .def("_inverse", &Transform::inverse, "spectra"_a, "images"_a, "batch"_a, "channels"_a)
        .def("_filters", &Transform::filters, "problem"_a, "filters"_a, "spectra"_a);

    m.def("explain", [](const Conv2dProblem &problem, const Options &options) {
        const PlanOptions o = plan_options(options);
        return as_dicts(value(without_gil([&] { return explain(problem, o); }))); }, "problem"_a, "options"_a);
    m.def("list_choices", [](const Conv2dProblem &problem, const Options &options) {
        const PlanOptions o = plan_options(options);
        return as_dicts(value(without_gil([&] { return list_choices(problem, o); }))); }, "problem"_a, "options"_a);

    m.def("load_table", [](const std::string &path) { return as_dict(value(without_gil([&] { return load_table(path); }))); }, "path"_a);
    m.def("load_table_text", [](const std::string &name, const std::string &text) { return as_dict(value(without_gil([&] { return load_table_text(name, text); }))); }, "name"_a, "text"_a);
    m.def("unload_tables", [](bool keep_shipped) { without_gil([&] { unload_tables(keep_shipped); }); }, "keep_shipped"_a);
    m.def("tables", [] {
        nb::list list;
        for (const TableInfo &t : tables()) {
            list.append(as_dict(t));
        }
        return list; }, "The tables that decide now, as load_table describes them, in the order in which they were loaded; the last is asked first.");
    m.def("block_choices", [](const std::vector<std::string> &names) { check(block_choices(names)); }, "names"_a);

    m.def("variants", [] {
        nb::list list;
        for (const VariantInfo &v : list_variants()) {
            nb::dict d;
            d["name"] = v.name;
            d["stage"] = v.stage;
            d["isa"] = v.isa;
            d["parameters"] = v.parameters;
            d["runnable"] = v.runnable;
            d["hash"] = v.hash;
            list.append(d);
        }
        return list; }, "The compiled stages of the CPU, as a list of dicts.");
    m.def("machine", [] {
        const MachineInfo &info = machine();
        nb::dict d;
        d["cpu"] = info.cpu;
        d["microarchitecture"] = info.microarchitecture;
        d["isa"] = info.isa;
        d["hardware_threads"] = info.hardware_threads;
        d["l1_bytes"] = info.l1_bytes;
        d["l2_bytes"] = info.l2_bytes;
        d["l3_bytes"] = info.l3_bytes;
        return d; }, "This machine, as plans are chosen for it, as a dict.");
    m.def("devices", [] {
        nb::list list;
        for (const DeviceInfo &info : without_gil([] { return devices(); })) {
            nb::dict d;
            d["device"] = to_string(info.device);
            d["name"] = info.name;
            d["driver"] = info.driver;
            d["memory_bytes"] = info.memory_bytes;
            d["compute_units"] = info.compute_units;
            d["capability"] = info.capability;
            list.append(d);
        }
        return list; }, "The GPUs that this build can use now, as a list of dicts.");
    m.def("fft_backends", [] {
        std::vector<std::string> names;
        for (FftBackend backend : fft_backends()) {
            names.emplace_back(to_string(backend));
        }
        return names; }, "The libraries built in that transform whole planes, the default first.");
    m.def("export_fft_wisdom", [] { return value(export_fft_wisdom()); }, "FFTW's accumulated planning knowledge as text; NotImplementedError in a build without FFTW.");
    m.def("import_fft_wisdom", [](const std::string &wisdom) { check(import_fft_wisdom(wisdom)); }, "wisdom"_a, "Takes what export_fft_wisdom gave.");
}
