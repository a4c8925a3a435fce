#!/usr/bin/env python3
"""Head-to-head of fourfold with PyTorch (oneDNN inside), OpenCV and SciPy. See bench/README.md.

    .venv-peers/bin/python bench/peers.py --threads 1 --rounds 5

Per shape, rounds alternate between `fourfold bench` and every peer on the same threads; each side keeps its fastest call of
all rounds. A ratio is peer time / fourfold time: over 1, fourfold is faster.
"""
import argparse
import csv
import dataclasses
import html
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAVED_LIBRARY_PATH = "FOURFOLD_PEERS_LIBRARY_PATH"  # what LD_LIBRARY_PATH was before find_libraries() set it
SLOW_SECONDS = 2.0  # a side whose one call takes longer is called once a round, in two rounds
BASELINE = "torch-nchw"


# ------------------------------------------------------------------------------------------------------------- problems


@dataclasses.dataclass(frozen=True)
class Problem:
    """A row of shapes/*.csv: a forward correlation, NCHW float32, square stride and dilation, the same padding on all sides."""

    name: str
    b: int
    ic: int
    i0: int
    i1: int
    oc: int
    f0: int
    f1: int
    stride: int
    pad: int
    dilation: int
    groups: int

    @property
    def o0(self):
        return (self.i0 + 2 * self.pad - self.dilation * (self.f0 - 1) - 1) // self.stride + 1

    @property
    def o1(self):
        return (self.i1 + 2 * self.pad - self.dilation * (self.f1 - 1) - 1) // self.stride + 1

    @property
    def flops(self):
        return 2.0 * self.b * self.oc * self.o0 * self.o1 * (self.ic // self.groups) * self.f0 * self.f1

    @property
    def single_plane(self):
        """One plane in, one out, dense: what the image libraries do."""
        return (self.b, self.ic, self.oc, self.groups, self.stride, self.dilation) == (1, 1, 1, 1, 1, 1)

    def line(self):
        text = f"b{self.b} ic{self.ic} i{self.i0}x{self.i1} oc{self.oc} f{self.f0}x{self.f1}"
        for token, value, default in (("s", self.stride, 1), ("p", self.pad, 0), ("d", self.dilation, 1), ("g", self.groups, 1)):
            if value != default:
                text += f" {token}{value}"
        return text


def parse_line(name, text):
    """The subset of the one-line form that the columns of shapes/*.csv can express."""
    v = dict(b=1, ic=1, i=None, oc=1, f=None, s=1, p=0, d=1, g=1)
    for token in re.split(r"[\s_]+", text.strip()):
        m = re.fullmatch(r"(ic|oc|b|i|f|s|p|d|g)([\dx,]+)", token)
        if token == "fwd":
            continue
        if not m:
            raise ValueError(f"{name}: peers.py does not measure '{token}'")
        sizes = [int(n) for n in re.split("[x,]", m[2])]
        if m[1] in "if":
            v[m[1]] = (sizes[0], sizes[-1])
        elif len(set(sizes)) != 1:
            raise ValueError(f"{name}: peers.py needs the same value on all sides in '{token}'")
        else:
            v[m[1]] = sizes[0]
    if v["i"] is None or v["f"] is None:
        raise ValueError(f"{name}: a problem needs i and f")
    return Problem(name, v["b"], v["ic"], *v["i"], v["oc"], *v["f"], v["s"], v["p"], v["d"], v["g"])


def read_shapes(path):
    problems = []
    with open(path, newline="") as file:
        for row in csv.reader(line for line in file if line.strip() and not line.lstrip().startswith("#")):
            if row[0].strip() == "name":
                continue
            problems.append(parse_line(row[0], row[1]) if len(row) == 2 else Problem(row[0], *(int(n) for n in row[1:12])))
    return problems


def make_data(np, p):
    rng = np.random.default_rng(1)

    def uniform(*shape):
        return rng.random(shape, dtype=np.float32) * 2 - 1

    return uniform(p.b, p.ic, p.i0, p.i1), uniform(p.oc, p.ic // p.groups, p.f0, p.f1), uniform(p.oc)


class Reference:
    """Sums in float64 at a sample of outputs, the corners among them; judges an output by
    max|y - y_ref| / max(|x| conv |w| + |b|) there."""

    def __init__(self, np, p, x, w, bias, samples=256):
        self.np, self.p = np, p
        rng = np.random.default_rng(2)
        places = [(0, 0, r, c) for r in (0, p.o0 - 1) for c in (0, p.o1 - 1)]
        places += [tuple(int(rng.integers(n)) for n in (p.b, p.oc, p.o0, p.o1)) for _ in range(samples)]
        self.index = tuple(np.array(places).T)
        per_group_in, per_group_out = p.ic // p.groups, p.oc // p.groups
        self.expected, self.scale = [], 0.0
        for n, k, r, c in places:
            first = k // per_group_out * per_group_in
            rows, f_rows = self.window(r, p.i0, p.f0)
            columns, f_columns = self.window(c, p.i1, p.f1)
            patch = x[n, first : first + per_group_in, rows, columns].astype(np.float64)
            terms = patch * w[k, :, f_rows, f_columns]
            self.expected.append(terms.sum() + bias[k])
            self.scale = max(self.scale, float(np.abs(terms).sum() + abs(bias[k])))

    def window(self, out, size, filter_size):
        """The part of the filter that lies on the input for this output, and the input under it."""
        p = self.p
        start = out * p.stride - p.pad
        low = max(0, -(start // p.dilation)) if start < 0 else 0
        high = min(filter_size, (size - 1 - start) // p.dilation + 1)
        return slice(start + low * p.dilation, max(0, start + (high - 1) * p.dilation + 1), p.dilation), slice(low, high)

    def error(self, y):
        p = self.p
        if tuple(y.shape) != (p.b, p.oc, p.o0, p.o1):
            return math.inf
        difference = self.np.abs(y[self.index].astype(self.np.float64) - self.expected).max()
        return float(difference) / self.scale if math.isfinite(difference) else math.inf


ERROR_LIMIT = 2e-6  # the loosest of direct, im2col and FFT; single-precision peers meet it with room to spare
PEER_ERROR_LIMIT = 1e-4  # a peer may be less accurate, but must compute the same thing


# ---------------------------------------------------------------------------------------------------------------- peers


class Skip(Exception):
    """The peer has nothing to offer for this problem."""


class Torch:
    """PyTorch on the CPU, whose float32 convolutions are oneDNN's."""

    def __init__(self, threads):
        import warnings

        warnings.filterwarnings("ignore", category=FutureWarning)
        import torch
        from torch.utils import mkldnn

        torch.set_num_threads(threads)
        self.torch, self.mkldnn = torch, mkldnn
        self.has_onednn = torch.backends.mkldnn.is_available()
        onednn = re.search(r"(?:MKL-DNN|oneDNN)[^\n]*?v(\d[\d.]*)", torch.__config__.show())
        self.version = f"PyTorch {torch.__version__}" + (f", oneDNN {onednn[1]}" if onednn else "")
        self.sides = {
            BASELINE: self.nchw,  # NCHW in and out, plain filters: oneDNN's reordering, if it wants any, counts
            "torch-nchw-prepacked": self.nchw_prepacked,  # NCHW in and out, filters reordered beforehand: our own terms
            "torch-channels_last": self.channels_last,  # NHWC in and out, plain filters
            "torch-prepacked": self.prepacked,  # NHWC in and out, filters reordered beforehand
            "torch-onednn": self.blocked,  # oneDNN's own layout in and out; filters reordered, at times once more in the call
        }

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
        if p.ic == 1 and p.oc == 1:
            raise Skip("one channel: the same memory as NCHW")
        x, w, bias = self.tensors(x, w, bias)
        x, w = (t.contiguous(memory_format=self.torch.channels_last) for t in (x, w))
        conv2d = self.torch.nn.functional.conv2d
        return self.call(lambda: conv2d(x, w, bias, p.stride, p.pad, p.dilation, p.groups))

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
        x = x.contiguous(memory_format=self.torch.channels_last)
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
    """filter2D: direct for small filters, DFT for large ones, chosen by OpenCV. It computes the whole plane; the part asked
    for is a view of it."""

    def __init__(self, threads):
        import cv2

        cv2.setNumThreads(threads)
        self.cv2 = cv2
        self.version = f"OpenCV {cv2.__version__}"
        self.sides = {"opencv": self.filter2d}

    def to_numpy(self, y):
        return y[None, None]

    def filter2d(self, p, x, w, bias):
        if not p.single_plane:
            raise Skip("only single-channel images")
        if p.pad > min(p.f0, p.f1) // 2 or p.f0 % 2 == 0 or p.f1 % 2 == 0:
            raise Skip("only odd filters, padded by at most half")
        image, kernel, delta = x[0, 0], w[0, 0], float(bias[0])
        out = image.copy()
        top, left = p.f0 // 2 - p.pad, p.f1 // 2 - p.pad
        view = out[top : top + p.o0, left : left + p.o1]

        def run():
            self.cv2.filter2D(image, self.cv2.CV_32F, kernel, dst=out, delta=delta, borderType=self.cv2.BORDER_CONSTANT)
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
        self.sides = {"scipy-fftconvolve": self.fftconvolve, "scipy-oaconvolve": self.oaconvolve, "scipy-packed": self.packed}

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


PEERS = {"torch": Torch, "opencv": OpenCv, "scipy": SciPy}


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

    def __init__(self, path, algorithm, threads, min_time):
        self.path, self.algorithm, self.threads = str(path), algorithm, threads
        self.environment = dict(os.environ)
        if SAVED_LIBRARY_PATH in self.environment:
            before = self.environment.pop(SAVED_LIBRARY_PATH)
            self.environment["LD_LIBRARY_PATH"] = before
            if not before:
                del self.environment["LD_LIBRARY_PATH"]
        self.version = self.run("--version", check=False).split("\n")[0].strip() or "fourfold"
        self.options = ["--min-time", str(min_time), "--trust"]  # measure() has verified through `run`

    def run(self, *arguments, check=True):
        done = subprocess.run([self.path, *arguments], env=self.environment, capture_output=True, text=True)
        if check and done.returncode != 0:
            raise RuntimeError(f"fourfold {arguments[0]} failed ({done.returncode}): {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def bench(self, p):
        text = self.run("bench", "--json", "--problem", p.line(), "--algorithm", self.algorithm, "--threads", str(self.threads), *self.options)
        rows = [json.loads(line) for line in text.splitlines() if line.lstrip().startswith("{")]
        rows = [r for r in rows if r.get("ms_min") is not None and (r["algorithm"] != "naive" or self.algorithm == "naive")]
        if not rows:
            raise RuntimeError(f"fourfold bench printed no result for {p.line()}")
        return rows[0]

    def compute(self, np, p, x, w, bias):
        with tempfile.TemporaryDirectory() as folder:
            file = {name: os.path.join(folder, name + ".npy") for name in ("x", "w", "b", "y")}
            np.save(file["x"], x)
            np.save(file["w"], w)
            np.save(file["b"], bias)
            self.run("run", "--problem", p.line(), "--input", file["x"], "--filters", file["w"], "--bias", file["b"], "--output", file["y"],
                     "--algorithm", self.algorithm, "--threads", str(self.threads))
            return np.load(file["y"])


# ---------------------------------------------------------------------------------------------------------- measurement


@dataclasses.dataclass
class Side:
    """One way to compute the problem, and its fastest call of each round in milliseconds."""

    name: str
    run: object = None
    rounds: int = 0
    slow: bool = False
    error: float = math.nan
    note: str = ""
    times: list = dataclasses.field(default_factory=list)

    @property
    def ms(self):
        return min(self.times) if self.times else math.nan

    @property
    def spread(self):
        """How far the median round lies above the fastest: the noise of the machine."""
        return statistics.median(self.times) / self.ms - 1 if self.times else math.nan


@dataclasses.dataclass
class Row:
    file: str
    problem: Problem
    ours: Side
    algorithm: str = ""
    variant: str = ""
    peers: list = dataclasses.field(default_factory=list)
    failure: str = ""

    def ratio(self, side):
        return side.ms / self.ours.ms if side is not None else math.nan

    @property
    def baseline(self):
        return next((s for s in self.peers if s.name == BASELINE and s.times), None)

    @property
    def best(self):
        return min((s for s in self.peers if s.times), key=lambda s: s.ms, default=None)


def fastest(run, seconds, slow):
    best, end = math.inf, time.perf_counter() + seconds
    if not slow:
        run()  # warms the caches after the other side
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        best = min(best, now - start)
        if slow or now >= end:
            return best * 1e3


def measure(np, options, ours, libraries, file, p):
    row = Row(file, p, Side("fourfold", rounds=options.rounds))
    x, w, bias = make_data(np, p)
    reference = Reference(np, p, x, w, bias)
    try:
        row.ours.error = reference.error(ours.compute(np, p, x, w, bias))
        if not row.ours.error <= ERROR_LIMIT:
            row.failure = f"fourfold's result is off by {row.ours.error:.1e}"
            return row
    except RuntimeError as error:
        row.failure = str(error)
        return row
    for library in libraries:
        for name, prepare in library.sides.items():
            side = Side(name, rounds=options.rounds)
            try:
                side.run = prepare(p, x, w, bias)
                start = time.perf_counter()
                y = side.run()
                if time.perf_counter() - start > SLOW_SECONDS:
                    side.rounds, side.slow = min(2, options.rounds), True
                side.error = reference.error(library.to_numpy(y))
                del y
                if not side.error <= PEER_ERROR_LIMIT:
                    side.note, side.run = f"computes something else (error {side.error:.1e}); not counted", None
            except Skip as reason:
                side.note = str(reason)
            except (RuntimeError, MemoryError) as error:
                side.note = "failed: " + str(error).strip().split("\n")[0]
                side.run = None
            row.peers.append(side)
    sides = [s for s in [row.ours, *row.peers] if s is row.ours or s.run]
    try:
        for r in range(options.rounds):
            for side in sides[r % len(sides) :] + sides[: r % len(sides)]:
                if r >= side.rounds:
                    continue
                if side is row.ours:
                    result = ours.bench(p)
                    side.times.append(result["ms_min"])
                    row.algorithm, row.variant = result["algorithm"], result.get("variant", "")
                    if result["ms_min"] > SLOW_SECONDS * 1e3:
                        side.rounds = 2
                else:
                    side.times.append(fastest(side.run, options.min_time, side.slow))
    except RuntimeError as error:
        row.failure = str(error)
    for side in row.peers:
        side.run = None  # frees its tensors
    return row


# --------------------------------------------------------------------------------------------------------------- report


def geomean(values):
    values = [v for v in values if v > 0 and math.isfinite(v)]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else math.nan


def number(value, digits=2):
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}" if value < 1000 else f"{value:.0f}"


HEADER = f"{'shape':24} {'fourfold ms':>11} {'algorithm':>10} {'GFLOP/s':>8} {'spread':>6} {'NCHW ms':>9} {'best ms':>9}  {'best peer':20} {'x NCHW':>7} {'x best':>7}"


def print_row(row):
    if row.failure:
        print(f"{row.problem.name:24} {row.failure}", flush=True)
        return
    base, best = row.baseline, row.best
    print(f"{row.problem.name:24} {number(row.ours.ms, 3):>11} {row.algorithm:>10} {number(row.problem.flops / row.ours.ms / 1e6, 1):>8} "
          f"{100 * row.ours.spread:5.0f}% {number(base.ms if base else None, 3):>9} {number(best.ms if best else None, 3):>9}  "
          f"{best.name if best else '-':20} {number(row.ratio(base)):>7} {number(row.ratio(best)):>7}", flush=True)
    for side in row.peers:
        if not side.times and "failed" in side.note or "something else" in side.note:
            print(f"    {side.name}: {side.note}", flush=True)


def summary(rows):
    """(label, value) per file; a row counts if both of its sides have times."""
    lines = []
    for file in dict.fromkeys(r.file for r in rows):
        good = [r for r in rows if r.file == file and not r.failure]
        for label, side in (("PyTorch NCHW", lambda r: r.baseline), ("the best peer", lambda r: r.best)):
            ratios = {r.problem.name: r.ratio(side(r)) for r in good if side(r)}
            if ratios:
                worst = min(ratios, key=ratios.get)
                lines.append((f"{file}: {label} / fourfold", f"geomean {geomean(ratios.values()):.2f}, worst {ratios[worst]:.2f} ({worst}), faster on {sum(v > 1 for v in ratios.values())} of {len(ratios)}"))
        failed = [r.problem.name for r in rows if r.file == file and r.failure]
        if failed:
            lines.append((f"{file}: failed", ", ".join(failed)))
    return lines


def side_names(rows):
    return list(dict.fromkeys(s.name for r in rows for s in r.peers if s.times))


def write_csv(path, rows, options):
    names = side_names(rows)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["file", "name", "problem", "threads", "algorithm", "variant", "fourfold_ms", "fourfold_spread", "fourfold_error", "gflops",
                      *(n + "_ms" for n in names), *(n + "_error" for n in names), "best_peer", "ratio_nchw", "ratio_best", "failure"])
        for r in rows:
            sides = {s.name: s for s in r.peers if s.times}
            best = r.best
            out.writerow([r.file, r.problem.name, r.problem.line(), options.threads, r.algorithm, r.variant, f"{r.ours.ms:.6g}", f"{r.ours.spread:.3f}",
                          f"{r.ours.error:.2g}", f"{r.problem.flops / r.ours.ms / 1e6:.5g}",
                          *(f"{sides[n].ms:.6g}" if n in sides else "" for n in names), *(f"{sides[n].error:.2g}" if n in sides else "" for n in names),
                          best.name if best else "", f"{r.ratio(r.baseline):.4g}", f"{r.ratio(best):.4g}", r.failure])


STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #2a8f5b; --bad: #c2512f; }
body { font: 14px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, td.text { text-align: left; }
td.bar { min-width: 14rem; padding: 0; } svg { display: block; }
.good { fill: var(--good); } .bad { fill: var(--bad); } .axis { stroke: currentColor; stroke-width: 1; }
b.good { color: var(--good); } b.bad { color: var(--bad); }
"""


def bar(ratio):
    """The ratio on a logarithmic scale from 1/8 to 8; 1 is the middle."""
    if not math.isfinite(ratio) or ratio <= 0:
        return ""
    x = 112 + 36 * max(-3.0, min(3.0, math.log2(ratio)))
    return (f'<svg width="224" height="16" role="img" aria-label="{ratio:.2f}"><rect class="{"good" if ratio > 1 else "bad"}" x="{min(x, 112):.1f}" y="3" '
            f'width="{abs(x - 112):.1f}" height="10"/><line class="axis" x1="112" y1="0" x2="112" y2="16"/></svg>')


def write_html(path, rows, options, versions):
    e, names = html.escape, side_names(rows)
    parts = [f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
             f"<title>fourfold and its peers</title><style>{STYLE}</style><h1>fourfold and its peers</h1>",
             f"<p>{e(cpu_name())}; {options.threads} thread{'s' if options.threads > 1 else ''}; {e(' · '.join(versions))}. "
             f"Sides interleaved, the fastest call of {options.rounds} rounds each. Ratios are peer time / fourfold time: over 1, fourfold is faster. "
             "Filters are packed beforehand in fourfold, torch-nchw-prepacked, torch-prepacked, torch-onednn and scipy-packed; fourfold and both torch-nchw "
             "columns read and write NCHW, the other torch columns a layout of their choice.</p><ul>"]
    parts += [f"<li>{e(label)}: <strong>{e(value)}</strong></li>" for label, value in summary(rows)]
    parts.append("</ul>")
    for file in dict.fromkeys(r.file for r in rows):
        parts.append(f'<h2>{e(file)}</h2><div class="wide"><table><tr><th>shape<th>fourfold ms<th>algorithm<th>GFLOP/s'
                     + "".join(f"<th>{e(n)} ms" for n in names) + "<th>best peer<th>× NCHW<th>× best<th>× best, 1/8 to 8</tr>")
        for r in (r for r in rows if r.file == file):
            if r.failure:
                parts.append(f'<tr><td title="{e(r.problem.line())}">{e(r.problem.name)}<td class="text" colspan="{len(names) + 7}">{e(r.failure)}</tr>')
                continue
            sides, best = {s.name: s for s in r.peers}, r.best
            cells = []
            for n in names:
                s = sides.get(n)
                cells.append(f'<td title="{e(s.note) if s else ""}">{number(s.ms, 3) if s else "-"}')
            ratios = [r.ratio(r.baseline), r.ratio(best)]
            cells += [f'<td class="text">{e(best.name) if best else "-"}']
            cells += [f'<td><b class="{"good" if v > 1 else "bad"}">{number(v)}</b>' if math.isfinite(v) else "<td>-" for v in ratios]
            parts.append(f'<tr><td title="{e(r.problem.line())}">{e(r.problem.name)}<td title="{e(r.variant)}; spread {100 * r.ours.spread:.0f} %">'
                         f'{number(r.ours.ms, 3)}<td class="text">{e(r.algorithm)}<td>{number(r.problem.flops / r.ours.ms / 1e6, 1)}{"".join(cells)}'
                         f'<td class="bar">{bar(ratios[1])}</tr>')
        parts.append("</table></div>")
    path.write_text("\n".join(parts) + "</html>\n", encoding="utf-8")


def cpu_name():
    try:
        for line in open("/proc/cpuinfo"):
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown processor"


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", action="append", metavar="F.csv", help="may be repeated; default: the three files in shapes/")
    parser.add_argument("--only", metavar="REGEX", help="only shapes whose name matches")
    parser.add_argument("--peers", default="torch,opencv,scipy", metavar="LIST", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of every side; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--min-time", type=float, default=0.1, metavar="SECONDS", help="per side and round; default: %(default)s")
    parser.add_argument("--algorithm", default="auto", help="fourfold's; default: %(default)s")
    parser.add_argument("--cores", metavar="LIST", help="bind every side to these processors, e.g. 0 or 0,1")
    parser.add_argument("--fourfold", type=pathlib.Path, default=ROOT / "build/release/bin/fourfold", metavar="PATH", help="default: build/release/bin/fourfold")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "out/bench", metavar="DIR", help="peers.csv and peers.html; default: out/bench")
    options = parser.parse_args()
    options.peers = [p for p in options.peers.split(",") if p]
    for name in options.peers:
        if name not in PEERS:
            parser.error(f"no peer '{name}'; there are: {', '.join(PEERS)}")
    if options.threads < 1 or options.rounds < 1:
        parser.error("--threads and --rounds must be at least 1")
    if not os.access(options.fourfold, os.X_OK):
        parser.error(f"no command at {options.fourfold}; run ./dev build")
    options.problems = []
    for path in options.shapes or sorted((ROOT / "shapes").glob("*.csv")):
        try:
            problems = read_shapes(path)
        except (OSError, ValueError, TypeError) as error:
            parser.error(f"{path}: {error}")
        options.problems += [(pathlib.Path(path).stem, p) for p in problems if not options.only or re.search(options.only, p.name)]
    if not options.problems:
        parser.error("no shapes to measure")
    return options


def main():
    options = parse_arguments()
    if "torch" in options.peers:
        find_libraries()
    if options.cores:
        os.sched_setaffinity(0, {int(c) for c in options.cores.split(",")})
    if options.threads > len(os.sched_getaffinity(0)):
        print(f"note: {options.threads} threads on {len(os.sched_getaffinity(0))} processors; the times will be noisy", file=sys.stderr)
    libraries, missing = [], []
    for name in options.peers:
        try:
            libraries.append(PEERS[name](options.threads))
        except (ImportError, OSError) as error:
            missing.append(name)
            print(f"note: {name} cannot be loaded and is left out ({error})", file=sys.stderr)
    if not libraries:
        print("no peer could be loaded; bench/README.md says how to install them", file=sys.stderr)
        return 1
    import numpy as np

    ours = Fourfold(options.fourfold.resolve(), options.algorithm, options.threads, options.min_time)
    versions = [ours.version, *(library.version for library in libraries)]
    print(f"{cpu_name()}, {options.threads} thread(s), {options.rounds} rounds\n{' · '.join(versions)}")
    rows = []
    try:
        for file, p in options.problems:
            if not rows or rows[-1].file != file:
                print(f"\n{file}\n{HEADER}")
            rows.append(measure(np, options, ours, libraries, file, p))
            print_row(rows[-1])
    except KeyboardInterrupt:
        print("\ninterrupted; what is measured so far is written", file=sys.stderr)
    print()
    for label, value in summary(rows):
        print(f"{label}: {value}")
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "peers.csv", rows, options)
    write_html(options.out / "peers.html", rows, options, versions)
    print(f"written: {options.out / 'peers.csv'}, {options.out / 'peers.html'}")
    return 1 if missing or any(r.failure for r in rows) or len(rows) < len(options.problems) else 0


if __name__ == "__main__":
    sys.exit(main())
