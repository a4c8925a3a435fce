"""fourfold in PyTorch, in float32 on the CPU and on CUDA: operators with autograd, layers, and a swap of a model's layers.

    print(fourfold.torch.replace(model))       # nn.Conv2d, nn.ConvTranspose2d, nn.Unfold and nn.Fold now compute by fourfold; what not, and why

    layer = fourfold.torch.Conv2d(64, 64, 3, padding=1)      # PyTorch's arguments and state_dict

    layer = fourfold.torch.SpectralProduct(1, 8, (28, 28))   # trained filters on half spectra, without leaving the Fourier domain

The operators are torch.ops.fourfold.conv2d, conv2d_backward_data (also the transposed convolution), conv2d_backward_weight (and
conv2d_backward_weight_bias, with the bias's gradient in the same execution), spectral_product, spectral_backward_data and
spectral_backward_filters, unfold and fold. The products are bilinear: each operator's gradients are the other two of its three, its tangents
are its own, so derivatives of any order work, in backward mode and in forward mode (torch.func.jvp, torch.autograd.forward_ad); unfold
and fold are linear, and each other's gradients. All are registered through torch.library, with shapes for torch.compile. Tensors are read
where they lie, contiguous or channels_last; any other memory is copied first. Plans are kept by problem, the last 1,024 of them; threads
are torch.get_num_threads(). Where no mode, transform, autocast, tracer or profiler listens, calls pass PyTorch's dispatcher by. The layers
compute by conv2d_inference and conv_transpose2d_inference, which on the CPU keep packed filters, where no gradient is asked for; everything
else packs them in each call. Forward mode needs private names of PyTorch: a version without them has everything else.

Tensors on CUDA are computed on their current stream, by a build with CUDA; nothing waits, and the workspace is PyTorch's allocator's. Their
calls are all dispatched. Spectral products are the CPU's alone.
"""

import functools
import threading
import weakref
from dataclasses import dataclass, field
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.compiler import is_compiling

from . import Plan, _by, _caches, _core, _four, _kept, _layout, _padding_mode, _problem, _reads, _spectral_plan, _spectral_sizes, _two
from ._core import KeptFilters, TorchCalls

__all__ = ["Conv2d", "ConvTranspose2d", "Fold", "Report", "SpectralProduct", "Unfold", "conv2d", "conv_transpose2d", "fold", "replace", "spectral_product",
           "unfold"]


def _missing(*names):
    """Those of PyTorch's private names that this version does not have."""
    def has(name):
        try:
            return attrgetter(name)(torch) is not None
        except AttributeError:
            return False
    return ["torch." + name for name in names if not has(name)]


_NO_FORWARD_MODE = _missing("_functorch.utils.enable_single_level_autograd_function", "autograd.function._SingleLevelFunction",
                            "autograd.forward_ad._current_level", "autograd.forward_ad._set_fwd_grad_enabled", "_C._AutoDispatchBelowAutograd",
                            "_C._after_autograd_keyset", "_C._are_functorch_transforms_active")
_NOTHING_EAGER = _missing("_C._dispatch_tls_local_include_set", "_C._dispatch_tls_local_exclude_set", "_C.DispatchKeySet.raw_repr",
                          "_C._len_torch_function_stack", "autograd.forward_ad._current_level", "autograd.profiler._is_profiler_enabled")
if not _NO_FORWARD_MODE:
    from torch._functorch.utils import enable_single_level_autograd_function


def _refuse_tangents(tensors):
    if any(isinstance(t, Tensor) and forward_ad.unpack_dual(t).tangent is not None for t in tensors):
        raise NotImplementedError(f"forward mode needs {', '.join(_NO_FORWARD_MODE)}, which PyTorch {torch.__version__} does not have; "
                                  "backward mode works")


@_kept(1024)
def _plan(operation, layout, batch, channels, size, out_channels, filter_size, stride, padding, dilation, groups, padding_mode, threads,
          packs_each_time=True, device=None):
    problem = (f"{operation} b{batch} ic{channels} i{_by('size', size)} oc{out_channels} f{_by('filters', filter_size)} "
               f"s{_by('stride', stride)} p{','.join(map(str, padding))} d{_by('dilation', dilation)} g{groups} "
               f"{_padding_mode(padding_mode)} {layout}")
    return Plan(problem, threads=threads, packs_each_time=packs_each_time) if device is None else _DevicePlan(problem, device)


def _gpu_of(t):
    """fourfold's name of the tensor's GPU; None for the CPU."""
    return f"cuda:{t.device.index or 0}" if t.device.type == "cuda" else None


def _stream_of(t):
    return torch.cuda.current_stream(t.device).cuda_stream


class _DevicePlan:
    """A GPU's plan. The allocator gives the workspace's memory, and that of copies, to others only in the stream's order."""

    def __init__(self, problem, device):
        self.plan = _core.DevicePlan(_problem(problem), _core.Options(device=device, packs_each_time=True))
        p = self.plan.problem
        x, w, y, columns = p.input_shape, p.filter_shape, p.output_shape, p.column_shape
        *self.shapes, self.result = {"fwd": dict(input=x, filters=w, bias=y[1:2], output=y), "bwd-data": dict(grad_output=y, filters=w, bias=x[1:2], grad_input=x),
                                     "bwd-filters": dict(input=x, grad_output=y, grad_filters=w), "unfold": dict(input=x, output=columns),
                                     "fold": dict(input=columns, output=x)}[p.operation].items()
        self.format = _FORMATS["nchw" if p.operation in ("bwd-filters", "unfold") else p.layout]

    def compute(self, copies, arguments, with_bias=False):
        """The result; of bwd-filters with_bias also the bias's gradient."""
        tensors = {}
        for (name, shape), t, format in zip(self.shapes, arguments, copies):
            if t is not None and tuple(t.shape) != shape:
                raise ValueError(f"{name} has shape {tuple(t.shape)}; the problem needs {shape}")
            tensors[name] = t if format is None else t.contiguous(memory_format=format)
        name, shape = self.result
        device, stream = arguments[0].device, _stream_of(arguments[0])
        result = tensors[name] = torch.empty(shape, dtype=torch.float32, device=device, memory_format=self.format)
        workspace = torch.empty(max(1, self.plan.workspace_bytes), dtype=torch.uint8, device=device)
        bias = tensors.pop("bias", None)
        grad_bias = torch.empty(shape[:1], dtype=torch.float32, device=device) if with_bias else None
        self.plan.execute(stream, workspace.data_ptr(), bias=0 if bias is None else bias.data_ptr(), grad_bias=grad_bias.data_ptr() if with_bias else 0,
                          **{name: (t.data_ptr(), t.stride()) for name, t in tensors.items()})
        return (result, grad_bias) if with_bias else result


