"""The libraries that bench/peers.py times, and fourfold's command beside them.

A library names its sides, ways to call it, in `sides`, and those that compute gradients in `gradients`, if it has any. A side's
prepare(p, x, w, bias) gets NCHW arrays, of a gradient the two that it reads, and returns a function without arguments that
convolves; to_numpy() turns what that returned into an NCHW array. set_threads() acts on the calling
thread: measure() calls it in each.
"""
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SAVED_LIBRARY_PATH = "FOURFOLD_PEERS_LIBRARY_PATH"  # what LD_LIBRARY_PATH was before find_libraries() set it


class Skip(Exception):
    """The peer has nothing to offer for this problem."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A way to call a library: how to prepare it, the layout that it reads and writes, and whether the filters were brought
    into its own order beforehand."""

    prepare: object
    layout: str
    filters: str


class Torch:
    """PyTorch on the CPU, whose float32 convolutions are oneDNN's."""

    def __init__(self, threads):
        import warnings

        warnings.filterwarnings("ignore", category=FutureWarning)
        import torch
        from torch.utils import mkldnn

        self.torch, self.mkldnn, self.threads = torch, mkldnn, threads
        self.has_onednn = torch.backends.mkldnn.is_available()
        onednn = re.search(r"(?:MKL-DNN|oneDNN)[^\n]*?v(\d[\d.]*)", torch.__config__.show())
        self.version = f"PyTorch {torch.__version__}" + (f", oneDNN {onednn[1]}" if onednn else "")
        self.sides = {
            "torch-nchw": Kind(self.nchw, "NCHW", "plain"),  # oneDNN's reordering, if it wants any, counts
            "torch-nchw-prepacked": Kind(self.nchw_prepacked, "NCHW", "packed"),  # our own terms
            "torch-channels_last": Kind(self.channels_last, "NHWC", "plain"),
            "torch-prepacked": Kind(self.prepacked, "NHWC", "packed"),
            "torch-onednn": Kind(self.blocked, "oneDNN's blocks", "packed"),  # at times reordered once more in the call
        }
        self.gradients = {
            "torch-nchw": Kind(self.gradient_nchw, "NCHW", "plain"),
            "torch-channels_last": Kind(self.gradient_channels_last, "NHWC", "plain"),
        }

    def set_threads(self):
        self.torch.set_num_threads(self.threads)

    def call(self, function):
        def run():
            with self.torch.inference_mode():
                return function()

        return run

    def to_numpy(self, y):
        return (y.to_dense() if y.is_mkldnn else y).contiguous().numpy()

    def tensors(self, x, w, bias):
        return (self.torch.from_numpy(a) for a in (x, w, bias))

    def nchw(self, p, x, w, bias):
        x, w, bias = self.tensors(x, w, bias)
        conv2d = self.torch.nn.functional.conv2d
        return self.call(lambda: conv2d(x, w, bias, p.stride, p.pad, p.dilation, p.groups))

    def channels_last(self, p, x, w, bias):
        if p.one_channel:
            raise Skip("one channel: the same memory as NCHW")
        x, w, bias = self.tensors(x, w, bias)
        x, w = (t.contiguous(memory_format=self.torch.channels_last) for t in (x, w))
        conv2d = self.torch.nn.functional.conv2d
        return self.call(lambda: conv2d(x, w, bias, p.stride, p.pad, p.dilation, p.groups))

    def gradient(self, p, a, b, memory_format):
        """What autograd calls, for the one gradient asked for."""
        torch, data = self.torch, p.operation == "bwd-data"
        a, b = (torch.from_numpy(t).contiguous(memory_format=memory_format) for t in (a, b))
        gy = a if data else b
        # Of the third array only sizes and strides matter.
        other = torch.zeros(p.input_shape if data else p.filter_shape).contiguous(memory_format=memory_format)
        x, w = (other, b) if data else (a, other)
        backward = torch.ops.aten.convolution_backward
        mask = [data, not data, False]
        return self.call(lambda: backward(gy, x, w, None, [p.stride] * 2, [p.pad] * 2, [p.dilation] * 2, False, [0, 0], p.groups, mask)[0 if data else 1])

    def gradient_nchw(self, p, a, b):
        return self.gradient(p, a, b, self.torch.contiguous_format)

    def gradient_channels_last(self, p, a, b):
        if p.one_channel:
            raise Skip("one channel: the same memory as NCHW")
        return self.gradient(p, a, b, self.torch.channels_last)

    def nchw_prepacked(self, p, x, w, bias):
        if not self.has_onednn:
            raise Skip("PyTorch was built without oneDNN")
        x, w, bias = self.tensors(x, w, bias)
        ops = self.torch.ops.mkldnn_prepacked
        context = ops.conv2d_prepack(w, bias, [p.stride] * 2, [p.pad] * 2, [p.dilation] * 2, p.groups, list(x.shape), "none")
        return self.call(lambda: ops.conv2d_run(x, context))

    def prepacked(self, p, x, w, bias):
        if not self.has_onednn:
            raise Skip("PyTorch was built without oneDNN")
        x, w, bias = self.tensors(x, w, bias)
        x = x.contiguous(memory_format=self.torch.channels_last)  # one channel: the same memory as NCHW
        pad, stride, dilation = [p.pad] * 2, [p.stride] * 2, [p.dilation] * 2
        packed = self.torch._C._nn.mkldnn_reorder_conv2d_weight(w.to_mkldnn(), pad, stride, dilation, p.groups, list(x.shape))
        # What torch.compile emits for a frozen convolution.
        pointwise = self.torch.ops.mkldnn._convolution_pointwise
        return self.call(lambda: pointwise(x, packed, bias, pad, stride, dilation, p.groups, "none", [], ""))

    def blocked(self, p, x, w, bias):
        if not self.has_onednn:
            raise Skip("PyTorch was built without oneDNN")
        torch = self.torch
        x, w, bias = self.tensors(x, w, bias)
        layer = torch.nn.Conv2d(p.ic, p.oc, (p.f0, p.f1), p.stride, p.pad, p.dilation, p.groups)
        # An identity layer before it brings x into the layout that the layer would find inside a network.
        before = torch.nn.Conv2d(p.ic, p.ic, 1, bias=False)
        with torch.no_grad():
            layer.weight.copy_(w)
            layer.bias.copy_(bias)
            before.weight.copy_(torch.eye(p.ic).reshape(p.ic, p.ic, 1, 1))
        layer, before = self.mkldnn.to_mkldnn(layer.eval()), self.mkldnn.to_mkldnn(before.eval())
        with torch.inference_mode():
            x = before(x.to_mkldnn())
        return self.call(lambda: layer(x))


