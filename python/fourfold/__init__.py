"""Batched 2-D convolution on NumPy arrays and anything that speaks DLPack, float32, without copies; unfold and fold; the
spectral product on complex64 half spectra; and training steps on shared spectra.

    y = fourfold.conv2d(x, w, bias, padding="same")          # x (b, ic, i0, i1), w (oc, ic/groups, f0, f1)

    plan = fourfold.Plan("b8 ic64 i56 oc64 f3 p1 relu")      # once
    packed = plan.pack_filters(w)
    y = plan.execute(input=x, filters=packed)                # many times, from any thread

    blur = fourfold.Layer("b1 ic1 i1080x1920 oc1 f9 p4 reflect", w)      # owns its filters; those of rank one run as two passes
    y = blur(x)

Arrays are indexed (n, channel, row, column) however they lie in memory: a region of a larger image, or channels last
(`x.transpose(0, 3, 1, 2)` of an NHWC array, whose result then lies the same way), is read in place. The GIL is released
while the library works; each thread keeps its workspace for its next call. Errors are ValueError, NotImplementedError (valid, but
not by the named algorithm) and MemoryError with the library's sentence.
"""

from functools import lru_cache
from operator import index
from os import fspath

import numpy as np

from . import _core
from ._core import (PackedFilters, Problem, Profile, Spectra, SpectralProblem, __version__, devices, export_fft_wisdom, fft_backends,
                    import_fft_wisdom, machine, tables, variants)

__all__ = ["Layer", "PackedFilters", "Plan", "Problem", "Profile", "Spectra", "SpectralPlan", "SpectralProblem", "StagedPlan", "TrainingPlan",
           "block_choices", "conv2d", "conv_transpose2d", "devices", "explain", "export_fft_wisdom", "fft_backends", "filter_spectra", "fold",
           "import_fft_wisdom", "irfft2", "list_choices", "load_table", "load_table_text", "machine", "rfft2", "spectral_product", "tables", "unfold",
           "unload_tables", "variants", "__version__"]

_caches = []


def _kept(maxsize):
    """lru_cache of a function that makes plans, emptied when tables or block-lists change what would be chosen."""
    def keep(function):
        _caches.append(lru_cache(maxsize=maxsize)(function))
        return _caches[-1]
    return keep


def _forget_plans():
    for cache in _caches:
        cache.cache_clear()


def _problem(problem):
    return Problem(problem) if isinstance(problem, str) else problem


class Plan(_core.Plan):
    """Algorithm, variants and workspace layout for one problem, a Problem or its one-line form.

    Keywords: algorithm ("auto", "direct", "im2col", "fft", "fft_tiled", "winograd", "naive"), threads (0: all; results do
    not depend on it), accuracy ("strict", "default", "relaxed"), workspace_limit (bytes), variant, choice (what the attribute
    choice of another plan says: makes that plan again), effort ("table", "measure"), cache ("warm", "cold"), choose_for_threads,
    packs_each_time (the choice counts the packing of filters, as where they change with every call), blocked (names of algorithms and variants that "auto" must not pick; unknown ones are refused),
    fft_backend ("auto", "fftw", "kissfft"), fft_rigor ("estimate", "measure", "patient"), packed_filter_limit (bytes), and for StagedPlan,
    explain and list_choices device ("cpu", "cuda", "opencl", "cuda:1", ...).
    """

    def __init__(self, problem, **options):
        super().__init__(_problem(problem), _core.Options(**options))
        self._result = _result(self.problem)

    def execute(self, *, input=None, filters=None, bias=None, residual=None, output=None, grad_output=None, grad_input=None,
                grad_filters=None, grad_bias=None, profile=None):
        """Computes the problem and returns its result, which is a new array unless one is given to be filled.

            fwd           input, filters, bias, residual -> output
            bwd-data      grad_output, filters, bias, residual -> grad_input
            bwd-filters   input, grad_output -> grad_filters, and fills grad_bias where it is given
            unfold        input -> output, columns (b, ic, f0*f1, o0*o1)
            fold          input, such columns -> output

        filters: (oc, ic/groups, f0, f1) in any order of memory, or what pack_filters returned. profile: a Profile, which adds up.
        """
        return _execute(self, input=input, filters=filters, bias=bias, residual=residual, output=output, grad_output=grad_output,
                        grad_input=grad_input, grad_filters=grad_filters, grad_bias=grad_bias, profile=profile)


