// Repeated calls of fourfold.torch's operators, in a few microseconds: Python works out a call once, validates it and makes its plan; an equal
// call, of tensors with the same sizes and strides, finds both here. Tensors are read through the C functions of DLPack 1.3's exchange protocol,
// so nothing here knows PyTorch's headers.
#include <algorithm>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "binding.h"

using namespace nanobind::literals;

namespace fourfold::python {
namespace {

/// DLPackExchangeAPI of DLPack 1.
struct ExchangeApi {
    uint32_t major, minor;
    const ExchangeApi *previous;
    void *allocate, *export_managed, *import_managed;
    int (*read)(void *object, nb::dlpack::dltensor *tensor);  // 0, or -1 with an exception set; may be null
    void *stream;
};

/// A tensor of float32 on the CPU as it lies, for as long as its object lives.
struct Tensor {
    float *data = nullptr;
    size_t rank = 0;
    Shape sizes{}, strides{};

    int64_t shape(int d) const {
        return sizes[d];
    }
    int64_t stride(int d) const {
        return strides[d];
    }
    template<typename T>
    TensorView<T> view(Layout layout) const {
        return is_dense(*this, layout) ? TensorView<T>(data) : TensorView<T>(data, strides[0], strides[1], strides[2], strides[3]);
    }
    /// Refuses another shape than the problem's.
    void check_shape(const char *name, const int64_t *expected, size_t count) const {
        if (rank != count || !std::equal(expected, expected + count, sizes.begin())) {
            throw_error(PyExc_ValueError,
                        std::string(name) + " has shape (" + list(sizes.data(), rank) + "); the problem needs (" + list(expected, count) + ")");
        }
    }
    static std::string list(const int64_t *numbers, size_t count) {
        std::string text;
        for (size_t i = 0; i < count; i++) {
            text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
        }
        return text;
    }
};

/// A copy of a weight's memory, from its first to its last element, whatever lies between.
struct Values {
    Shape sizes, strides;
    AlignedBuffer bytes;

    explicit Values(const Tensor &w)
        : sizes(w.sizes), strides(w.strides), bytes(extent(w)) {
        if (bytes.data() == nullptr) {
            throw_error(PyExc_MemoryError, "no memory for a copy of the weight");
        }
        std::memcpy(bytes.data(), w.data, bytes.bytes());
    }
    bool of(const Tensor &w) const {
        constexpr size_t kShort = 1 << 17;  // compared in a few microseconds
        const auto same = [&] { return std::memcmp(bytes.data(), w.data, bytes.bytes()) == 0; };
        return sizes == w.sizes && strides == w.strides && (bytes.bytes() <= kShort ? same() : without_gil(same));
    }
    static size_t extent(const Tensor &w) {
        int64_t elements = 1;
        for (int d = 0; d < 4; d++) {
            elements += (w.shape(d) - 1) * w.stride(d);
        }
        return static_cast<size_t>(elements) * sizeof(float);
    }
};

/// A weight's packed filters, of the last few plans. Members are read and written under the GIL.
struct KeptFilters {
    static constexpr size_t kPlans = 4;

    using Packed = std::pair<nb::object, nb::object>;  // by plan
    std::shared_ptr<const Values> values;
    std::vector<Packed> packed;
    std::mutex packing;  // waited for without the GIL

