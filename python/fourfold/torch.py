"""fourfold in PyTorch, on the CPU in float32: operators with autograd, layers, and a swap of a model's layers.

    print(fourfold.torch.replace(model))       # nn.Conv2d and nn.ConvTranspose2d now compute by fourfold; what not, and why

    layer = fourfold.torch.Conv2d(64, 64, 3, padding=1)      # PyTorch's arguments and state_dict

    layer = fourfold.torch.SpectralProduct(1, 8, (28, 28))   # trained filters on half spectra, without leaving the Fourier domain

The operators are torch.ops.fourfold.conv2d, conv2d_backward_data (also the transposed convolution), conv2d_backward_weight,
and spectral_product, spectral_backward_data and spectral_backward_filters. Both products are bilinear: each operator's gradients are
the other two of its three, its tangents are its own, so derivatives of any order work, in backward mode and in forward mode
(torch.func.jvp, torch.autograd.forward_ad). All are registered through torch.library, with shapes for torch.compile. Tensors are read
where they lie, contiguous or channels_last; any other memory is copied first. Plans are kept by problem, the last 1,024 of them; threads
are torch.get_num_threads(). The layers compute by conv2d_inference and conv_transpose2d_inference, which keep packed filters, where no
gradient is asked for; everything else packs them in each call.
"""

import ctypes
import threading
from dataclasses import dataclass, field
from typing import List, Optional

import torch
from torch import Tensor, nn
from torch._functorch.utils import enable_single_level_autograd_function
from torch.autograd import forward_ad
from torch.utils.weak import WeakTensorKeyDictionary

from . import Plan, _by, _four, _kept, _layout, _padding_mode, _reads, _spectral_plan, _spectral_sizes, _two

__all__ = ["Conv2d", "ConvTranspose2d", "Report", "SpectralProduct", "conv2d", "conv_transpose2d", "replace", "spectral_product"]


@_kept(1024)
def _plan(operation, layout, batch, channels, size, out_channels, filter_size, stride, padding, dilation, groups, padding_mode, threads,
          packs_each_time=True):
    return Plan(f"{operation} b{batch} ic{channels} i{_by('size', size)} oc{out_channels} f{_by('filters', filter_size)} "
                f"s{_by('stride', stride)} p{','.join(map(str, padding))} d{_by('dilation', dilation)} g{groups} "
                f"{_padding_mode(padding_mode)} {layout}",
                threads=threads, packs_each_time=packs_each_time)


def _check(**tensors):
    for name, t in tensors.items():
        if t is None:
            continue
        if t.dtype != torch.float32:
            raise NotImplementedError(f"{name} is {t.dtype}; fourfold.torch computes torch.float32")
        if t.device.type not in ("cpu", "meta"):
            raise NotImplementedError(f"{name} is on {t.device}; fourfold.torch computes on the CPU")
        if t.dim() != (1 if name == "bias" else 4):
            raise ValueError(f"{name} has shape {tuple(t.shape)}; it must have {1 if name == 'bias' else 4} dimensions")


def _check_channels(name, channels, expected):
    """Of an empty batch, which no plan sees."""
    if channels != expected:
        raise ValueError(f"{name} has {channels} channels; it must have {expected}")


def _layout_of(t):
    return _layout(t.shape, t.stride()) or "nchw"


def _laid_out(t, layout):
    """The tensor, copied only where it does not lie in that layout."""
    return t if _reads(t.shape, t.stride(), layout) else t.contiguous(memory_format=_FORMATS[layout])


_FORMATS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def _empty(like, shape):
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=_FORMATS[_layout_of(like)])