def _result(problem):
    """The argument that is computed, its shape, and the layout in which it is made."""
    operation = problem.operation
    name = {"bwd-data": "grad_input", "bwd-filters": "grad_filters"}.get(operation, "output")
    shape = {"fwd": problem.output_shape, "unfold": problem.column_shape, "bwd-filters": problem.filter_shape}.get(operation, problem.input_shape)
    return name, shape, "nchw" if operation in ("unfold", "bwd-filters") else problem.layout


def _execute(plan, **arguments):
    """The result, in a new array unless the arguments have one."""
    name, shape, layout = plan._result
    given = {argument: array for argument, array in arguments.items() if array is not None}
    for argument, array in given.items():
        if argument not in ("filters", "profile"):
            _given(argument, array, filled=argument in (name, "grad_bias"))
    if name not in given:
        given[name] = _empty(shape, layout)
    plan._execute(**given)
    return given[name]


class StagedPlan(_core.StagedPlan):
    """A plan of a GPU for arrays of the host, with memory of its own on the device: device="cuda", "opencl", "cuda:1", ...

    Within device_bytes of the device's memory, or what is free there; a forward convolution that needs more is done in pieces. Calls
    from several threads take turns. Other keywords as Plan's.
    """

    def __init__(self, problem, *, device_bytes=None, **options):
        super().__init__(_problem(problem), device_bytes, _core.Options(**options))
        self._result = _result(self.problem)

    def execute(self, *, input=None, filters=None, bias=None, residual=None, output=None, grad_output=None, grad_input=None,
                grad_filters=None, grad_bias=None, profile=None):
        """As Plan's. Without filters, those of pack_filters or of the last call."""
        return _execute(self, input=input, filters=filters, bias=bias, residual=residual, output=output, grad_output=grad_output,
                        grad_input=grad_input, grad_filters=grad_filters, grad_bias=grad_bias, profile=profile)


class Layer(_core.Layer):
    """A forward or bwd-data problem with its filters (oc, ic/groups, f0, f1) and bias, which are read here and not needed afterwards.

    It sees the filters' values, so those of rank one (blurs, Sobel) are computed as two passes where records or the cost model say
    that is faster. Calls from several threads take turns; Plan is for several at once. Keywords as Plan's.
    """

    def __init__(self, problem, filters, bias=None, **options):
        super().__init__(_problem(problem), filters, bias, _core.Options(**options))

    def __call__(self, x, *, residual=None, out=None):
        """y of x, or gx of gy where the problem is bwd-data: a new array unless `out` is given to be filled."""
        problem = self.problem
        _given("x", x)
        _given("residual", residual)
        _given("out", out, filled=True)
        if out is None:
            out = _empty(problem.input_shape if problem.operation == "bwd-data" else problem.output_shape, problem.layout)
        self._run(x, out, residual)
        return out


class TrainingPlan(_core.TrainingPlan):
    """Forward and both gradients of a forward problem on spectra that you keep: each of x, w and gy is transformed once a step.

        plan = fourfold.TrainingPlan("b8 ic64 i56 oc64 f31 p15")
        X, W = plan.transform_input(x, step), plan.transform_filters(w, step)
        y = plan.forward(X, W, bias)
        G = plan.transform_gradient(gy, step)
        gx, gw = plan.backward_data(G, W), plan.backward_filters(X, G, grad_bias=gb)

    The products refuse Spectra of another kind or plan and two of different steps; `step` is any number from 0 on. The transforms fill the
    Spectra given as `out`, or new ones. It pays for dense layers whose filters are nearly as large as the image, without residual and
    post-op. Keywords: threads, fft_backend, fft_rigor and workspace_limit (bytes, without the spectra), as Plan's.
    """

    def __init__(self, problem, **options):
        super().__init__(_problem(problem), **options)

    def forward(self, input, filters, bias=None, *, output=None):
        """X, W -> y (b, oc, o0, o1), a new array unless one is given to be filled."""
        _given("output", output, filled=True)
        output = _empty(self.problem.output_shape, self.problem.layout) if output is None else output
        self._forward(input, filters, bias, output)
        return output

    def backward_data(self, gradient, filters, *, grad_input=None):
        """G, W -> gx (b, ic, i0, i1)."""
        _given("grad_input", grad_input, filled=True)
        grad_input = _empty(self.problem.input_shape, self.problem.layout) if grad_input is None else grad_input
        self._backward_data(gradient, filters, grad_input)
        return grad_input

    def backward_filters(self, input, gradient, *, grad_filters=None, grad_bias=None):
        """X, G -> gw (oc, ic/groups, f0, f1); fills grad_bias (oc) where it is given."""
        _given("grad_filters", grad_filters, filled=True)
        _given("grad_bias", grad_bias, filled=True)
        grad_filters = np.empty(self.problem.filter_shape, np.float32) if grad_filters is None else grad_filters
        self._backward_filters(input, gradient, grad_filters, grad_bias)
        return grad_filters