    nb::object find(const Tensor &w, nb::handle plan) const {
        for (const Packed &p : packed) {
            if (p.first.is(plan)) {
                nb::object known = p.second;
                const std::shared_ptr<const Values> then = values;
                return then->of(w) ? known : nb::object();
            }
        }
        return {};
    }
    /// Compares the values, for .data and arrays that share the memory change them and no version counter.
    nb::object filters(const Tensor &w, nb::handle weight, const nb::object &plan) {
        if (nb::object known = find(w, plan); known.is_valid()) {
            return known;
        }
        std::unique_lock<std::mutex> lock(packing, std::defer_lock);
        without_gil([&] { lock.lock(); });
        if (nb::object known = find(w, plan); known.is_valid()) {
            return known;
        }
        std::vector<Packed> next;
        std::shared_ptr<const Values> now = values;
        if (now != nullptr && now->of(w)) {
            next.assign(packed.begin() + (packed.size() == kPlans ? 1 : 0), packed.end());
        } else {
            now = std::make_shared<const Values>(w);
        }
        nb::object fresh = plan.attr("pack_filters")(weight.attr("detach")());
        next.emplace_back(plan, fresh);
        values = std::move(now);
        packed.swap(next);
        return fresh;
    }
    int traverse(visitproc visit, void *arg) const {
        for (const Packed &p : packed) {
            Py_VISIT(p.first.ptr());
            Py_VISIT(p.second.ptr());
        }
        return 0;
    }
    void forget() {
        std::vector<Packed> old;
        old.swap(packed);
    }
};

/// A call that was worked out.
struct Call {
    nb::object object;  // the plan as Python has it
    Plan plan;
    bool keeps;  // its filters are packed, in the weight's KeptFilters
    nb::tuple copies;  // for each tensor the memory format to copy it to, or None
    nb::object size, format;  // of the result
    nb::object bias_size;     // of the bias's gradient, where it is a second result; else None
};

/// The operators' arguments: two tensors and perhaps a bias, then numbers, lists of numbers and words.
struct Arguments {
    Tensor tensors[3];
    nb::handle objects[3];
    size_t count = 0;
    std::string key;
};

class TorchCalls {
public:
    /// torch: what is called and looked at there; quiet: the dispatcher's (included, excluded) keys where nothing listens.
    TorchCalls(nb::dict torch, std::vector<std::pair<uint64_t, uint64_t>> quiet)
        : torch_(std::move(torch)), quiet_(std::move(quiet)) {
        const nb::handle exchange = name("exchange");
        if (exchange.is_none()) {
            return;
        }
        const auto *api = static_cast<const ExchangeApi *>(nb::cast<nb::capsule>(exchange).data("dlpack_exchange_api"));
        while (api != nullptr && api->major != 1) {
            api = api->previous;
        }
        read_ = api == nullptr ? nullptr : api->read;
    }

    /// The result of a call that was kept, or None.
    nb::object again(int operation, nb::tuple arguments) {
        Arguments a;
        return read_arguments(operation, arguments, &a) ? find(a) : nb::none();
    }

    /// The same for callers above PyTorch's dispatcher, and of new calls the kernel's result. NotImplemented where the call is the
    /// dispatcher's, because the tensors are not plain or something listens; None where it is autograd's.
    nb::object eager(int operation, nb::object kernel, nb::tuple arguments) {
        Arguments a;
        if (!quiet() || !read_arguments(operation, arguments, &a)) {
            return nb::borrow(Py_NotImplemented);
        }
        for (size_t i = 0; i < a.count; i++) {
            const PyTypeObject *type = Py_TYPE(a.objects[i].ptr());
            if ((type != tensor_ && type != parameter_) || is_true(is_neg_(a.objects[i]))) {
                return nb::borrow(Py_NotImplemented);
            }
        }
        if (is_true(is_grad_enabled_())) {
            for (size_t i = 0; i < a.count; i++) {
                if (is_true(a.objects[i].attr(requires_grad_))) {
                    return nb::none();
                }
            }
        }
        nb::object result = find(a);
        return result.is_none() ? kernel(*arguments) : result;
    }

    /// Makes the call of these arguments one that is found, and computes it. Errors: ValueError (shapes that are not the problem's).
    nb::object keep(int operation, nb::tuple arguments, nb::object object, bool keeps, nb::tuple copies, bool with_bias) {
        const Plan plan = nb::cast<const Plan &>(object);
        const Conv2dProblem &p = plan.problem();
        Arguments a;
        if (!read_arguments(operation, arguments, &a)) {
            throw_error(PyExc_ValueError, "the tensors are not float32 in the CPU's memory");
        }
        const bool forward = p.operation == Operation::kForward, backward_data = p.operation == Operation::kBackwardData;
        const Shape x = input_shape(p), w = filter_shape(p), y = output_shape(p);
        const Shape size = forward ? y : backward_data ? x : w;
        a.tensors[0].check_shape(backward_data ? "grad_output" : "input", (backward_data ? y : x).data(), 4);
        a.tensors[1].check_shape(forward || backward_data ? "filters" : "grad_output", (forward || backward_data ? w : y).data(), 4);
        if (a.count == 3) {
            a.tensors[2].check_shape("bias", &size[1], 1);
        }
        if (calls_.size() >= kCalls) {
            clear();
        }
        const bool last = p.layout == Layout::kNhwc && (forward || backward_data);
        const auto call = std::make_shared<const Call>(Call{std::move(object), plan, keeps, std::move(copies), nb::make_tuple(size[0], size[1], size[2], size[3]),
                                                           nb::borrow(name(last ? "channels_last" : "contiguous_format")),
                                                           with_bias ? nb::object(nb::make_tuple(size[0])) : nb::none()});
        calls_[a.key] = call;
        return compute(call, a);
    }