class OpenCv:
    """filter2D: direct for small filters, DFT for large ones, chosen by OpenCV; opencv-sep is sepFilter2D, for filters of rank one. Both
    compute the whole plane; the part asked for is a view of it."""

    def __init__(self, threads):
        import cv2

        self.cv2, self.threads = cv2, threads
        self.version = f"OpenCV {cv2.__version__}"
        self.sides = {"opencv": Kind(self.filter2d, "plane", "plain"), "opencv-sep": Kind(self.sep_filter2d, "plane", "factors")}

    def set_threads(self):
        self.cv2.setNumThreads(self.threads)

    def to_numpy(self, y):
        return y[None, None]

    def filter2d(self, p, x, w, bias):
        return self.filter(p, x, bias, lambda *image, **options: self.cv2.filter2D(*image, w[0, 0], **options))

    def sep_filter2d(self, p, x, w, bias):
        plane = w[0, 0].astype("float64")
        r, s = divmod(int(abs(plane).argmax()), p.f1)
        column, row = plane[:, s], plane[r] / plane[r, s]
        if p.f0 == 1 or p.f1 == 1 or abs(column[:, None] * row - plane).max() > 1e-6 * abs(plane).max():
            raise Skip("only filters of rank one")
        column, row = column.astype("float32"), row.astype("float32")
        return self.filter(p, x, bias, lambda *image, **options: self.cv2.sepFilter2D(*image, row, column, **options))

    def filter(self, p, x, bias, function):
        if not p.single_plane:
            raise Skip("only single-channel images")
        if p.pad > min(p.f0, p.f1) // 2 or p.f0 % 2 == 0 or p.f1 % 2 == 0:
            raise Skip("only odd filters, padded by at most half")
        image, delta = x[0, 0], float(bias[0])
        out = image.copy()
        top, left = p.f0 // 2 - p.pad, p.f1 // 2 - p.pad
        view = out[top : top + p.o0, left : left + p.o1]

        def run():
            function(image, self.cv2.CV_32F, dst=out, delta=delta, borderType=self.cv2.BORDER_CONSTANT)
            return view

        return run