def explain(problem, **options):
    """Every algorithm's answer to a problem, as a list of dicts: chosen or not, with the reason. Keywords as Plan's."""
    return _core.explain(_problem(problem), _core.Options(**options))


def list_choices(problem, **options):
    """Every plan that the options admit, best prediction first, as explain has them: what a tuner times. Keywords as Plan's."""
    return _core.list_choices(_problem(problem), _core.Options(**options))


# ------------------------------------------------------------------------------------------------- tables of measured plans


def load_table(path):
    """Loads a table, as `fourfold tune` writes it, on top of those there are: where it has records of a problem, they come first. Plan
    objects made before keep their choices. Returns what was read as a dict: name, shipped, records (in use), and what was skipped: stale,
    foreign, unreadable, torn. ValueError when the file cannot be read or is no table."""
    table = _core.load_table(fspath(path))
    _forget_plans()
    return table


def load_table_text(name, text):
    """The same from memory; `name` is what explanations will call it."""
    table = _core.load_table_text(name, text)
    _forget_plans()
    return table


def unload_tables(keep_shipped=True):
    """Back to the shipped tables, or to none at all."""
    _core.unload_tables(keep_shipped)
    _forget_plans()


def block_choices(names):
    """Bars algorithms and variants by name for the whole process; replaces what was barred by an earlier call."""
    _core.block_choices(names)
    _forget_plans()


def conv2d(x, w, bias=None, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros", filter_mode="corr", post_op=None,
           residual=None, out=None, algorithm="auto", threads=0, accuracy="default"):
    """y[n,k,p,q] = post(bias[k] + sum_{c,r,s} xpad[n, c, p*stride + r*dilation, q*stride + s*dilation] * w[k,c,r,s])

    x (b, ic, i0, i1), w (oc, ic/groups, f0, f1), bias (oc); returns y (b, oc, o0, o1), which lies in memory as x does.
    stride and dilation: a number or (rows, columns). padding: a number, (rows, columns), (top, bottom, left, right), "valid",
    "same" (o = ceil(i / stride)) or "full". padding_mode: "zeros", "constant:V", "reflect", "symmetric", "replicate", "circular",
    or NumPy's "constant", "edge", "wrap" and scipy.ndimage's "nearest", "mirror", "grid-mirror", ... (whose "reflect" is "symmetric"),
    scipy.signal's "fill" and "symm".
    filter_mode: "corr", or "conv" for flipped filters. post_op: "relu", "clamp:LO,HI"; residual, of y's shape, is added before.
    """
    x, layout = _image("x", x)
    w = _filters(w)
    groups = _whole("groups", groups)
    _given("out", out, filled=True)
    if residual is not None:
        residual, _ = _image("residual", residual, layout)
    named = padding if isinstance(padding, str) else ""
    if named not in ("", "valid", "same", "full"):
        raise ValueError(f"padding is '{named}'; it must be numbers, valid, same or full")
    if w.shape[1] * groups != x.shape[1]:
        raise ValueError(f"w has {w.shape[1]} input channels in each of {groups} groups, but x has {x.shape[1]} channels")
    plan = _conv2d_plan(x.shape, w.shape, _two("stride", stride), (0, 0, 0, 0) if named else _four("padding", padding), named, _two("dilation", dilation), groups,
                        _padding_mode(padding_mode), _word("filter_mode", filter_mode, ("corr", "conv")), layout, residual is not None,
                        "" if post_op is None else _word("post_op", post_op, ("relu", "clamp:LO,HI")), algorithm, threads, accuracy)
    return plan.execute(input=x, filters=w, bias=_bias(bias), residual=residual, output=out)


