// What the sources of fourfold._core share: errors as Python's exceptions, the GIL, the workspace of a thread.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include <nanobind/nanobind.h>

#include "fourfold/fourfold.h"

namespace fourfold::python {

namespace nb = nanobind;

using Shape = std::array<int64_t, 4>;

[[noreturn]] inline void throw_error(PyObject *type, const std::string &message) {
    PyErr_SetString(type, message.c_str());
    throw nb::python_error();
}

/// A Status as the exception that Python has for it, with its text.
inline void check(const Status &status) {
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

template<typename Function>
auto without_gil(Function &&function) {
    nb::gil_scoped_release release;
    return function();
}

/// The thread's workspace, kept from call to call and grown when a plan needs more. Cleared: kernels compute in lanes whose results are
/// not used too, and what malloc hands out is full of pointers, halves of which are slow denormal numbers.
inline MemoryBlock workspace(size_t bytes) {
    thread_local AlignedBuffer buffer;
    if (buffer.bytes() < bytes) {
        buffer = AlignedBuffer();
        buffer = AlignedBuffer(bytes);
        if (buffer.data() == nullptr) {
            throw_error(PyExc_MemoryError, "no memory for a workspace of " + std::to_string(bytes) + " bytes");
        }
        std::memset(buffer.data(), 0, bytes);
    }
    return buffer;
}

/// Whether a view of four dimensions (indexed n, channel, row, column) has no gaps in that layout.
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

inline Shape input_shape(const Conv2dProblem &p) {
    return {p.batch, p.in_channels, p.in_height, p.in_width};
}
inline Shape filter_shape(const Conv2dProblem &p) {
    return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
}
inline Shape output_shape(const Conv2dProblem &p) {
    return {p.batch, p.out_channels, p.out_height(), p.out_width()};
}

/// Repeated calls on PyTorch's tensors (calls.cpp).
void add_calls(nb::module_ &m);

}  // namespace fourfold::python