def _out_size(size, filters, stride, padding, dilation):
    pads = (padding[0] + padding[1], padding[2] + padding[3])
    return [(size[a] + pads[a] - dilation[a] * (filters[a] - 1) - 1) // stride[a] + 1 for a in range(2)]


def _without_surplus(input, padding):
    """Rows and columns at the end, as many as negative padding says, which nothing reads."""
    top, bottom, left, right = padding
    return input[:, :, :input.shape[2] + min(0, bottom), :input.shape[3] + min(0, right)], (top, max(0, bottom), left, max(0, right))


def _filters(weight):
    """Read in any order of memory with positive strides."""
    return weight.detach() if min(weight.stride()) > 0 else weight.detach().contiguous()


class _Kept:
    """A weight's packed filters, of the last few plans."""

    PLANS = 4

    def __init__(self):
        self.lock = threading.Lock()
        self.state = None, {}  # the values, and what was packed of them by plan; replaced as one

    def filters(self, plan, weight):
        """Compares the values, for .data and arrays that share the memory change them and no version counter."""
        values, packed = self.state
        if plan in packed and _same(values, weight):
            return packed[plan]
        with self.lock:
            values, packed = self.state
            if values is None or not _same(values, weight):
                values, packed = weight.clone(), {}
            if plan not in packed:
                packed = dict([*packed.items()][1 - self.PLANS:])
                packed[plan] = plan.pack_filters(values)
            self.state = values, packed
        return packed[plan]


def _same(values, weight):
    """Bit for bit. values are dense."""
    if values.shape != weight.shape or values.stride() != weight.stride():
        return torch.equal(values, weight)
    return _memcmp(values.data_ptr(), weight.data_ptr(), values.nbytes) == 0


_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t
_kept_weights = WeakTensorKeyDictionary()
_kept_lock = threading.Lock()


def _kept_filters(plan, weight):
    with _kept_lock:
        kept = _kept_weights.get(weight) or _kept_weights.setdefault(weight, _Kept())
    return kept.filters(plan, weight.detach())


def _dense_bias(bias):
    return None if bias is None else bias.detach().contiguous()


# ------------------------------------------------------------------------------------------------------------- operators
# padding is top, bottom, left, right; bottom and right may be negative, as of transposed convolutions with much output padding.
# Of an empty batch results are empty, and the filters' gradient is zero. Autograd never enters an implementation; detach() is what
# DLPack asks for.


@torch.library.custom_op("fourfold::conv2d", mutates_args=(), device_types="cpu")
def _conv2d(input: Tensor, weight: Tensor, bias: Optional[Tensor], stride: List[int], padding: List[int], dilation: List[int], groups: int,
            padding_mode: str) -> Tensor:
    return _forward(False, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def _forward(keeps, input, weight, bias, stride, padding, dilation, groups, padding_mode):
    _check(input=input, weight=weight, bias=bias)
    layout = _layout_of(input)
    read, pads = _without_surplus(input.detach(), padding)
    plan = _plan("fwd", layout, max(1, input.shape[0]), input.shape[1], tuple(read.shape[2:]), weight.shape[0], tuple(weight.shape[2:]),
                 tuple(stride), pads, tuple(dilation), groups, padding_mode, torch.get_num_threads(), not keeps)
    output = _conv2d_meta(input, weight, bias, stride, padding, dilation, groups, padding_mode)
    if input.shape[0] == 0:
        _check_channels("input", input.shape[1], weight.shape[1] * groups)
        return output
    plan._execute(input=_laid_out(read, layout), filters=_kept_filters(plan, weight) if keeps else _filters(weight), bias=_dense_bias(bias), output=output)
    return output


@_conv2d.register_fake
def _conv2d_meta(input, weight, bias, stride, padding, dilation, groups, padding_mode):
    size = _out_size(input.shape[2:], weight.shape[2:], stride, padding, dilation)
    return _empty(input, [input.shape[0], weight.shape[0], *size])


@torch.library.custom_op("fourfold::conv2d_backward_data", mutates_args=(), device_types="cpu")
def _backward_data(grad_output: Tensor, weight: Tensor, bias: Optional[Tensor], size: List[int], stride: List[int], padding: List[int],
                   dilation: List[int], groups: int, padding_mode: str) -> Tensor:
    return _transposed(False, grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode)


def _transposed(keeps, grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode):
    _check(grad_output=grad_output, weight=weight, bias=bias)
    layout = _layout_of(grad_output)
    plan = _plan("bwd-data", layout, max(1, grad_output.shape[0]), weight.shape[1] * groups, tuple(size), weight.shape[0], tuple(weight.shape[2:]),
                 tuple(stride), tuple(padding), tuple(dilation), groups, padding_mode, torch.get_num_threads(), not keeps)
    grad_input = _backward_data_meta(grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode)
    if grad_output.shape[0] == 0:
        _check_channels("input", grad_output.shape[1], weight.shape[0])
        return grad_input
    plan._execute(grad_output=_laid_out(grad_output.detach(), layout), filters=_kept_filters(plan, weight) if keeps else _filters(weight),
                  bias=_dense_bias(bias), grad_input=grad_input)
    return grad_input


@_backward_data.register_fake
def _backward_data_meta(grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode):
    return _empty(grad_output, [grad_output.shape[0], weight.shape[1] * groups, *size])


@torch.library.custom_op("fourfold::conv2d_backward_weight", mutates_args=(), device_types="cpu")
def _backward_weight(input: Tensor, grad_output: Tensor, filter_size: List[int], stride: List[int], padding: List[int], dilation: List[int],
                     groups: int, padding_mode: str) -> Tensor:
    _check(input=input, grad_output=grad_output)
    layout = _layout_of(input)
    grad_weight = _backward_weight_meta(input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode)
    if input.shape[0] == 0:
        return grad_weight.zero_()
    read, pads = _without_surplus(input.detach(), padding)
    plan = _plan("bwd-filters", layout, input.shape[0], input.shape[1], tuple(read.shape[2:]), grad_output.shape[1], tuple(filter_size),
                 tuple(stride), pads, tuple(dilation), groups, padding_mode, torch.get_num_threads())
    plan._execute(input=_laid_out(read, layout), grad_output=_laid_out(grad_output.detach(), layout), grad_filters=grad_weight)
    return grad_weight


@_backward_weight.register_fake
def _backward_weight_meta(input, grad_output, filter_size, stride, padding, dilation, groups, padding_mode):
    return input.new_empty([grad_output.shape[1], input.shape[1] // groups, *filter_size])


@torch.library.custom_op("fourfold::conv2d_inference", mutates_args=(), device_types="cpu")
def _conv2d_inference(input: Tensor, weight: Tensor, bias: Optional[Tensor], stride: List[int], padding: List[int], dilation: List[int],
                      groups: int, padding_mode: str) -> Tensor:
    return _forward(True, input, weight, bias, stride, padding, dilation, groups, padding_mode)


@torch.library.custom_op("fourfold::conv_transpose2d_inference", mutates_args=(), device_types="cpu")
def _transposed_inference(grad_output: Tensor, weight: Tensor, bias: Optional[Tensor], size: List[int], stride: List[int], padding: List[int],
                          dilation: List[int], groups: int, padding_mode: str) -> Tensor:
    return _transposed(True, grad_output, weight, bias, size, stride, padding, dilation, groups, padding_mode)


_conv2d_inference.register_fake(_conv2d_meta)
_transposed_inference.register_fake(_backward_data_meta)


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
    gw = _backward_weight(x, g, list(w.shape[2:]), *ctx.arguments) if need[1] else None
    return (gx, gw, g.sum((0, 2, 3)) if need[2] else None) + (None,) * 5


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


# torch.library.register_autograd has no forward mode (tangents are dropped silently) and refuses torch.func.grad. So the kernel for autograd
# is our own. Like PyTorch's formulas in C++ it sees one level of torch.func's transforms at a time.

_library = torch.library.Library("fourfold", "FRAGMENT")


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
        return operator._opoverload.redispatch(keyset & torch._C._after_autograd_keyset, *arguments)


def _needs_gradients(*tensors):
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def _register_kernel(operator, kernel):
    for key in ("AutogradCPU", "AutogradMeta"):
        _library.impl(operator._opoverload, kernel, key, with_keyset=True)


def _register_autograd(operator, gradients, save):
    """Both modes of an operator bilinear in its first two arguments, with gradients(ctx, g, need) of what save(ctx, arguments) kept."""
    tensors = 3 if operator._opoverload._schema.arguments[2].name == "bias" else 2

    class Backward(torch.autograd.function._SingleLevelFunction):
        @staticmethod
        def forward(ctx, keyset, *arguments):
            save(ctx, arguments)
            with torch.enable_grad(), forward_ad._set_fwd_grad_enabled(True):  # for the levels of torch.func below this one
                return _below(operator, keyset, arguments)

        @staticmethod
        def backward(ctx, g):
            return (None, *gradients(ctx, g, ctx.needs_input_grad[1:]))

    def with_tangent(primals, tangents, rest):
        (a, b, *bias), (da, db, *dbias) = primals, tangents
        result = operator(a, b, *bias, *rest)
        none = [None] * len(bias)
        terms = [d[:, None, None].expand_as(result) for d in dbias if d is not None]
        if da is not None:
            terms.append(operator(da, b, *none, *_linear(rest)))
        if db is not None:
            terms.append(operator(a, db, *none, *rest))
        return forward_ad.make_dual(result, sum(terms[1:], terms[0]), level=0)

    def kernel(keyset, *arguments):
        if _may_have_tangents(arguments[:tensors]) and (duals := _unpacked(arguments[:tensors])):
            return with_tangent(*duals, arguments[tensors:])
        if _needs_gradients(*arguments[:tensors]):
            with enable_single_level_autograd_function():
                return Backward.apply(keyset, *arguments)
        return _below(operator, keyset, arguments)

    _register_kernel(operator, kernel)


def _register_inference(operator, other):
    """Where derivatives are asked for all the same, the other operator, which has them, computes."""
    def kernel(keyset, *arguments):
        if _needs_gradients(*arguments[:3]) or (_may_have_tangents(arguments[:3]) and _unpacked(arguments[:3])):
            return other(*arguments)
        return _below(operator, keyset, arguments)

    _register_kernel(operator, kernel)


_register_autograd(_conv2d, _conv2d_gradients, _save)
_register_autograd(_backward_data, _backward_data_gradients, _save)
_register_autograd(_backward_weight, _backward_weight_gradients, _save)
_register_inference(_conv2d_inference, _conv2d)
_register_inference(_transposed_inference, _backward_data)

for _operator in (_conv2d, _backward_data, _backward_weight, _conv2d_inference, _transposed_inference):
    _operator.register_autocast("cpu", torch.float32)  # under torch.autocast: what other layers left in bfloat16


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


@torch.library.custom_op("fourfold::spectral_product", mutates_args=(), device_types="cpu")
def _spectral_forward(x: Tensor, w: Tensor, order: str) -> Tensor:
    x, w = _spectrum("x", x), _spectrum("w", w)
    y = _spectral_forward_meta(x, w, order)
    plan = _spectral_plan("fwd", *_spectral_sizes(x.shape, w.shape, order), torch.get_num_threads())
    plan._execute(input=_view(x, order), filters=_view(w, order, True), output=_view(y, order))
    return y


@_spectral_forward.register_fake
def _spectral_forward_meta(x, w, order):
    b, _, h, half, oc, _ = _spectral_sizes(x.shape, w.shape, order)
    return x.new_empty((b, oc, h, half) if order == "bcij" else (b, h, half, oc))


@torch.library.custom_op("fourfold::spectral_backward_data", mutates_args=(), device_types="cpu")
def _spectral_data(g: Tensor, w: Tensor, order: str) -> Tensor:
    g, w = _spectrum("g", g), _spectrum("w", w)
    gx = _spectral_data_meta(g, w, order)
    plan = _spectral_plan("bwd-data", *_spectral_sizes(gx.shape, w.shape, order), torch.get_num_threads())
    plan._execute(grad_output=_view(g, order), filters=_view(w, order, True), grad_input=_view(gx, order))
    return gx


@_spectral_data.register_fake
def _spectral_data_meta(g, w, order):
    return g.new_empty((g.shape[0], w.shape[1], *g.shape[2:]) if order == "bcij" else (*g.shape[:3], w.shape[2]))


@torch.library.custom_op("fourfold::spectral_backward_filters", mutates_args=(), device_types="cpu")
def _spectral_filters(x: Tensor, g: Tensor, order: str) -> Tensor:
    x, g = _spectrum("x", x), _spectrum("g", g)
    gw = _spectral_filters_meta(x, g, order)
    plan = _spectral_plan("bwd-filters", *_spectral_sizes(x.shape, gw.shape, order), torch.get_num_threads())
    plan._execute(input=_view(x, order), grad_output=_view(g, order), grad_filters=_view(gw, order, True))
    return gw


@_spectral_filters.register_fake
def _spectral_filters_meta(x, g, order):
    return x.new_empty((g.shape[1], x.shape[1], *x.shape[2:]) if order == "bcij" else (*x.shape[1:3], x.shape[3], g.shape[3]))


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
    begins as the spectra of random 3x3 filters, drawn as nn.Conv2d draws them.
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


def _batched(function, name, input):
    """PyTorch's layers take (channels, rows, columns) as well."""
    if input.dim() not in (3, 4):
        raise ValueError(f"{name} has shape {tuple(input.shape)}; it must have 3 or 4 dimensions")
    return function(input) if input.dim() == 4 else function(input.unsqueeze(0)).squeeze(0)


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"):
    """torch.nn.functional.conv2d, with padding modes as in fourfold.conv2d and padding also as (top, bottom, left, right)."""
    return _convolution(_conv2d, input, weight, bias, stride, padding, dilation, groups, padding_mode)


def _convolution(operator, input, weight, bias, stride, padding, dilation, groups, padding_mode):
    _check(weight=weight, bias=bias)
    stride, dilation = _two("stride", stride), _two("dilation", dilation)
    if not isinstance(padding, str):
        padding = _four("padding", padding)
    elif padding == "valid":
        padding = (0, 0, 0, 0)
    elif padding == "same":
        if stride != (1, 1):
            raise ValueError(f"padding 'same' needs stride 1, as in PyTorch; it is {stride}")
        total = [d * (f - 1) for d, f in zip(dilation, weight.shape[2:])]
        padding = (total[0] // 2, total[0] - total[0] // 2, total[1] // 2, total[1] - total[1] // 2)
    else:
        raise ValueError(f"padding is '{padding}'; it must be numbers, valid or same")
    if min(padding) < 0:
        raise ValueError(f"padding is {tuple(padding)}; it must not be negative")
    return _batched(lambda x: operator(x, weight, bias, list(stride), list(padding), list(dilation), groups, padding_mode), "input", input)


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
    return _batched(lambda x: operator(x, weight, bias, size, list(stride), pads, list(dilation), groups, "zeros"), "input", input)


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


# --------------------------------------------------------------------------------------------------------- replacement


@dataclass
class Report:
    """What replace() did: names of modules, each with its layer or the reason."""

    swapped: list = field(default_factory=list)
    kept: list = field(default_factory=list)

    def __str__(self):
        lines = [f"fourfold: {len(self.swapped)} convolutions swapped, {len(self.kept)} kept"]
        lines += [f"  swapped  {name or '(the model)'}: {layer}" for name, layer in self.swapped]
        lines += [f"  kept     {name or '(the model)'}: {reason}" for name, reason in self.kept]
        return "\n".join(lines)


_SWAPS = {nn.Conv2d: Conv2d, nn.ConvTranspose2d: ConvTranspose2d}


def _reason_to_keep(module):
    """None for a layer to be swapped, "" for what is no convolution and no half of one."""
    if isinstance(module, (nn.Unfold, nn.Fold)):
        return f"{type(module).__name__} has no layer here; fourfold.unfold and fourfold.fold work on arrays"
    if not isinstance(module, nn.modules.conv._ConvNd) or isinstance(module, tuple(_SWAPS.values())):
        return ""
    if isinstance(module, nn.modules.lazy.LazyModuleMixin) and module.has_uninitialized_params():
        return "not initialised yet: run the model once, then replace"
    if type(module) not in _SWAPS:
        return f"{type(module).__name__} is neither nn.Conv2d nor nn.ConvTranspose2d"
    if module.weight.dtype != torch.float32:
        return f"its weight is {module.weight.dtype}; fourfold.torch computes torch.float32"
    if module.weight.device.type != "cpu":
        return f"its weight is on {module.weight.device}; fourfold.torch computes on the CPU"
    return None


def replace(model):
    """Swaps every nn.Conv2d and nn.ConvTranspose2d in the model, itself included, for fourfold's, in place: the modules stay
    the same objects, with their parameters, hooks and names. Returns a Report of what was swapped, what not, and why: other
    convolutions, nn.Unfold and nn.Fold stay. Only modules are seen: functional calls such as F.conv2d in a forward() stay PyTorch's
    and are in no report."""
    report = Report()
    for name, module in model.named_modules():
        reason = _reason_to_keep(module)
        if reason is None:
            report.swapped.append((name, str(module)))
            module.__class__ = _SWAPS[type(module)]
        elif reason:
            report.kept.append((name, reason))
    return report