@_kept(256)
def _conv2d_plan(x, w, stride, padding, named, dilation, groups, padding_mode, filter_mode, layout, residual, post_op, algorithm, threads, accuracy):
    (b, ic, i0, i1), (oc, _, f0, f1) = x, w
    return _plan(f"fwd b{b} ic{ic} i{i0}x{i1} oc{oc} f{f0}x{f1} s{_by('stride', stride)} p{','.join(map(str, padding))} d{_by('dilation', dilation)} g{groups} "
                 f"{padding_mode} {filter_mode} {layout} {'residual' * residual} {post_op}", named, algorithm, threads, accuracy)


def conv_transpose2d(x, w, bias=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1, out=None, algorithm="auto",
                     threads=0, accuracy="default"):
    """PyTorch's transposed convolution: o = (i - 1)*stride - 2*padding + dilation*(f - 1) + output_padding + 1 in each axis.

    x (b, ic, i0, i1), w (ic, oc/groups, f0, f1), bias (oc); returns y (b, oc, o0, o1), which lies in memory as x does.
    stride, padding, output_padding and dilation: a number or (rows, columns).
    """
    x, layout = _image("x", x)
    w = _filters(w)
    _given("out", out, filled=True)
    if w.shape[0] != x.shape[1]:
        raise ValueError(f"w has {w.shape[0]} input channels, but x has {x.shape[1]}")
    problem = Problem.transposed(x.shape, w.shape, stride=_two("stride", stride), padding=_two("padding", padding),
                                 output_padding=_two("output_padding", output_padding), dilation=_two("dilation", dilation),
                                 groups=_whole("groups", groups), layout=layout)
    plan = _plan(problem, "", algorithm, threads, accuracy)
    return plan.execute(grad_output=x, filters=w, bias=_bias(bias), grad_input=out)


def unfold(x, filter_size, *, stride=1, padding=0, dilation=1, padding_mode="zeros", out=None, threads=0):
    """The patches of x as columns (im2col): out[n, c*f0*f1 + r*f1 + s, p*o1 + q] = xpad[n, c, p*stride + r*dilation, q*stride + s*dilation]

    x (b, ic, i0, i1); returns PyTorch's (b, ic*f0*f1, o0*o1), or fills `out`. filter_size, stride, dilation: a number or
    (rows, columns); padding, padding_mode: as in conv2d.
    """
    x, layout = _image("x", x)
    _given("out", out, filled=True)
    problem = _columns("unfold", x.shape, layout, filter_size, stride, padding, dilation, padding_mode)
    plan = _plan(problem[0], problem[1], "auto", threads, "default")
    b, ic, taps, pixels = plan.problem.column_shape
    if out is None:
        out = np.empty((b, ic * taps, pixels), np.float32)
    plan._execute(input=x, output=_split(_array("out", out, 3), "out", ic, taps))
    return out