class SciPy:
    """fftconvolve and oaconvolve transform the filter in every call; scipy-packed is the same with its spectrum kept."""

    def __init__(self, threads):
        import numpy
        import scipy
        import scipy.fft
        import scipy.signal

        self.np, self.fft, self.signal, self.threads = numpy, scipy.fft, scipy.signal, threads
        self.version = f"SciPy {scipy.__version__}"
        self.sides = {
            "scipy-fftconvolve": Kind(self.fftconvolve, "plane", "plain"),
            "scipy-oaconvolve": Kind(self.oaconvolve, "plane", "plain"),
            "scipy-packed": Kind(self.packed, "plane", "packed"),
        }

    def set_threads(self):
        pass  # an argument of each call

    def to_numpy(self, y):
        return y[None, None]

    def convolve(self, function, p, x, w, bias):
        if not p.single_plane:
            raise Skip("only single-channel images")
        image, kernel, b = x[0, 0], w[0, 0, ::-1, ::-1], bias[0]
        top, left = p.f0 - 1 - p.pad, p.f1 - 1 - p.pad

        def run():
            with self.fft.set_workers(self.threads):
                if p.pad == 0:
                    y = function(image, kernel, mode="valid")
                else:
                    y = function(image, kernel, mode="full")[top : top + p.o0, left : left + p.o1]
            y += b
            return y

        return run

    def fftconvolve(self, p, x, w, bias):
        return self.convolve(self.signal.fftconvolve, p, x, w, bias)

    def oaconvolve(self, p, x, w, bias):
        return self.convolve(self.signal.oaconvolve, p, x, w, bias)

    def packed(self, p, x, w, bias):
        if not p.single_plane:
            raise Skip("only single-channel images")
        np, fft, b = self.np, self.fft, bias[0]
        image = x[0, 0]
        size = [fft.next_fast_len(n + 2 * p.pad, real=True) for n in (p.i0, p.i1)]
        spectrum = np.conj(fft.rfft2(w[0, 0], s=size))

        def run():
            padded = np.pad(image, p.pad) if p.pad else image
            product = fft.rfft2(padded, s=size, workers=self.threads)
            product *= spectrum
            y = fft.irfft2(product, s=size, workers=self.threads, overwrite_x=True)[: p.o0, : p.o1]
            y += b
            return y

        return run


def find_libraries():
    """PyTorch's wheel links CUDA's libraries even for its CPU path. Where they lie beside it in site-packages, or in a
    toolkit, starts this program again with LD_LIBRARY_PATH naming them: the loader reads it at start only."""
    if SAVED_LIBRARY_PATH in os.environ:
        return
    site = pathlib.Path(sys.prefix) / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    folders = sorted(site.glob("nvidia/*/lib")) + [d for d in [pathlib.Path("/usr/local/cuda/lib64")] if d.is_dir()]
    if not folders:
        return
    before = os.environ.get("LD_LIBRARY_PATH", "")
    environment = dict(os.environ)
    environment[SAVED_LIBRARY_PATH] = before
    environment["LD_LIBRARY_PATH"] = ":".join([*map(str, folders)] + ([before] if before else []))
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


# ------------------------------------------------------------------------------------------------------------- fourfold


class Fourfold:
    """The command, as a process per round; it times inside itself, so starting it and planning do not count."""

    def __init__(self, path, algorithm, threads, min_time, layout, include_packing, rank_one=False):
        self.path, self.algorithm, self.threads, self.layout = str(path), algorithm, threads, layout
        self.environment = dict(os.environ)
        if SAVED_LIBRARY_PATH in self.environment:
            before = self.environment.pop(SAVED_LIBRARY_PATH)
            self.environment["LD_LIBRARY_PATH"] = before
            if not before:
                del self.environment["LD_LIBRARY_PATH"]
        self.version = self.run("--version", check=False).split("\n")[0].strip() or "fourfold"
        self.options = ["--min-time", str(min_time), "--trust"]  # measure() has verified through `run`
        self.options += ["--include-packing"] if include_packing else []
        self.options += ["--rank-one"] if rank_one else []

    def run(self, *arguments, check=True):
        done = subprocess.run([self.path, *arguments], env=self.environment, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise RuntimeError(f"fourfold {arguments[0]} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def line(self, p):
        return p.line() + (" nhwc" if self.layout == "nhwc" else "")

    def bench(self, p):
        text = self.run("bench", "--json", "--problem", self.line(p), "--algorithm", self.algorithm, "--threads", str(self.threads), *self.options)
        rows = [json.loads(line) for line in text.splitlines() if line.lstrip().startswith("{")]
        rows = [r for r in rows if r.get("ms_min") is not None and (r["algorithm"] != "naive" or self.algorithm == "naive")]
        if not rows:
            raise RuntimeError(f"fourfold bench printed no result for {p.line()}")
        return rows[0]

    def compute(self, np, p, x, w, bias=None):
        with tempfile.TemporaryDirectory() as folder:
            file = {name: os.path.join(folder, name + ".npy") for name in ("x", "w", "b", "y")}
            nhwc, filters = self.layout == "nhwc", p.operation == "bwd-filters"
            to_file = lambda a: np.ascontiguousarray(a.transpose(0, 2, 3, 1)) if nhwc else a
            np.save(file["x"], to_file(x))
            np.save(file["w"], to_file(w) if filters else w)
            given = []
            if bias is not None:
                np.save(file["b"], bias)
                given = ["--bias", file["b"]]
            self.run("run", "--problem", self.line(p), "--input", file["x"], "--filters", file["w"], *given, "--output", file["y"],
                     "--algorithm", self.algorithm, "--threads", str(self.threads))
            y = np.load(file["y"])
            return y.transpose(0, 3, 1, 2) if nhwc and not filters else y