    void clear() {
        Table old;
        old.swap(calls_);
    }
    size_t size() const {
        return calls_.size();
    }
    int traverse(visitproc visit, void *arg) const {
        Py_VISIT(torch_.ptr());
        for (const auto &[key, call] : calls_) {
            Py_VISIT(call->object.ptr());
        }
        return 0;
    }
    void forget() {
        clear();
        torch_.reset();
    }

private:
    static constexpr size_t kCalls = 1024;
    using Table = std::unordered_map<std::string, std::shared_ptr<const Call>>;

    /// Kept alive by the dictionary; None where this PyTorch has no such thing.
    nb::handle name(const char *n) const {
        return torch_.contains(n) ? nb::handle(PyDict_GetItemString(torch_.ptr(), n)) : nb::handle(Py_None);
    }
    PyTypeObject *type(const char *n) const {
        return reinterpret_cast<PyTypeObject *>(name(n).ptr());
    }
    static bool is_true(const nb::object &o) {
        return o.is(nb::handle(Py_True));
    }
    uint64_t bits(const nb::object &set) const {
        PyObject *self = set.ptr();
        return nb::cast<uint64_t>(nb::steal(PyObject_VectorcallMethod(raw_repr_.ptr(), &self, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr)));
    }
    static nb::object interned(const char *text) {
        return nb::steal(PyUnicode_InternFromString(text));
    }

    /// Whether nothing stands between a call and its kernel: no mode, transform, autocast, tracing, tangents or profiler.
    bool quiet() const {
        if (quiet_.empty()) {
            return false;
        }
        const std::pair<uint64_t, uint64_t> now(bits(included_()), bits(excluded_()));
        return std::find(quiet_.begin(), quiet_.end(), now) != quiet_.end() && nb::cast<int>(function_modes_()) == 0 &&
               nb::cast<int>(forward_ad_.attr(level_)) < 0 && !is_true(profiler_.attr(profiles_));
    }

    static void append(std::string *key, int64_t number) {
        key->append(reinterpret_cast<const char *>(&number), sizeof(number));
    }
    static bool append_number(std::string *key, nb::handle number) {
        if (!PyLong_CheckExact(number.ptr())) {
            return false;
        }
        const int64_t n = PyLong_AsLongLong(number.ptr());
        if (n == -1 && PyErr_Occurred()) {
            PyErr_Clear();
            return false;
        }
        append(key, n);
        return true;
    }

    /// False where it is no such tensor.
    bool read(nb::handle object, Tensor *out) const {
        if (read_ == nullptr) {
            return read_attributes(object, out);
        }
        nb::dlpack::dltensor t;
        if (read_(object.ptr(), &t) != 0) {
            PyErr_Clear();
            return false;
        }
        if (t.device.device_type != nb::device::cpu::value || t.dtype != nb::dtype<float>() || t.data == nullptr || t.strides == nullptr || t.ndim > 4) {
            return false;
        }
        out->data = reinterpret_cast<float *>(static_cast<char *>(t.data) + t.byte_offset);
        out->rank = static_cast<size_t>(t.ndim);
        std::copy_n(t.shape, t.ndim, out->sizes.begin());
        std::copy_n(t.strides, t.ndim, out->strides.begin());
        return true;
    }
    /// In versions of PyTorch without the exchange protocol.
    bool read_attributes(nb::handle object, Tensor *out) const {
        const nb::tuple sizes = nb::tuple(object.attr("shape"));
        if (!object.attr("dtype").is(float32_) || !is_true(object.attr("is_cpu")) || !object.attr("layout").is(strided_) || sizes.size() > 4) {
            return false;
        }
        const nb::tuple strides = nb::tuple(object.attr("stride")());
        out->data = reinterpret_cast<float *>(nb::cast<uintptr_t>(object.attr("data_ptr")()));
        out->rank = sizes.size();
        for (size_t d = 0; d < out->rank; d++) {
            out->sizes[d] = nb::cast<int64_t>(sizes[d]);
            out->strides[d] = nb::cast<int64_t>(strides[d]);
        }
        return out->data != nullptr;
    }