def fold(columns, size, filter_size, *, stride=1, padding=0, dilation=1, padding_mode="zeros", out=None, threads=0):
    """The adjoint of unfold (col2im): each pixel is the sum of the column elements that unfold would have copied it to.

    columns (b, ic*f0*f1, o0*o1), size (i0, i1); returns (b, ic, i0, i1), or fills `out`.
    """
    columns = _array("columns", columns, 3)
    _given("out", out, filled=True)
    f0, f1 = _two("filter_size", filter_size)
    if f0 * f1 < 1 or columns.shape[1] % (f0 * f1):
        raise ValueError(f"columns has {columns.shape[1]} rows; that is no multiple of the filter's {f0}x{f1}")
    if min(columns.strides) < 0 or columns.strides[2] != columns.itemsize:
        columns = np.ascontiguousarray(columns)
    shape = (columns.shape[0], columns.shape[1] // (f0 * f1), *_two("size", size))
    layout = "nchw"
    if out is not None:
        image = _array("out", out, 4)
        layout = _layout(image.shape, [s / image.itemsize for s in image.strides]) or "nchw"
    problem = _columns("fold", shape, layout, (f0, f1), stride, padding, dilation, padding_mode)
    plan = _plan(problem[0], problem[1], "auto", threads, "default")
    return plan.execute(input=_split(columns, "columns", shape[1], f0 * f1), output=out)


def _columns(operation, shape, layout, filter_size, stride, padding, dilation, padding_mode):
    """The problem of unfold or fold, and the padding's name."""
    named = padding if isinstance(padding, str) else ""
    if named not in ("", "valid", "same", "full"):
        raise ValueError(f"padding is '{named}'; it must be numbers, valid, same or full")
    pads = (0,) * 4 if named else _four("padding", padding)
    b, ic, i0, i1 = shape
    return (f"{operation} b{b} ic{ic} i{i0}x{i1} oc1 f{_by('filter_size', filter_size)} s{_by('stride', stride)} p{','.join(map(str, pads))} "
            f"d{_by('dilation', dilation)} {_padding_mode(padding_mode)} {layout}", named)


def _split(columns, name, channels, taps):
    """(b, ic*taps, pixels) as (b, ic, taps, pixels), a view."""
    b, rows, pixels = columns.shape
    if rows != channels * taps:
        raise ValueError(f"{name} has shape {columns.shape}; the problem needs {channels * taps} rows")
    s0, s1, s2 = columns.strides
    return np.lib.stride_tricks.as_strided(columns, (b, channels, taps, pixels), (s0, s1 * taps, s1, s2), writeable=columns.flags.writeable)


@_kept(256)
def _plan(problem, padding, algorithm, threads, accuracy):
    if padding:
        problem = getattr(Problem(problem), padding)()
    return Plan(problem, algorithm=algorithm, threads=threads, accuracy=accuracy, packs_each_time=True)


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


def _given(name, array, filled=False, needed=False):
    """Refuses what the bindings would refuse with their signature only. None is an argument left out, unless it is needed."""
    if array is None and not needed:
        return
    if not isinstance(array, np.ndarray):
        if not hasattr(array, "__dlpack__"):
            raise ValueError(f"{name} is {type(array).__name__}; it must be a NumPy array or speak DLPack")
    elif filled and not array.flags.writeable:
        raise ValueError(f"{name} is read-only; it is to be filled")


def _array(name, array, rank, dtype=np.float32):
    _given(name, array, needed=True)
    if not isinstance(array, np.ndarray):
        array = np.from_dlpack(array)
    if array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype}; it must be {np.dtype(dtype)}")
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


_PADDING_MODES = ("zeros", "constant:V", "reflect", "symmetric", "replicate", "circular")
# SciPy's and NumPy's names, as the command takes them. SciPy's reflect is not NumPy's, PyTorch's and ours: that is its mirror.
_OTHER_MODES = {"constant": "zeros", "grid-constant": "zeros", "nearest": "replicate", "edge": "replicate", "mirror": "reflect",
                "grid-mirror": "symmetric", "wrap": "circular", "grid-wrap": "circular", "fill": "zeros", "symm": "symmetric"}


def _padding_mode(value):
    try:
        return _OTHER_MODES.get(value) or _word("padding_mode", value, _PADDING_MODES)
    except (TypeError, ValueError):
        raise ValueError(f"padding_mode is {value!r}; it must be zeros, constant:V, reflect (edge not repeated: SciPy's mirror, OpenCV's REFLECT_101), "
                         "symmetric (edge repeated: SciPy's reflect, grid-mirror and symm, OpenCV's REFLECT), replicate (nearest, edge) or circular "
                         "(wrap)") from None


def _word(name, value, known):
    """One word of a problem's text, whose value is the library's to read."""
    if isinstance(value, str) and value in known:
        return value
    names = [k.split(":")[0] for k in known]
    if not isinstance(value, str) or len(value.split()) != 1 or value.split(":")[0] not in names:
        raise ValueError(f"{name} is {value!r}; it must be {', '.join(known[:-1])} or {known[-1]}")
    return value


def _numbers(name, value, wanted):
    """A number or several, NumPy's too, as ints. Ints stay as they are: within torch.compile they may be symbols."""
    if isinstance(value, int):
        return (value,)
    several = (value,) if hasattr(value, "__index__") and not hasattr(value, "__len__") else value
    try:
        return tuple(v if isinstance(v, int) else index(v) for v in several)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; it must be {wanted}") from None


