// The extension module fourfold._core: Problem and Plan as they are in C++, arrays through DLPack, the GIL released while the
// library works. What Python adds for comfort is in fourfold/__init__.py and fourfold/torch.py.
#include <array>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include "fourfold/fourfold.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace fourfold;

namespace {

using Array = nb::ndarray<nb::ro, nb::device::cpu>;
using OutArray = nb::ndarray<nb::device::cpu>;
using Shape = std::array<int64_t, 4>;

[[noreturn]] void throw_error(PyObject *type, const std::string &message) {
    PyErr_SetString(type, message.c_str());
    throw nb::python_error();
}

/// A Status as the exception that Python has for it, with its text.
void check(const Status &status) {
    switch (status.code()) {
    case StatusCode::kOk:
        return;
    case StatusCode::kInvalidArgument:
        throw_error(PyExc_ValueError, status.message());
    case StatusCode::kUnsupported:
        throw_error(PyExc_NotImplementedError, status.message());
    case StatusCode::kResourceExhausted:
        throw_error(PyExc_MemoryError, status.message());
    case StatusCode::kInternal:
        throw_error(PyExc_RuntimeError, status.message());
    }
}

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

template<typename A>
void check_array(const char *name, const A &array, std::initializer_list<int64_t> shape) {
    if (array.dtype() != nb::dtype<float>()) {
        throw_error(PyExc_ValueError, std::string(name) + " is not float32");
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

template<typename A>
bool is_dense(const A &array, Layout layout) {
    const std::array<int, 4> nesting = layout == Layout::kNchw ? std::array<int, 4>{3, 2, 1, 0} : std::array<int, 4>{1, 3, 2, 0};
    int64_t expected = 1;
    for (int d : nesting) {
        if (array.shape(d) != 1 && array.stride(d) != expected) {
            return false;
        }
        expected *= static_cast<int64_t>(array.shape(d));
    }
    return true;
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

Shape input_shape(const Conv2dProblem &p) {
    return {p.batch, p.in_channels, p.in_height, p.in_width};
}
Shape filter_shape(const Conv2dProblem &p) {
    return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
}
Shape output_shape(const Conv2dProblem &p) {
    return {p.batch, p.out_channels, p.out_height(), p.out_width()};
}
nb::tuple as_tuple(const Shape &s) {
    return nb::make_tuple(s[0], s[1], s[2], s[3]);
}

template<typename Function>
auto without_gil(Function &&function) {
    nb::gil_scoped_release release;
    return function();
}

/// The thread's workspace, kept from call to call and grown when a plan needs more.
MemoryBlock workspace(size_t bytes) {
    thread_local AlignedBuffer buffer;
    if (buffer.bytes() < bytes) {
        buffer = AlignedBuffer();
        buffer = AlignedBuffer(bytes);
        if (buffer.data() == nullptr) {
            throw_error(PyExc_MemoryError, "no memory for a workspace of " + std::to_string(bytes) + " bytes");
        }
    }
    return buffer;
}

/// Sizes that shapes and padding divide by.
Conv2dProblem parsed(std::string_view text) {
    const Conv2dProblem p = value(Conv2dProblem::parse(text));
    if (p.stride_h < 1 || p.stride_w < 1 || p.dilation_h < 1 || p.dilation_w < 1 || p.groups < 1) {
        check(p.validate());
    }
    return p;
}

Plan make_plan(const Conv2dProblem &problem, const std::string &algorithm, int threads, const std::string &accuracy, std::optional<size_t> workspace_limit, const std::string &variant) {
    if (problem.moves_columns() || problem.operation == Operation::kSpectral) {
        throw_error(PyExc_NotImplementedError, "'" + problem.to_string() + "': this module plans fwd, bwd-data and bwd-filters");
    }
    PlanOptions options;
    options.algorithm = value(parse_algorithm(algorithm));
    options.accuracy = value(parse_accuracy(accuracy));
    options.threads = threads;
    options.workspace_limit = workspace_limit.value_or(options.workspace_limit);
    options.variant = variant;
    return value(without_gil([&] { return Plan::create(problem, options); }));
}

void execute(const Plan &plan, const std::optional<Array> &input, nb::object filters, const std::optional<Array> &bias, const std::optional<Array> &residual, const std::optional<OutArray> &output,
             const std::optional<Array> &grad_output, const std::optional<OutArray> &grad_input, const std::optional<OutArray> &grad_filters, const std::optional<OutArray> &grad_bias) {
    const Conv2dProblem &p = plan.problem();
    const bool forward = p.operation == Operation::kForward;
    Tensors t;
    t.input = view<const float>("input", input, p.layout, input_shape(p));
    std::optional<Array> filter_array;  // keeps the view's memory
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
    t.output = view<float>("output", output, p.layout, output_shape(p));
    t.grad_output = view<const float>("grad_output", grad_output, p.layout, output_shape(p));
    t.grad_input = view<float>("grad_input", grad_input, p.layout, input_shape(p));
    t.grad_filters = view<float>("grad_filters", grad_filters, p.layout, filter_shape(p));
    t.grad_bias = vector<float>("grad_bias", grad_bias, p.out_channels);
    const MemoryBlock block = workspace(t.filters.is_packed() ? plan.workspace_bytes() : plan.workspace_bytes_unpacked());
    check(without_gil([&] { return plan.execute(t, block); }));
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

    nb::class_<Plan>(m, "Plan")
        .def("__init__", [](Plan *self, const Conv2dProblem &problem, const std::string &algorithm, int threads, const std::string &accuracy, std::optional<size_t> workspace_limit, const std::string &variant) { new (self) Plan(make_plan(problem, algorithm, threads, accuracy, workspace_limit, variant)); }, "problem"_a, nb::kw_only(), "algorithm"_a = "auto", "threads"_a = 0, "accuracy"_a = "default", "workspace_limit"_a = nb::none(), "variant"_a = "")
        .def_prop_ro("problem", [](const Plan &p) { return p.problem(); })
        .def_prop_ro("algorithm", [](const Plan &p) { return to_string(p.algorithm()); })
        .def_prop_ro("variant", [](const Plan &p) { return p.variant(); })
        .def_prop_ro("threads", &Plan::threads)
        .def_prop_ro("workspace_bytes", &Plan::workspace_bytes)
        .def_prop_ro("workspace_bytes_unpacked", &Plan::workspace_bytes_unpacked)
        .def_prop_ro("packed_filter_bytes", &Plan::packed_filter_bytes)
        .def_prop_ro("predicted_seconds", &Plan::predicted_seconds)
        .def("describe", &Plan::describe, "Several lines for people.")
        .def("pack_filters", &pack_filters, "filters"_a, "Filters (oc, ic/groups, f0, f1), once for many calls of execute.")
        .def("_execute", &execute, nb::kw_only(), "input"_a = nb::none(), "filters"_a = nb::none(), "bias"_a = nb::none(), "residual"_a = nb::none(), "output"_a = nb::none(), "grad_output"_a = nb::none(), "grad_input"_a = nb::none(), "grad_filters"_a = nb::none(), "grad_bias"_a = nb::none());

    m.def("explain", [](const Conv2dProblem &problem, int threads) {
        PlanOptions options;
        options.threads = threads;
        nb::list list;
        for (const Candidate &c : value(explain(problem, options))) {
            nb::dict d;
            d["algorithm"] = to_string(c.algorithm);
            d["supported"] = c.supported;
            d["chosen"] = c.chosen;
            d["reason"] = c.reason;
            d["variant"] = c.variant;
            d["predicted_seconds"] = c.predicted_seconds;
            d["workspace_bytes"] = c.workspace_bytes;
            d["packed_filter_bytes"] = c.packed_filter_bytes;
            list.append(d);
        }
        return list; }, "problem"_a, nb::kw_only(), "threads"_a = 0, "Every algorithm's answer to the problem, as a list of dicts.");
}