    /// False where they are not of such tensors and of plain numbers.
    bool read_arguments(int operation, const nb::tuple &arguments, Arguments *a) const {
        std::string &key = a->key;
        key.reserve(512);
        append(&key, operation);
        append(&key, nb::cast<int64_t>(get_num_threads_()));
        for (nb::handle argument : arguments) {
            PyTypeObject *type = Py_TYPE(argument.ptr());
            if (PyObject_TypeCheck(argument.ptr(), tensor_)) {
                if (a->count == 3 || !read(argument, &a->tensors[a->count])) {
                    return false;
                }
                const Tensor &t = a->tensors[a->count];
                a->objects[a->count++] = argument;
                append(&key, static_cast<int64_t>(t.rank));
                key.append(reinterpret_cast<const char *>(t.sizes.data()), sizeof(t.sizes));
                key.append(reinterpret_cast<const char *>(t.strides.data()), sizeof(t.strides));
            } else if (type == &PyLong_Type) {
                if (!append_number(&key, argument)) {
                    return false;
                }
            } else if (type == &PyTuple_Type || type == &PyList_Type) {
                const Py_ssize_t n = PySequence_Fast_GET_SIZE(argument.ptr());
                append(&key, n);
                for (Py_ssize_t i = 0; i < n; i++) {
                    if (!append_number(&key, PySequence_Fast_GET_ITEM(argument.ptr(), i))) {
                        return false;
                    }
                }
            } else if (type == &PyUnicode_Type) {
                Py_ssize_t n = 0;
                const char *text = PyUnicode_AsUTF8AndSize(argument.ptr(), &n);
                if (text == nullptr) {
                    PyErr_Clear();
                    return false;
                }
                append(&key, n);
                key.append(text, static_cast<size_t>(n));
            } else if (argument.is_none()) {
                append(&key, -1);
            } else {
                return false;
            }
        }
        return true;
    }

    nb::object find(const Arguments &a) const {
        const auto found = calls_.find(a.key);
        return found == calls_.end() ? nb::none() : compute(found->second, a);
    }

    /// The call is shared, for the table may lose it while the GIL is released.
    nb::object compute(std::shared_ptr<const Call> call, const Arguments &a) const {
        const Plan &plan = call->plan;
        const Conv2dProblem &p = plan.problem();
        const bool backward_filters = p.operation == Operation::kBackwardFilters;
        Tensor out, bias;
        nb::object result = made(call->size, call->format, &out);
        const nb::object grad_bias = call->bias_size.is_none() ? nb::object() : made(call->bias_size, call->format, &bias);
        Tensor given[3];
        nb::object copies[3];
        for (size_t i = 0; i < a.count; i++) {
            given[i] = a.tensors[i];
            if (nb::handle format = call->copies[i]; !format.is_none()) {
                copies[i] = a.objects[i].attr("contiguous")("memory_format"_a = format);
                read(copies[i], &given[i]);
            }
        }
        fourfold::Tensors t;
        nb::object packed;
        if (call->keeps) {
            const nb::object holder = kept_filters_(a.objects[1]);
            auto &kept = nb::cast<KeptFilters &>(holder);
            packed = kept.filters(given[1], copies[1].is_valid() ? nb::handle(copies[1]) : a.objects[1], call->object);
            t.filters = nb::cast<const AlignedBuffer &>(packed);
        } else if (!backward_filters) {
            t.filters = given[1].view<const float>(p.layout);
        }
        if (a.count == 3) {
            t.bias = given[2].data;
        }
        if (backward_filters) {
            t.input = given[0].view<const float>(p.layout);
            t.grad_output = given[1].view<const float>(p.layout);
            t.grad_filters = out.view<float>(p.layout);
            t.grad_bias = bias.data;
        } else if (p.operation == Operation::kForward) {
            t.input = given[0].view<const float>(p.layout);
            t.output = out.view<float>(p.layout);
        } else {
            t.grad_output = given[0].view<const float>(p.layout);
            t.grad_input = out.view<float>(p.layout);
        }
        const MemoryBlock block = workspace(call->keeps ? plan.workspace_bytes() : plan.workspace_bytes_unpacked());
        check(without_gil([&] { return plan.execute(t, block); }));
        return grad_bias.is_valid() ? nb::object(nb::make_tuple(result, grad_bias)) : result;
    }