def _whole(name, value):
    try:
        return index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; it must be a whole number") from None


def _two(name, value):
    if type(value) is int:
        return (value, value)
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return value
    wanted = "a number or (rows, columns)"
    numbers = _numbers(name, value, wanted)
    if len(numbers) not in (1, 2):
        raise ValueError(f"{name} is {value!r}; it must be {wanted}")
    return numbers * 2 if len(numbers) == 1 else numbers


def _by(name, value):
    return "{}x{}".format(*_two(name, value))


def _four(name, value):
    if type(value) is int:
        return (value,) * 4
    if type(value) is tuple and len(value) == 2 and type(value[0]) is type(value[1]) is int:
        return (value[0], value[0], value[1], value[1])
    numbers = _numbers(name, value, "a number, (rows, columns) or (top, bottom, left, right)")
    if len(numbers) == 4:
        return numbers
    rows, columns = _two(name, numbers)
    return (rows, rows, columns, columns)


# ---------------------------------------------------------------------------------------------------------- spectral product
# order "bijc": x (b, i0, i1h, ic), w (i0, i1h, ic, oc), y (b, i0, i1h, oc); "bcij": x (b, ic, i0, i1h), w (oc, ic, i0, i1h), y (b, oc, i0, i1h).


class SpectralPlan(_core.SpectralPlan):
    """A product of half spectra, a SpectralProblem or its one-line form, e.g. "spectral b128 ic32 i28x15 oc64 bwd-data bcij".

    Keywords: threads (0: all; results do not depend on it), variant.
    """

    def __init__(self, problem, **options):
        super().__init__(SpectralProblem(problem) if isinstance(problem, str) else problem, **options)

    def pack_filters(self, filters):
        """Filter spectra, once for many calls of execute."""
        return self._pack_filters(_indexed("filters", filters, self.problem.order, True))

    def execute(self, *, input=None, filters=None, output=None, grad_output=None, grad_input=None, grad_filters=None, accumulate=False):
        """Computes the product and returns its result, which is a new array unless one is given to be filled.

            fwd           input, filters -> output               y = sum_ic x w
            bwd-data      grad_output, filters -> grad_input     gx = sum_oc gy conj(w)
            bwd-filters   input, grad_output -> grad_filters     gw = sum_b conj(x) gy

        Arrays are complex64 in the problem's order; filters may be what pack_filters returned. accumulate adds to the array given.
        """
        problem, operation, order = self.problem, self.problem.operation, self.problem.order
        name, given, shape = {"fwd": ("output", output, problem.output_shape), "bwd-data": ("grad_input", grad_input, problem.input_shape),
                              "bwd-filters": ("grad_filters", grad_filters, problem.filter_shape)}[operation]
        if given is None and accumulate:
            raise ValueError(f"accumulate adds to {name}, and none is given")
        _given(name, given, filled=True)
        result = np.empty(shape, np.complex64) if given is None else _array(name, given, 4, np.complex64)
        if filters is not None and not isinstance(filters, PackedFilters):
            filters = _indexed("filters", filters, order, True)
        self._execute(input=None if input is None else _indexed("input", input, order, False), filters=filters,
                      grad_output=None if grad_output is None else _indexed("grad_output", grad_output, order, False),
                      accumulate=accumulate, **{name: _transposed(result, order, operation == "bwd-filters")})
        return result


def spectral_product(x, w, *, order="bijc", out=None, accumulate=False, threads=0):
    """y[b,i0,i1h,oc] = sum_ic x[b,i0,i1h,ic] w[i0,i1h,ic,oc] on complex64 spectra, or with order "bcij"
    y[b,oc,i0,i1h] = sum_ic x[b,ic,i0,i1h] w[oc,ic,i0,i1h]; added to `out` when accumulate. Its gradients: SpectralPlan."""
    x, w = _array("x", x, 4, np.complex64), _array("w", w, 4, np.complex64)
    plan = _spectral_plan("fwd", *_spectral_sizes(x.shape, w.shape, order), threads)
    return plan.execute(input=x, filters=w, output=out, accumulate=accumulate)


