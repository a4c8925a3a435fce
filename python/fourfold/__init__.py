"""Batched 2-D convolution on NumPy arrays and anything that speaks DLPack, float32, without copies.

    y = fourfold.conv2d(x, w, bias, padding="same")          # x (b, ic, i0, i1), w (oc, ic/groups, f0, f1)

    plan = fourfold.Plan("b8 ic64 i56 oc64 f3 p1 relu")      # once
    packed = plan.pack_filters(w)
    y = plan.execute(input=x, filters=packed)                # many times, from any thread

Arrays are indexed (n, channel, row, column) however they lie in memory: a region of a larger image, or channels last
(`x.transpose(0, 3, 1, 2)` of an NHWC array, whose result then lies the same way), is read in place. The GIL is released
while the library works; each thread keeps its workspace for its next call. Errors are ValueError, NotImplementedError (valid, but
not by the named algorithm) and MemoryError with the library's sentence.
"""

from functools import lru_cache

import numpy as np

from . import _core
from ._core import PackedFilters, Problem, __version__

__all__ = ["PackedFilters", "Plan", "Problem", "conv2d", "conv_transpose2d", "explain", "__version__"]


class Plan(_core.Plan):
    """Algorithm, variants and workspace layout for one problem, a Problem or its one-line form.

    Keywords: algorithm ("auto", "direct", "im2col", "fft", "fft_tiled", "winograd", "naive"), threads (0: all; results do
    not depend on it), accuracy ("strict", "default", "relaxed"), workspace_limit (bytes), variant.
    """

    def __init__(self, problem, **options):
        super().__init__(Problem(problem) if isinstance(problem, str) else problem, **options)

    def execute(self, *, input=None, filters=None, bias=None, residual=None, output=None, grad_output=None, grad_input=None,
                grad_filters=None, grad_bias=None):
        """Computes the problem and returns its result, which is a new array unless one is given to be filled.

            fwd           input, filters, bias, residual -> output
            bwd-data      grad_output, filters, bias, residual -> grad_input
            bwd-filters   input, grad_output -> grad_filters, and fills grad_bias where it is given

        filters: (oc, ic/groups, f0, f1) in any order of memory, or what pack_filters returned.
        """
        problem = self.problem
        operation = problem.operation
        if operation == "fwd":
            result = output = _empty(problem.output_shape, problem.layout) if output is None else output
        elif operation == "bwd-data":
            result = grad_input = _empty(problem.input_shape, problem.layout) if grad_input is None else grad_input
        else:
            result = grad_filters = np.empty(problem.filter_shape, np.float32) if grad_filters is None else grad_filters
        self._execute(input=input, filters=filters, bias=bias, residual=residual, output=output, grad_output=grad_output,
                      grad_input=grad_input, grad_filters=grad_filters, grad_bias=grad_bias)
        return result


def explain(problem, *, threads=0):
    """Every algorithm's answer to a problem, as a list of dicts: chosen or not, with the reason."""
    return _core.explain(Problem(problem) if isinstance(problem, str) else problem, threads=threads)


def conv2d(x, w, bias=None, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros", filter_mode="corr", post_op=None,
           residual=None, out=None, algorithm="auto", threads=0, accuracy="default"):
    """y[n,k,p,q] = post(bias[k] + sum_{c,r,s} xpad[n, c, p*stride + r*dilation, q*stride + s*dilation] * w[k,c,r,s])

    x (b, ic, i0, i1), w (oc, ic/groups, f0, f1), bias (oc); returns y (b, oc, o0, o1), which lies in memory as x does.
    stride and dilation: a number or (rows, columns). padding: a number, (rows, columns), (top, bottom, left, right), "valid",
    "same" (o = ceil(i / stride)) or "full". padding_mode: "zeros", "constant:V", "reflect", "symmetric", "replicate", "circular".
    filter_mode: "corr", or "conv" for flipped filters. post_op: "relu", "clamp:LO,HI"; residual, of y's shape, is added before.
    """
    x, layout = _image("x", x)
    w = _filters(w)
    if residual is not None:
        residual, _ = _image("residual", residual, layout)
    named = padding if isinstance(padding, str) else ""
    if named not in ("", "valid", "same", "full"):
        raise ValueError(f"padding is '{named}'; it must be numbers, valid, same or full")
    b, ic, i0, i1 = x.shape
    oc, icg, f0, f1 = w.shape
    if icg * groups != ic:
        raise ValueError(f"w has {icg} input channels in each of {groups} groups, but x has {ic} channels")
    words = [padding_mode, filter_mode, layout, "residual" if residual is not None else "", post_op or ""]
    pads = (0,) * 4 if named else _four("padding", padding)
    plan = _plan(f"fwd b{b} ic{ic} i{i0}x{i1} oc{oc} f{f0}x{f1} s{_by('stride', stride)} p{','.join(map(str, pads))} "
                 f"d{_by('dilation', dilation)} g{groups} {' '.join(words)}", named, algorithm, threads, accuracy)
    return plan.execute(input=x, filters=w, bias=_bias(bias), residual=residual, output=out)