def _check(**tensors):
    for name, t in tensors.items():
        if t is None:
            continue
        if t.dtype != torch.float32:
            raise NotImplementedError(f"{name} is {t.dtype}; fourfold.torch computes torch.float32")
        if t.device.type not in ("cpu", "cuda", "meta"):
            raise NotImplementedError(f"{name} is on {t.device}; fourfold.torch computes on the CPU and on CUDA")
        if t.device != next(iter(tensors.values())).device:
            raise ValueError(f"{name} is on {t.device}, and {next(iter(tensors))} on {next(iter(tensors.values())).device}; they must be on one device")
        rank = _RANKS.get(name, 4)
        if t.dim() != rank:
            raise ValueError(f"{name} has shape {tuple(t.shape)}; it must have {rank} dimensions")


_RANKS = {"bias": 1, "columns": 3}


def _check_channels(name, channels, expected):
    """Of an empty batch, which no plan sees."""
    if channels != expected:
        raise ValueError(f"{name} has {channels} channels; it must have {expected}")


def _layout_of(t):
    return _layout(t.shape, t.stride()) or "nchw"


def _copied(t, layout):
    """The memory format to copy it to, where it does not lie in that layout; else None."""
    return None if _reads(t.shape, t.stride(), layout) else _FORMATS[layout]


_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def _empty(like, shape):
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_FORMATS[_layout_of(like)])