    /// A new tensor.
    nb::object made(const nb::object &size, const nb::object &format, Tensor *out) const {
        PyObject *const shaped[] = {size.ptr(), float32_.ptr(), cpu_.ptr(), format.ptr()};
        nb::object result = nb::steal(PyObject_Vectorcall(empty_.ptr(), shaped, 1, result_keywords_.ptr()));
        if (!result.is_valid()) {
            throw nb::python_error();
        }
        if (!read(result, out)) {
            throw_error(PyExc_MemoryError, "no memory for the result");
        }
        return result;
    }

    nb::dict torch_;
    int (*read_)(void *, nb::dlpack::dltensor *) = nullptr;
    PyTypeObject *tensor_ = type("Tensor"), *parameter_ = type("Parameter");
    nb::handle empty_ = name("empty"), float32_ = name("float32"), cpu_ = name("cpu"), strided_ = name("strided"), kept_filters_ = name("kept_filters"),
               is_neg_ = name("is_neg"), is_grad_enabled_ = name("is_grad_enabled"), get_num_threads_ = name("get_num_threads"),
               included_ = name("included"), excluded_ = name("excluded"), function_modes_ = name("function_modes"), forward_ad_ = name("forward_ad"),
               profiler_ = name("profiler");
    nb::object requires_grad_ = interned("requires_grad"), raw_repr_ = interned("raw_repr"), level_ = interned("_current_level"),
               profiles_ = interned("_is_profiler_enabled");
    nb::object result_keywords_ = nb::make_tuple("dtype", "device", "memory_format");
    std::vector<std::pair<uint64_t, uint64_t>> quiet_;  // empty: no call is eager
    Table calls_;
};

/// Both are parts of cycles through the package's globals, which end when the interpreter does.
template<typename T>
struct Collected {
    static int traverse(PyObject *self, visitproc visit, void *arg) {
        Py_VISIT(Py_TYPE(self));
        return nb::inst_ready(self) ? nb::inst_ptr<T>(self)->traverse(visit, arg) : 0;
    }
    static int clear(PyObject *self) {
        nb::inst_ptr<T>(self)->forget();
        return 0;
    }
    static inline PyType_Slot slots[] = {{Py_tp_traverse, reinterpret_cast<void *>(&traverse)},
                                         {Py_tp_clear, reinterpret_cast<void *>(&clear)},
                                         {0, nullptr}};
};

}  // namespace

void add_calls(nb::module_ &m) {
    nb::class_<KeptFilters>(m, "KeptFilters", nb::type_slots(Collected<KeptFilters>::slots), "A weight's packed filters, of the last few plans.")
        .def(nb::init<>())
        .def_prop_ro("plans", [](const KeptFilters &k) { return k.packed.size(); })
        .def_ro_static("PLANS", &KeptFilters::kPlans);

    nb::class_<TorchCalls>(m, "TorchCalls", nb::type_slots(Collected<TorchCalls>::slots))
        .def(nb::init<nb::dict, std::vector<std::pair<uint64_t, uint64_t>>>(), "torch"_a, "quiet"_a)
        .def("again", &TorchCalls::again, "operation"_a, "arguments"_a, "The result of a call that was kept, or None.")
        .def("eager", &TorchCalls::eager, "operation"_a, "kernel"_a, "arguments"_a, "The result; None: autograd's; NotImplemented: the dispatcher's.")
        .def("keep", &TorchCalls::keep, "operation"_a, "arguments"_a, "plan"_a, "keeps"_a, "copies"_a, "with_bias"_a = false)
        .def("cache_clear", &TorchCalls::clear)
        .def("__len__", &TorchCalls::size);
}

}  // namespace fourfold::python