def conv_transpose2d(x, w, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, out=None, algorithm="auto",
                     threads=0, accuracy="default"):
    """PyTorch's transposed convolution: o = (i - 1)*stride - 2*padding + dilation*(f - 1) + output_padding + 1 in each axis.

    x (b, ic, i0, i1), w (ic, oc/groups, f0, f1), bias (oc); returns y (b, oc, o0, o1), which lies in memory as x does.
    stride, padding, output_padding and dilation: a number or (rows, columns).
    """
    x, layout = _image("x", x)
    w = _filters(w)
    if w.shape[0] != x.shape[1]:
        raise ValueError(f"w has {w.shape[0]} input channels, but x has {x.shape[1]}")
    problem = Problem.transposed(x.shape, w.shape, stride=_two("stride", stride), padding=_two("padding", padding),
                                 output_padding=_two("output_padding", output_padding), dilation=_two("dilation", dilation),
                                 groups=groups, layout=layout)
    plan = _plan(problem, "", algorithm, threads, accuracy)
    return plan.execute(grad_output=x, filters=w, bias=_bias(bias), grad_input=out)


@lru_cache(maxsize=256)
def _plan(problem, padding, algorithm, threads, accuracy):
    if padding:
        problem = getattr(Problem(problem), padding)()
    return Plan(problem, algorithm=algorithm, threads=threads, accuracy=accuracy)


def _reads(shape, strides, layout):
    """Whether the library reads an image with these strides, in elements, where it lies, in that layout."""
    (n, c, h, w), (sn, sc, sh, sw) = shape, strides
    if (n > 1 and sn < 1) or (c > 1 and sc < 1) or (h > 1 and sh < 1) or (w > 1 and sw < 1):
        return False
    if layout == "nchw":
        return (w == 1 or sw == 1) and (h == 1 or sh >= w)
    return (c == 1 or sc == 1) and (w == 1 or sw >= c)


def _layout(shape, strides):
    """The layout to read such an image in; None: it must be copied."""
    return "nchw" if _reads(shape, strides, "nchw") else "nhwc" if _reads(shape, strides, "nhwc") else None


def _empty(shape, layout):
    if layout == "nhwc":
        n, c, h, w = shape
        return np.empty((n, h, w, c), np.float32).transpose(0, 3, 1, 2)
    return np.empty(shape, np.float32)


def _array(name, array, rank):
    if not isinstance(array, np.ndarray):
        if not hasattr(array, "__dlpack__"):
            raise ValueError(f"{name} is {type(array).__name__}; it must be a NumPy array or speak DLPack")
        array = np.from_dlpack(array)
    if array.dtype != np.float32:
        raise ValueError(f"{name} is {array.dtype}; it must be float32")
    if array.ndim != rank:
        raise ValueError(f"{name} has shape {array.shape}; it must have {rank} dimensions")
    return array


def _image(name, array, wanted=None):
    """The array, copied only where the library cannot read it (in the wanted layout), and its layout."""
    array = _array(name, array, 4)
    strides = [s / array.itemsize for s in array.strides]
    layout = wanted or _layout(array.shape, strides) or "nchw"
    if _reads(array.shape, strides, layout):
        return array, layout
    copy = _empty(array.shape, layout)
    copy[...] = array
    return copy, layout


def _filters(w):
    """Read in any order of memory with positive strides."""
    w = _array("w", w, 4)
    return w if min(w.strides) > 0 else np.ascontiguousarray(w)


def _bias(bias):
    return None if bias is None else np.ascontiguousarray(_array("bias", bias, 1))


def _two(name, value):
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2:
        raise ValueError(f"{name} is {value}; it must be a number or (rows, columns)")
    return pair


def _by(name, value):
    return "{}x{}".format(*_two(name, value))


def _four(name, value):
    if not isinstance(value, int) and len(value) == 4:
        return tuple(value)
    rows, columns = _two(name, value)
    return (rows, rows, columns, columns)