def _out_size(size, filters, stride, padding, dilation):
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    return [(size[a] + pads[a] - dilation[a] * (filters[a] - 1) - 1) // stride[a] + 1 for a in range(2)]


def _without_surplus(input, padding):
    """Rows and columns at the end, as many as negative padding says, which nothing reads."""
    top, bottom, left, right = padding
    if min(bottom, right) >= 0:
        return input, tuple(padding)
    return input[:, :, :input.shape[2] + min(0, bottom), :input.shape[3] + min(0, right)], (top, max(0, bottom), left, max(0, right))


def _copied_filters(weight):
    """They are read in any order of memory with positive strides."""
    return None if min(weight.stride()) > 0 else torch.contiguous_format


def _copied_bias(bias):
    return None if bias is None or bias.is_contiguous() else torch.contiguous_format


_kept_weights = {}  # a weak reference and the KeptFilters, by the weight's id


def _kept_filters(weight):
    kept = _kept_weights.get(id(weight))
    if kept is None or kept[0]() is not weight:
        key = id(weight)
        if kept is not None:
            _kept_weights.pop(key, None)
        kept = _kept_weights.setdefault(key, (weakref.ref(weight, lambda _: _kept_weights.pop(key, None)), KeptFilters()))
    return kept[1]


# ------------------------------------------------------------------------------------------------------------- operators
# padding is top, bottom, left, right; bottom and right may be negative, as of transposed convolutions with much output padding.
# Of an empty batch results are empty, and the filters' gradient is zero. Autograd never enters an implementation.
#
# What a call is, is worked out once (_calls.keep): equal ones, of tensors that lie alike, are found again by their arguments, in C++. Where
# nothing stands between a call and its kernel they do not pass PyTorch's dispatcher either, which costs more than small convolutions.


def _quiet():
    """The dispatcher's keys of a thread in which nothing listens to operators, in both of autograd's modes. [] where this PyTorch does not
    tell: then every call is dispatched."""
    states = []
    if _NOTHING_EAGER:
        return states

    def look():
        for mode in (torch.no_grad, torch.inference_mode):
            with mode():
                states.append((torch._C._dispatch_tls_local_include_set().raw_repr(), torch._C._dispatch_tls_local_exclude_set().raw_repr()))

    thread = threading.Thread(target=look)  # the caller's may be in any mode
    thread.start()
    thread.join()
    return states


def _torch():
    """What TorchCalls calls and looks at."""
    names = dict(Tensor=Tensor, Parameter=nn.Parameter, empty=torch.empty, float32=torch.float32, strided=torch.strided, cpu=torch.device("cpu"),
                 contiguous_format=torch.contiguous_format, channels_last=torch.channels_last, is_neg=Tensor.is_neg,
                 is_grad_enabled=torch.is_grad_enabled, get_num_threads=torch.get_num_threads, kept_filters=_kept_filters,
                 exchange=getattr(Tensor, "__dlpack_c_exchange_api__", None))
    if not _NOTHING_EAGER:
        names |= dict(included=torch._C._dispatch_tls_local_include_set, excluded=torch._C._dispatch_tls_local_exclude_set,
                      function_modes=torch._C._len_torch_function_stack, forward_ad=forward_ad, profiler=torch.autograd.profiler)
    return names


_calls = TorchCalls(_torch(), _quiet())
_caches.append(_calls)


def _planned(plan, copies, operation, *arguments):
    """The result of a call by this plan, which equal calls are computed by from now on, those on the CPU. copies: for each tensor None or a memory format."""
    if isinstance(plan, _DevicePlan):
        return plan.compute(copies, arguments, operation == BACKWARD_WEIGHT_BIAS)
    return _calls.keep(operation, arguments, plan, operation in (CONV2D_INFERENCE, TRANSPOSED_INFERENCE), copies, operation == BACKWARD_WEIGHT_BIAS)


CONV2D, BACKWARD_DATA, BACKWARD_WEIGHT, CONV2D_INFERENCE, TRANSPOSED_INFERENCE, BACKWARD_WEIGHT_BIAS = range(6)


def _forward(operation, input, weight, bias, stride, padding, dilation, groups, padding_mode):
    result = _calls.again(operation, (input, weight, bias, stride, padding, dilation, groups, padding_mode))
    if result is not None:
        return result
    _check(input=input, weight=weight, bias=bias)
    layout, gpu = _layout_of(input), _gpu_of(input)
    read, pads = _without_surplus(input, padding)
    plan = _plan("fwd", layout, max(1, input.shape[0]), input.shape[1], tuple(read.shape[2:]), weight.shape[0], tuple(weight.shape[2:]),
                 tuple(stride), pads, tuple(dilation), groups, padding_mode, torch.get_num_threads(), operation == CONV2D or gpu is not None, gpu)
    if input.shape[0] == 0:
        _check_channels("input", input.shape[1], weight.shape[1] * groups)
        return _conv2d_meta(input, weight, bias, stride, padding, dilation, groups, padding_mode)
    return _planned(plan, (_copied(read, layout), _copied_filters(weight), _copied_bias(bias)), operation, read, weight, bias, stride, pads, dilation, groups,
                    padding_mode)


def _conv2d_meta(input, weight, bias, stride, padding, dilation, groups, padding_mode):
    size = _out_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    return _empty(input, [input.shape[0], weight.shape[0], *size])


def _transposed(operation, grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode):
    result = _calls.again(operation, (grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode))
    if result is not None:
        return result
    _check(grad_output=grad_output, weight=weight, bias=bias)
    layout, gpu = _layout_of(grad_output), _gpu_of(grad_output)
    plan = _plan("bwd-data", layout, max(1, grad_output.shape[0]), weight.shape[1] * groups, tuple(size), weight.shape[0], tuple(weight.shape[2:]),
                 tuple(stride), tuple(padding), tuple(dilation), groups, padding_mode, torch.get_num_threads(), operation == BACKWARD_DATA or gpu is not None,
                 gpu)
    if grad_output.shape[0] == 0:
        _check_channels("input", grad_output.shape[1], weight.shape[0])
        return _backward_data_meta(grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode)
    return _planned(plan, (_copied(grad_output, layout), _copied_filters(weight), _copied_bias(bias)), operation, grad_output, weight, bias, size, stride, padding,
                    dilation, groups, padding_mode)


def _backward_data_meta(grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode):
    return _empty(grad_output, [grad_output.shape[0], weight.shape[1] * groups, *size])


def _filter_gradient(operation, input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode):
    result = _calls.again(operation, (input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode))
    if result is not None:
        return result
    _check(input=input, grad_output=grad_output)
    if input.shape[0] == 0:
        zeros = [t.zero_() for t in _weight_and_bias_meta(input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode)]
        return tuple(zeros) if operation == BACKWARD_WEIGHT_BIAS else zeros[0]
    layout = _layout_of(input)
    read, pads = _without_surplus(input, padding)
    plan = _plan("bwd-filters", layout, input.shape[0], input.shape[1], tuple(read.shape[2:]), grad_output.shape[1], tuple(filter_size),
                 tuple(stride), pads, tuple(dilation), groups, padding_mode, torch.get_num_threads(), device=_gpu_of(input))
    return _planned(plan, (_copied(read, layout), _copied(grad_output, layout)), operation, read, grad_output, filter_size, stride, pads, dilation,
                    groups, padding_mode)


def _backward_weight_meta(input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode):
    return input.new_empty([grad_output.shape[1], input.shape[1] // groups, *filter_size])


def _weight_and_bias_meta(input, grad_output, *rest):
    return _backward_weight_meta(input, grad_output, *rest), input.new_empty([grad_output.shape[1]])


_library = torch.library.Library("fourfold", "FRAGMENT")


class _Operator:
    """One of torch.ops.fourfold: kernel computes it, fake its result's shape; number: its calls are kept under it. recorded, set below, is a
    call with a node for autograd."""

    def __init__(self, schema, kernel, fake, number=None, devices=("CPU",), results="Tensor"):
        name = schema.split("(")[0]
        _library.define(f"{schema} -> {results}", tags=(torch.Tag.pt2_compliant_tag,))
        for device in devices:
            _library.impl(name, _uncompiled(kernel), device)
        torch.library.register_fake(f"fourfold::{name}", fake, lib=_library)
        self.name, self.overload, self.kernel, self.number = name, getattr(torch.ops.fourfold, name).default, kernel, number
        self.tensors = sum("Tensor" in str(a.type) for a in self.overload._schema.arguments)  # they come first

    def __call__(self, *arguments):
        if is_compiling():
            return self.overload(*arguments)
        result = NotImplemented if self.number is None else _calls.eager(self.number, self.kernel, arguments)
        if _NO_FORWARD_MODE and result is NotImplemented:
            _refuse_tangents(arguments)
            result = None
        return self.recorded(*arguments) if result is None else self.overload(*arguments) if result is NotImplemented else result


_uncompiled = getattr(torch, "_disable_dynamo", lambda kernel: kernel)


def _in_float32(operator):
    for device in ("cpu", "cuda"):
        torch.library.register_autocast(f"fourfold::{operator.name}", device, torch.float32, lib=_library)  # what other layers left in bfloat16
    return operator


def _convolution_operator(number, name, tensors, kernel, fake, results="Tensor"):
    return _in_float32(_Operator(f"{name}({tensors}, SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups, str padding_mode)",
                                 functools.partial(kernel, number), fake, number, ("CPU", "CUDA"), results))


_IMAGE, _OUTPUT = "Tensor input, Tensor weight, Tensor? bias", "Tensor grad_output, Tensor weight, Tensor? bias, SymInt[] size"
_conv2d = _convolution_operator(CONV2D, "conv2d", _IMAGE, _forward, _conv2d_meta)
_backward_data = _convolution_operator(BACKWARD_DATA, "conv2d_backward_data", _OUTPUT, _transposed, _backward_data_meta)
_BOTH = "Tensor input, Tensor grad_output, SymInt[] filter_size"
_backward_weight = _convolution_operator(BACKWARD_WEIGHT, "conv2d_backward_weight", _BOTH, _filter_gradient, _backward_weight_meta)
_weight_and_bias = _convolution_operator(BACKWARD_WEIGHT_BIAS, "conv2d_backward_weight_bias", _BOTH, _filter_gradient, _weight_and_bias_meta,
                                         "(Tensor, Tensor)")
_conv2d_inference = _convolution_operator(CONV2D_INFERENCE, "conv2d_inference", _IMAGE, _forward, _conv2d_meta)
_transposed_inference = _convolution_operator(TRANSPOSED_INFERENCE, "conv_transpose2d_inference", _OUTPUT, _transposed, _backward_data_meta)


# ----------------------------------------------------------------------------------------------------------- gradients
# With F(x, w) = y, D(g, w) = gx and W(x, g) = gw: dF = (D(g, w), W(x, g)); for h of gx's shape dD = (F(h, w), W(h, g)); for v of
# gw's shape dW = (D(g, v), F(x, v)). Padded with a constant, F and W are affine in x, D is not: h, as a tangent of x, is padded with zeros.


def _linear(arguments):
    """The same arguments for a gradient or a tangent in x's place; the last is the padding mode."""
    *others, mode = arguments
    return (*others, "zeros" if mode.startswith("constant") else mode)


def _save(ctx, inputs):
    a, b, _, *ctx.arguments = inputs
    ctx.save_for_backward(a, b)
    ctx.size = a.shape[2:]


def _conv2d_gradients(ctx, g, need):
    x, w = ctx.saved_tensors
    gx = _backward_data(g, w, None, list(ctx.size), *ctx.arguments) if need[0] else None
    if need[1] and need[2]:
        gw, gb = _weight_and_bias(x, g, list(w.shape[2:]), *ctx.arguments)
    else:
        gw = _backward_weight(x, g, list(w.shape[2:]), *ctx.arguments) if need[1] else None
        gb = g.sum((0, 2, 3)) if need[2] else None
    return (gx, gw, gb) + (None,) * 5


def _backward_data_gradients(ctx, h, need):
    g, w = ctx.saved_tensors
    arguments = _linear(ctx.arguments[1:])  # without the size
    gg = _conv2d(h, w, None, *arguments) if need[0] else None
    gw = _backward_weight(h, g, list(w.shape[2:]), *arguments) if need[1] else None
    return (gg, gw, h.sum((0, 2, 3)) if need[2] else None) + (None,) * 6


def _backward_weight_gradients(ctx, v, need):
    x, g = ctx.saved_tensors
    gx = _backward_data(g, v, None, list(ctx.size), *ctx.arguments) if need[0] else None
    gg = _conv2d(x, v, None, *ctx.arguments) if need[1] else None
    return (gx, gg) + (None,) * 6


def _weight_and_bias_gradients(ctx, v, need):
    x, g = ctx.saved_tensors
    gx = _backward_data(g, v[0], None, list(ctx.size), *ctx.arguments) if need[0] else None
    gg = _conv2d(x, *v, *ctx.arguments) if need[1] else None
    return (gx, gg) + (None,) * 6


def _weight_and_bias_tangent(primals, tangents, rest):
    """The bias's gradient is linear in g alone, so the pair is not bilinear."""
    x, g = (p if t is None else forward_ad.make_dual(p, t, level=0) for p, t in zip(primals, tangents))
    return _backward_weight(x, g, *rest), g.sum((0, 2, 3))


# torch.library.register_autograd has no forward mode (tangents are dropped silently) and refuses torch.func.grad. So the kernel for autograd
# is our own. Like PyTorch's formulas in C++ it sees one level of torch.func's transforms at a time.

_PLAIN = {Tensor, nn.Parameter, type(None)}


def _may_have_tangents(tensors):
    """What forward_ad knows at once, outside torch.compile, which shows by the tensors' types or torch.func's levels."""
    return forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active() or any(type(t) not in _PLAIN for t in tensors)


def _unpacked(tensors):
    """The tensors without their tangents, and these, or None where there are none."""
    duals = [(None, None) if t is None else forward_ad.unpack_dual(t, level=0) for t in tensors]
    return zip(*duals) if any(tangent is not None for _, tangent in duals) else None


def _below(operator, keyset, arguments):
    with torch._C._AutoDispatchBelowAutograd():
        return operator.overload.redispatch(keyset & torch._C._after_autograd_keyset, *arguments)


def _needs_gradients(a, b=None, bias=None):
    return torch.is_grad_enabled() and (a.requires_grad or (b is not None and b.requires_grad) or (bias is not None and bias.requires_grad))


def _of_results(g):
    """The gradient of an operator's result, or those of its results."""
    return g[0] if len(g) == 1 else g


def _register_kernel(operator, kernel):
    for key in ("AutogradCPU", "AutogradCUDA", "AutogradMeta"):
        _library.impl(operator.name, kernel, key, with_keyset=True)


def _register_backward_mode(operator):
    """By what is public, for compiled code and for torch.ops, and for our functions, which torch.func's transforms can see."""
    gradients = lambda ctx, *g: operator.gradients(ctx, _of_results(g), ctx.needs_input_grad)
    save = lambda ctx, inputs, output: operator.save(ctx, inputs)
    torch.library.register_autograd(f"fourfold::{operator.name}", gradients, setup_context=save, lib=_library)
    members = {name: staticmethod(member) for name, member in dict(forward=operator.overload, setup_context=save, backward=gradients).items()}
    operator.recorded = type("Backward", (torch.autograd.Function,), members | {"generate_vmap_rule": True}).apply


def _register_autograd(operator, gradients, save, tangent=None):
    """Both modes of an operator linear in its tensor or bilinear in its first two, with gradients(ctx, g, need) of what save(ctx, arguments)
    kept; of another one by tangent(primals, tangents, rest), the dual results."""
    operator.gradients, operator.save = gradients, save
    if _NO_FORWARD_MODE:
        return _register_backward_mode(operator)
    tensors = operator.tensors

    class Backward(torch.autograd.function._SingleLevelFunction):
        @staticmethod
        def forward(ctx, keyset, *arguments):
            save(ctx, arguments)
            if keyset is None:
                return operator(*arguments)
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):  # for the levels of torch.func below this one
                return _below(operator, keyset, arguments)

        @staticmethod
        def backward(ctx, *g):
            return (None, *gradients(ctx, _of_results(g), ctx.needs_input_grad[1:]))

    def linear_tangent(primals, tangents, rest):
        return forward_ad.make_dual(operator(*primals, *rest), operator(*tangents, *rest), level=0)

    def bilinear_tangent(primals, tangents, rest):
        (a, b, *bias), (da, db, *dbias) = primals, tangents
        result = operator(a, b, *bias, *rest)
        none = [None] * len(bias)
        terms = [d[:, None, None].expand_as(result) for d in dbias if d is not None]
        if da is not None:
            terms.append(operator(da, b, *none, *_linear(rest)))
        if db is not None:
            terms.append(operator(a, db, *none, *rest))
        return forward_ad.make_dual(result, sum(terms[1:], terms[0]), level=0)

    with_tangent = tangent or (linear_tangent if tensors == 1 else bilinear_tangent)

    def kernel(keyset, *arguments):
        if _may_have_tangents(arguments[:tensors]) and (duals := _unpacked(arguments[:tensors])):
            return with_tangent(*duals, arguments[tensors:])
        if _needs_gradients(*arguments[:tensors]):
            with enable_single_level_autograd_function():
                return Backward.apply(keyset, *arguments)
        return _below(operator, keyset, arguments)

    operator.recorded = functools.partial(Backward.apply, None)
    _register_kernel(operator, kernel)


def _register_inference(operator, other):
    """Where derivatives are asked for all the same, the other operator, which has them, computes."""
    if _NO_FORWARD_MODE:
        return _register_autograd(operator, other.gradients, other.save)

    def kernel(keyset, *arguments):
        if _needs_gradients(*arguments[:3]) or (_may_have_tangents(arguments[:3]) and _unpacked(arguments[:3])):
            return other(*arguments)
        return _below(operator, keyset, arguments)

    operator.recorded = other
    _register_kernel(operator, kernel)


_register_autograd(_conv2d, _conv2d_gradients, _save)
_register_autograd(_backward_data, _backward_data_gradients, _save)
_register_autograd(_backward_weight, _backward_weight_gradients, _save)
_register_autograd(_weight_and_bias, _weight_and_bias_gradients, _save, _weight_and_bias_tangent)
_register_inference(_conv2d_inference, _conv2d)
_register_inference(_transposed_inference, _backward_data)


# ------------------------------------------------------------------------------------------------------- unfold and fold


def _columns_plan(operation, layout, image, kernel_size, stride, padding, dilation, gpu):
    """image: its shape."""
    return _plan(operation, layout, image[0], image[1], tuple(image[2:]), 1, tuple(kernel_size), tuple(stride), tuple(padding), tuple(dilation), 1, "zeros",
                 torch.get_num_threads(), device=gpu)


def _moved(plan, t, format):
    """What a plan of unfold or fold makes of its input."""
    if isinstance(plan, _DevicePlan):
        return plan.compute((format,), (t,))
    t = t.detach()
    result = t.new_empty(plan._result[1])
    plan._execute(input=t if format is None else t.contiguous(memory_format=format), output=result)
    return result


def _unfold_kernel(input, kernel_size, stride, padding, dilation):
    _check(input=input)
    if input.shape[0] == 0:
        return _unfold_meta(input, kernel_size, stride, padding, dilation)
    layout = _layout_of(input)
    plan = _columns_plan("unfold", layout, input.shape, kernel_size, stride, padding, dilation, _gpu_of(input))
    return _moved(plan, input, _copied(input, layout)).flatten(1, 2)


def _window_grid(size, kernel_size, stride, padding, dilation):
    """How many windows the padded image has in each axis."""
    rows, columns = _out_size(size, kernel_size, stride, padding, dilation)
    if rows < 1 or columns < 1:
        raise ValueError(f"a window of {tuple(kernel_size)}, dilated by {tuple(dilation)}, is larger than the padded image of {tuple(size)}")
    return rows, columns


def _unfold_meta(input, kernel_size, stride, padding, dilation):
    rows, columns = _window_grid(input.shape[2:], kernel_size, stride, padding, dilation)
    return input.new_empty([input.shape[0], input.shape[1] * kernel_size[0] * kernel_size[1], rows * columns])


def _fold_kernel(columns, size, kernel_size, stride, padding, dilation):
    _check(columns=columns)
    taps = kernel_size[0] * kernel_size[1]
    if taps < 1 or columns.shape[1] % taps:
        raise ValueError(f"columns has {columns.shape[1]} rows; that is no multiple of the kernel's {kernel_size[0]}x{kernel_size[1]}")
    if columns.shape[0] == 0:
        rows, across = _window_grid(size, kernel_size, stride, padding, dilation)
        if columns.shape[2] != rows * across:
            raise ValueError(f"columns has shape {tuple(columns.shape)}; images of {tuple(size)} have {rows}x{across} windows")
        return _fold_meta(columns, size, kernel_size, stride, padding, dilation)
    plan = _columns_plan("fold", "nchw", (columns.shape[0], columns.shape[1] // taps, *size), kernel_size, stride, padding, dilation, _gpu_of(columns))
    return _moved(plan, columns.contiguous().unflatten(1, (-1, taps)), None)


def _fold_meta(columns, size, kernel_size, stride, padding, dilation):
    return columns.new_empty([columns.shape[0], columns.shape[1] // (kernel_size[0] * kernel_size[1]), *size])


_WINDOWS = "SymInt[] kernel_size, SymInt[] stride, SymInt[] padding, SymInt[] dilation"
_unfold = _in_float32(_Operator(f"unfold(Tensor input, {_WINDOWS})", _unfold_kernel, _unfold_meta, devices=("CPU", "CUDA")))
_fold = _in_float32(_Operator(f"fold(Tensor columns, SymInt[] size, {_WINDOWS})", _fold_kernel, _fold_meta, devices=("CPU", "CUDA")))


def _save_image(ctx, inputs):
    image, *ctx.arguments = inputs
    ctx.size = image.shape[2:]


def _save_columns(ctx, inputs):
    _, _, *ctx.arguments = inputs


_register_autograd(_unfold, lambda ctx, g, need: (_fold(g, list(ctx.size), *ctx.arguments) if need[0] else None,) + (None,) * 4, _save_image)
_register_autograd(_fold, lambda ctx, h, need: (_unfold(h, *ctx.arguments) if need[0] else None,) + (None,) * 5, _save_columns)


# ------------------------------------------------------------------------------------------------------ spectral product
# With F(x, w) = x w, D(g, w) = g w^H and W(x, g) = x^H g, sums over channels or images understood, the gradients are those of the
# convolution, in PyTorch's convention for complex numbers: dF = (D(g, w), W(x, g)), dD = (F(h, w), W(h, g)), dW = (D(g, v), F(x, v)).


def _spectrum(name, t):
    """Dense and without a pending conjugation."""
    if t.dtype != torch.complex64:
        raise NotImplementedError(f"{name} is {t.dtype}; fourfold.torch multiplies torch.complex64")
    if t.device.type not in ("cpu", "meta"):
        raise NotImplementedError(f"{name} is on {t.device}; fourfold.torch computes on the CPU")
    if t.dim() != 4:
        raise ValueError(f"{name} has shape {tuple(t.shape)}; it must have 4 dimensions")
    return t.detach().resolve_conj().resolve_neg().contiguous()


def _spectral_forward_kernel(x, w, order):
    x, w = _spectrum("x", x), _spectrum("w", w)
    y = _spectral_forward_meta(x, w, order)
    if len(x) > 0:
        plan = _spectral_plan("fwd", *_spectral_sizes(x.shape, w.shape, order), torch.get_num_threads())
        plan._execute(input=_view(x, order), filters=_view(w, order, True), output=_view(y, order))
    return y


def _spectral_forward_meta(x, w, order):
    b, _, h, half, oc, _ = _spectral_sizes(x.shape, w.shape, order)
    return x.new_empty((b, oc, h, half) if order == "bcij" else (b, h, half, oc))


def _spectral_data_kernel(g, w, order):
    g, w = _spectrum("g", g), _spectrum("w", w)
    gx = _spectral_data_meta(g, w, order)
    if len(g) > 0:
        plan = _spectral_plan("bwd-data", *_spectral_sizes(gx.shape, w.shape, order), torch.get_num_threads())
        plan._execute(grad_output=_view(g, order), filters=_view(w, order, True), grad_input=_view(gx, order))
    return gx


def _spectral_data_meta(g, w, order):
    return g.new_empty((g.shape[0], w.shape[1], *g.shape[2:]) if order == "bcij" else (*g.shape[:3], w.shape[2]))


def _spectral_filters_kernel(x, g, order):
    x, g = _spectrum("x", x), _spectrum("g", g)
    gw = _spectral_filters_meta(x, g, order)
    if len(x) == 0:
        return gw.zero_()
    plan = _spectral_plan("bwd-filters", *_spectral_sizes(x.shape, gw.shape, order), torch.get_num_threads())
    plan._execute(input=_view(x, order), grad_output=_view(g, order), grad_filters=_view(gw, order, True))
    return gw


def _spectral_filters_meta(x, g, order):
    return x.new_empty((g.shape[1], x.shape[1], *x.shape[2:]) if order == "bcij" else (*x.shape[1:3], x.shape[3], g.shape[3]))


_spectral_forward = _Operator("spectral_product(Tensor x, Tensor w, str order)", _spectral_forward_kernel, _spectral_forward_meta)
_spectral_data = _Operator("spectral_backward_data(Tensor g, Tensor w, str order)", _spectral_data_kernel, _spectral_data_meta)
_spectral_filters = _Operator("spectral_backward_filters(Tensor x, Tensor g, str order)", _spectral_filters_kernel, _spectral_filters_meta)


def _view(t, order, filters=False):
    """As the library indexes it."""
    return t if order == "bcij" else t.permute(3, 2, 0, 1) if filters else t.permute(0, 3, 1, 2)


def _save_spectra(ctx, inputs):
    a, b, ctx.order = inputs
    ctx.save_for_backward(a, b)


def _bilinear(first, second):
    """The gradients first(g, a, b, order), second(g, a, b, order) of an operator of a and b."""
    def gradients(ctx, g, need):
        a, b = ctx.saved_tensors
        return first(g, a, b, ctx.order) if need[0] else None, second(g, a, b, ctx.order) if need[1] else None, None
    return gradients


_register_autograd(_spectral_forward, _bilinear(lambda g, x, w, o: _spectral_data(g, w, o), lambda g, x, w, o: _spectral_filters(x, g, o)), _save_spectra)
_register_autograd(_spectral_data, _bilinear(lambda h, g, w, o: _spectral_forward(h, w, o), lambda h, g, w, o: _spectral_filters(h, g, o)), _save_spectra)
_register_autograd(_spectral_filters, _bilinear(lambda v, x, g, o: _spectral_data(g, v, o), lambda v, x, g, o: _spectral_forward(x, v, o)), _save_spectra)


def spectral_product(x, w, order="bijc"):
    """y[b,i0,i1h,oc] = sum_ic x[b,i0,i1h,ic] w[i0,i1h,ic,oc] on complex64 half spectra; order "bcij": x (b, ic, i0, i1h), w (oc, ic, i0, i1h).
    Enter with torch.fft.rfft2 (for "bijc" then .permute(0, 2, 3, 1)), leave with torch.fft.irfft2."""
    return _spectral_forward(x, w, order)


class SpectralProduct(nn.Module):
    """A trained convolution, circular and with filters as large as the image, on half spectra: y = sum_ic x weight.

    size is that of the images (i0, i1); weight is complex64, (i0, i1//2 + 1, ic, oc), or with order "bcij" (oc, ic, i0, i1//2 + 1), and
    begins as the spectra of random 3x3 filters, drawn as nn.Conv2d draws them. Unlike Conv2d it keeps no packed filters under torch.no_grad():
    weight is as large as the packed form, and to compare it with a copy at every call would move as much memory as packing does.
    """

    def __init__(self, in_channels, out_channels, size, order="bijc"):
        super().__init__()
        self.in_channels, self.out_channels, self.size, self.order = in_channels, out_channels, _two("size", size), order
        if order not in ("bijc", "bcij"):
            raise ValueError(f"order is '{order}'; it must be bijc or bcij")
        height, width = self.size
        shape = (height, width // 2 + 1)
        self.weight = nn.Parameter(torch.empty((out_channels, in_channels, *shape) if order == "bcij" else (*shape, in_channels, out_channels), dtype=torch.complex64))
        self.reset_parameters()

    def reset_parameters(self):
        filters = torch.empty(self.out_channels, self.in_channels, min(3, self.size[0]), min(3, self.size[1]))
        nn.init.kaiming_uniform_(filters, a=5 ** 0.5)
        spectra = torch.fft.rfft2(filters, s=self.size)
        with torch.no_grad():
            self.weight.copy_(spectra if self.order == "bcij" else spectra.permute(2, 3, 1, 0))

    def forward(self, x):
        return _spectral_forward(x, self.weight, self.order)

    def extra_repr(self):
        return f"{self.in_channels}, {self.out_channels}, size={self.size}, order={self.order}"


# ------------------------------------------------------------------------------------------------- functions and layers


def _batched(operator, input, *others, rank=4):
    """PyTorch's layers take (channels, rows, columns) as well."""
    if input.dim() == rank:
        return operator(input, *others)
    if input.dim() != rank - 1:
        raise ValueError(f"input has shape {tuple(input.shape)}; it must have {rank - 1} or {rank} dimensions")
    return operator(input.unsqueeze(0), *others).squeeze(0)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """torch.nn.functional.conv2d, with padding modes as in fourfold.conv2d and padding also as (top, bottom, left, right)."""
    return _convolution(_conv2d, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def _convolution(operator, input, weight, bias, stride, padding, dilation, groups, padding_mode):
    stride, dilation = _two("stride", stride), _two("dilation", dilation)
    if not isinstance(padding, str):
        padding = _four("padding", padding)
    elif padding == "valid":
        padding = (0, 0, 0, 0)
    elif padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding 'same' needs stride 1, as in PyTorch; it is {stride}")
        _check(weight=weight)
        total = [d * (f - 1) for d, f in zip(dilation, weight.shape[2:])]
        padding = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    else:
        raise ValueError(f"padding is '{padding}'; it must be numbers, valid or same")
    if min(padding) < 0:
        raise ValueError(f"padding is {tuple(padding)}; it must not be negative")
    return _batched(operator, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def conv_transpose2d(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """torch.nn.functional.conv_transpose2d."""
    return _transposed_convolution(_backward_data, input, weight, bias, stride, padding, output_padding, groups, dilation)


def _transposed_convolution(operator, input, weight, bias, stride, padding, output_padding, groups, dilation):
    _check(weight=weight, bias=bias)
    stride, padding, dilation = _two("stride", stride), _two("padding", padding), _two("dilation", dilation)
    extra = _two("output_padding", output_padding)
    if min(stride) < 1:
        raise ValueError(f"stride is {stride}; it must be at least 1")
    i, f = input.shape[-2:], weight.shape[2:]
    size = [(i[a] - 1) * stride[a] - 2 * padding[a] + dilation[a] * (f[a] - 1) + extra[a] + 1 for a in range(2)]
    # With output padding of a whole stride (allowed under dilation) less padding, or a negative one, keeps the filter positions.
    after = [padding[a] - extra[a] // stride[a] * stride[a] for a in range(2)]
    pads = [padding[0], after[0], padding[1], after[1]]
    return _batched(operator, input, weight, bias, size, stride, pads, dilation, groups, "zeros")


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """torch.nn.functional.unfold: out[n, c*f0*f1 + r*f1 + s, p*o1 + q] = xpad[n, c, p*stride + r*dilation, q*stride + s*dilation]

    input (b, ic, i0, i1), padded with zeros; returns (b, ic*f0*f1, o0*o1). Without b both have one dimension less. Errors:
    NotImplementedError (other types than float32), ValueError.
    """
    return _batched(_unfold, input, *_windows(kernel_size, dilation, padding, stride))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """torch.nn.functional.fold, the adjoint of unfold: each pixel is the sum of the elements that unfold would have copied it to.

    input (b, ic*f0*f1, o0*o1); returns (b, ic, *output_size). Without b both have one dimension less. Errors: as unfold's.
    """
    return _batched(_fold, input, _two("output_size", output_size), *_windows(kernel_size, dilation, padding, stride), rank=3)


def _windows(kernel_size, dilation, padding, stride):
    rows, columns = _two("padding", padding)
    if min(rows, columns) < 0:
        raise ValueError(f"padding is {(rows, columns)}; it must not be negative")
    stride = _two("stride", stride)
    if min(stride) < 1:
        raise ValueError(f"stride is {stride}; it must be at least 1")
    return _two("kernel_size", kernel_size), stride, (rows, rows, columns, columns), _two("dilation", dilation)


def _keeps(input, weight, bias):
    """Whether a layer's filters are worth keeping packed: no training, and no weight made for the call, as parametrizations do."""
    return isinstance(weight, nn.Parameter) and not _needs_gradients(input, weight, bias)


class Conv2d(nn.Conv2d):
    """nn.Conv2d, computed by fourfold: the same arguments, parameters and state_dict. Where no gradient is asked for (torch.no_grad(),
    torch.inference_mode()) the filters stay packed, beside a copy, until their values change."""

    def _conv_forward(self, input, weight, bias):
        operator = _conv2d_inference if _keeps(input, weight, bias) else _conv2d
        return _convolution(operator, input, weight, bias, self.stride, self.padding, self.dilation, self.groups, self.padding_mode)


class ConvTranspose2d(nn.ConvTranspose2d):
    """nn.ConvTranspose2d, computed by fourfold: the same arguments, parameters and state_dict. Filters are kept as in Conv2d."""

    def forward(self, input, output_size=None):
        extra = self._output_padding(input, output_size, self.stride, self.padding, self.kernel_size, 2, self.dilation)
        operator = _transposed_inference if _keeps(input, self.weight, self.bias) else _backward_data
        return _transposed_convolution(operator, input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


def _computed_here(input):
    """Layers without a weight cannot tell before what they will be given."""
    return input.dtype == torch.float32 and input.device.type in ("cpu", "cuda", "meta")


class Unfold(nn.Unfold):
    """nn.Unfold, computed by fourfold; of other types than float32 by PyTorch."""

    def forward(self, input):
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride) if _computed_here(input) else super().forward(input)


class Fold(nn.Fold):
    """nn.Fold, computed by fourfold; of other types than float32 by PyTorch."""

    def forward(self, input):
        if not _computed_here(input):
            return super().forward(input)
        return fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


# --------------------------------------------------------------------------------------------------------- replacement


@dataclass
class Report:
    """What replace() did: names of modules, each with its layer or the reason."""

    swapped: list = field(default_factory=list)
    kept: list = field(default_factory=list)

    def __str__(self):
        lines = [f"fourfold: {len(self.swapped)} layers swapped, {len(self.kept)} kept"]
        lines += [f"  swapped  {name or '(the model)'}: {layer}" for name, layer in self.swapped]
        lines += [f"  kept     {name or '(the model)'}: {reason}" for name, reason in self.kept]
        return "\n".join(lines)


_SWAPS = {nn.Conv2d: Conv2d, nn.ConvTranspose2d: ConvTranspose2d, nn.Unfold: Unfold, nn.Fold: Fold}


def _reason_to_keep(module):
    """None for a layer to be swapped, "" for what is no convolution and no half of one."""
    if not isinstance(module, (nn.modules.conv._ConvNd, nn.Unfold, nn.Fold)) or isinstance(module, tuple(_SWAPS.values())):
        return ""
    if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
        return "not initialised yet: run the model once, then replace"
    if type(module) not in _SWAPS:
        return f"{type(module).__name__} is none of {', '.join(f'nn.{kind.__name__}' for kind in _SWAPS)}"
    if type(module) in (nn.Unfold, nn.Fold):
        return None
    if module.weight.dtype != torch.float32:
        return f"its weight is {module.weight.dtype}; fourfold.torch computes torch.float32"
    if module.weight.device.type not in ("cpu", "cuda"):
        return f"its weight is on {module.weight.device}; fourfold.torch computes on the CPU and on CUDA"
    return None


def replace(model):
    """Swaps every nn.Conv2d, nn.ConvTranspose2d, nn.Unfold and nn.Fold in the model, itself included, for fourfold's, in place: the
    modules stay the same objects, with their parameters, hooks and names. Returns a Report of what was swapped, what not, and why: other
    convolutions stay. Only modules are seen: functional calls such as F.conv2d in a forward() stay PyTorch's and are in no report."""
    report = Report()
    for name, module in model.named_modules():
        reason = _reason_to_keep(module)
        if reason is None:
            report.swapped.append((name, str(module)))
            module.__class__ = _SWAPS[type(module)]
        elif reason:
            report.kept.append((name, reason))
    return report