def rfft2(x, *, order="bijc", threads=0):
    """Half spectra of images x (b, c, i0, i1), as np.fft.rfft2 has them: (b, i0, i1//2 + 1, c), or with "bcij" (b, c, i0, i1//2 + 1)."""
    x = np.ascontiguousarray(_array("x", x, 4))
    b, c, h, w = x.shape
    half = w // 2 + 1
    spectra = np.empty((b, c, h, half) if order == "bcij" else (b, h, half, c), np.complex64)
    _transform(h, w, order, threads)._forward(x, spectra, b, c)
    return spectra


def irfft2(spectra, width, *, order="bijc", threads=0):
    """Images (b, c, i0, width) of half spectra, the inverse of rfft2; np.fft.irfft2, which reads of columns 0 and width/2 only what the
    spectrum of a real image can have there."""
    spectra = np.ascontiguousarray(_array("spectra", spectra, 4, np.complex64))
    (b, c, h, half) = spectra.shape if order == "bcij" else (spectra.shape[0], spectra.shape[3], *spectra.shape[1:3])
    if half != width // 2 + 1:
        raise ValueError(f"spectra have {half} columns; images {width} wide have {width // 2 + 1}")
    images = np.empty((b, c, h, width), np.float32)
    _transform(h, width, order, threads)._inverse(spectra, images, b, c)
    return images


def filter_spectra(w, size, *, padding=0, dilation=1, filter_mode="corr", order="bijc", threads=0):
    """Spectra of filters w (oc, ic, f0, f1) for images of `size` (i0, i1), such that irfft2(spectral_product(rfft2(x), them), i1) is
    conv2d(x, w, padding_mode="circular") with the same padding, dilation and filter_mode: its first rows and columns where that is smaller."""
    w = np.ascontiguousarray(_array("w", w, 4))
    (oc, ic, f0, f1), (h, width) = w.shape, _two("size", size)
    half = width // 2 + 1
    problem = Problem(f"ic{ic} i{h}x{width} oc{oc} f{f0}x{f1} p{','.join(map(str, _four('padding', padding)))} d{_by('dilation', dilation)} "
                      f"{_word('filter_mode', filter_mode, ('corr', 'conv'))} circular")
    spectra = np.empty((oc, ic, h, half) if order == "bcij" else (h, half, ic, oc), np.complex64)
    _transform(h, width, order, threads)._filters(problem, w, spectra)
    return spectra


@lru_cache(maxsize=256)
def _transform(height, width, order, threads):
    return _core.SpectralTransform(height, width, order, threads)


@_kept(256)
def _spectral_plan(operation, batch, ic, height, half_width, oc, order, threads):
    words = "" if operation == "fwd" else operation
    return SpectralPlan(f"spectral b{batch} ic{ic} i{height}x{half_width} oc{oc} {words} {order}", threads=threads)


def _spectral_sizes(x, w, order):
    """(batch, ic, height, half_width, oc, order) of the shapes of x and w."""
    if order not in ("bijc", "bcij"):
        raise ValueError(f"order is '{order}'; it must be bijc or bcij")
    b, ic, h, half = x if order == "bcij" else (x[0], x[3], x[1], x[2])
    oc, wic, wh, whalf = w if order == "bcij" else (w[3], w[2], w[0], w[1])
    if (wic, wh, whalf) != (ic, h, half):
        raise ValueError(f"x has shape {tuple(x)} and w {tuple(w)}; in order {order} their channels and frequencies differ")
    return b, ic, h, half, oc, order


def _transposed(array, order, filters):
    """Indexed (n, channel, row, column), filters (oc, ic, row, column): a view."""
    return array if order == "bcij" else array.transpose(3, 2, 0, 1) if filters else array.transpose(0, 3, 1, 2)


def _indexed(name, array, order, filters):
    """So too, copied only where the library cannot read it: positive strides, the last one 1, rows without gaps."""
    array = _array(name, array, 4, np.complex64)
    size, strides, item = array.shape, array.strides, array.itemsize
    row, column = (0, 1) if filters and order == "bijc" else (1, 2) if order == "bijc" else (2, 3)
    gap = size[row] > 1 and size[column] > 1 and strides[row] != size[column] * strides[column]
    if gap or min(strides) <= 0 or (size[3] > 1 and strides[3] != item):
        array = np.ascontiguousarray(array)
    return _transposed(array, order, filters)
