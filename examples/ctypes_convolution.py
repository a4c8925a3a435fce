"""fourfold from another language: a convolution through libfourfold_c.so, with nothing but Python's standard library.

    python3 ctypes_convolution.py [/opt/fourfold/lib/libfourfold_c.so.1]

Julia's ccall, .NET's DllImport or Rust's libloading need the same: the structs of fourfold_c.h member by member, the functions'
arguments, and the statuses. (For Python itself there is the package `fourfold`.)
"""
import ctypes
import sys
from ctypes import POINTER, byref, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_void_p


class Problem(ctypes.Structure):  # fourfold_problem
    _fields_ = [
        ("struct_size", c_size_t),
        *((name, c_int32) for name in ("operation", "padding_mode", "filter_mode", "layout", "post_op", "residual")),
        *((name, c_int64) for name in ("batch", "in_channels", "in_height", "in_width", "out_channels", "filter_height", "filter_width",
                                       "stride_h", "stride_w", "pad_top", "pad_bottom", "pad_left", "pad_right",
                                       "dilation_h", "dilation_w", "groups")),
        *((name, c_float) for name in ("padding_value", "clamp_lo", "clamp_hi")),
    ]


class View(ctypes.Structure):  # fourfold_const_view and fourfold_view
    _fields_ = [("data", POINTER(c_float)), ("strides", c_int64 * 4), ("strided", c_int32)]


class Tensors(ctypes.Structure):  # fourfold_tensors
    _fields_ = [("struct_size", c_size_t), ("input", View), ("filters", View), ("packed_filters", c_void_p), ("packed_filter_bytes", c_size_t),
                ("bias", POINTER(c_float)), ("residual", View), ("output", View), ("grad_output", View), ("grad_input", View),
                ("grad_filters", View), ("grad_bias", POINTER(c_float))]


class PlanInfo(ctypes.Structure):  # fourfold_plan_info
    _fields_ = [("struct_size", c_size_t), ("variant", c_char_p), ("algorithm", c_int32), ("threads", c_int32), ("workspace_bytes", c_size_t),
                ("workspace_bytes_unpacked", c_size_t), ("packed_filter_bytes", c_size_t), ("predicted_seconds", c_double),
                ("choice", c_char_p), ("decided_by", c_char_p)]


# The name with the ABI's version: a library that broke it has another, and is not found instead of misunderstood.
fourfold = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libfourfold_c.so.1")


def declare(name, result, *arguments):
    function = getattr(fourfold, name)
    function.restype, function.argtypes = result, arguments
    return function


last_error = declare("fourfold_last_error", c_char_p)
algorithm_name = declare("fourfold_algorithm_name", c_char_p, c_int32)
problem_parse = declare("fourfold_problem_parse", c_int32, POINTER(Problem), c_size_t, c_char_p)
problem_output_size = declare("fourfold_problem_output_size", c_int32, POINTER(Problem), POINTER(c_int64), POINTER(c_int64))
plan_create = declare("fourfold_plan_create", c_int32, POINTER(Problem), c_void_p, POINTER(c_void_p))
plan_query = declare("fourfold_plan_query", c_int32, c_void_p, POINTER(PlanInfo))
plan_execute = declare("fourfold_plan_execute", c_int32, c_void_p, POINTER(Tensors), c_void_p, c_size_t, c_void_p)
plan_destroy = declare("fourfold_plan_destroy", None, c_void_p)
alloc = declare("fourfold_alloc", c_void_p, c_size_t)
free = declare("fourfold_free", None, c_void_p)


def check(status):
    if status != 0:
        raise RuntimeError(last_error().decode())


def convolve(problem, x, w, bias):
    """y = clamp(x conv w + bias), dense NCHW, as a list."""
    height, width = c_int64(), c_int64()
    check(problem_output_size(byref(problem), byref(height), byref(width)))
    x, w, bias = ((c_float * len(values))(*values) for values in (x, w, bias))
    y = (c_float * (problem.batch * problem.out_channels * height.value * width.value))()

    plan = c_void_p()
    check(plan_create(byref(problem), None, byref(plan)))
    workspace = None
    try:
        info = PlanInfo(struct_size=ctypes.sizeof(PlanInfo))
        check(plan_query(plan, byref(info)))
        print(f"{algorithm_name(info.algorithm).decode()}, {info.variant.decode()}: {info.decided_by.decode()}")
        workspace = alloc(info.workspace_bytes_unpacked)
        if workspace is None:
            raise MemoryError(f"{info.workspace_bytes_unpacked} bytes")
        tensors = Tensors(struct_size=ctypes.sizeof(Tensors), input=View(data=x), filters=View(data=w), bias=bias, output=View(data=y))
        check(plan_execute(plan, byref(tensors), workspace, info.workspace_bytes_unpacked, None))
    finally:
        free(workspace)
        plan_destroy(plan)
    return list(y)


def by_definition(p, x, w, bias):
    """The same by its sum, for stride 1 and padding with zeros."""
    y = []
    for b, k, row, column in ((b, k, row, column) for b in range(p.batch) for k in range(p.out_channels)
                              for row in range(p.in_height + p.pad_top + p.pad_bottom - p.filter_height + 1)
                              for column in range(p.in_width + p.pad_left + p.pad_right - p.filter_width + 1)):
        total = bias[k]
        for c in range(p.in_channels):
            for r in range(p.filter_height):
                for s in range(p.filter_width):
                    i, j = row + r - p.pad_top, column + s - p.pad_left
                    if 0 <= i < p.in_height and 0 <= j < p.in_width:
                        total += x[((b * p.in_channels + c) * p.in_height + i) * p.in_width + j] * w[((k * p.in_channels + c) * p.filter_height + r) * p.filter_width + s]
        y.append(min(max(total, p.clamp_lo), p.clamp_hi))
    return y


def main():
    problem = Problem()
    check(problem_parse(byref(problem), ctypes.sizeof(problem), b"b2 ic3 i7x9 oc4 f3x2 p1,0,2,1 clamp:-6,9"))
    # Small integers, whose sums are exact in any order.
    x = [float(i * 7 % 5 - 2) for i in range(2 * 3 * 7 * 9)]
    w = [float(i * 5 % 7 - 3) for i in range(4 * 3 * 3 * 2)]
    bias = [1.0, -2.0, 0.0, 3.0]
    y, expected = convolve(problem, x, w, bias), by_definition(problem, x, w, bias)
    if len(y) != len(expected) or max(abs(a - b) for a, b in zip(y, expected)) > 1e-3:
        sys.exit(f"wrong: {y}\ninstead of {expected}")
    print(f"{len(y)} values are right, from {min(y):g} to {max(y):g}")

    problem.stride_w = 0  # what goes wrong comes back as a sentence
    try:
        convolve(problem, x, w, bias)
    except RuntimeError as error:
        print(f"refused: {error}")
    else:
        sys.exit("a stride of 0 was taken")


main()
