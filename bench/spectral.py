#!/usr/bin/env python3
"""The spectral product against NumPy's and PyTorch's complex64 products, and against a spatial 3x3 layer of the same channels.

    .venv-peers/bin/python bench/spectral.py --threads 1 --rounds 5

Rounds alternate between `fourfold bench` and every peer on the same threads, as in bench/peers.py. A ratio is peer time /
fourfold time, filters packed: over 1, fourfold is faster. See bench/README.md.
"""
import argparse
import dataclasses
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile

import report
import sides
from peers import clock_for, fastest
from problems import FOURFOLD

PEER_ERROR_LIMIT = 1e-4


@dataclasses.dataclass(frozen=True)
class Shape:
    batch: int
    ic: int
    oc: int
    image: int

    @property
    def half(self):
        return self.image // 2 + 1

    def spectral(self, order):
        return f"spectral b{self.batch} ic{self.ic} i{self.image}x{self.half} oc{self.oc}" + (" bcij" if order == "bcij" else "")

    def spatial(self):
        return f"b{self.batch} ic{self.ic} i{self.image} oc{self.oc} f3 p1"

    @property
    def gflop(self):
        return 8e-9 * self.batch * self.ic * self.oc * self.image * self.half

    @property
    def spatial_gflop(self):
        return 18e-9 * self.batch * self.ic * self.oc * self.image * self.image


SHAPES = [Shape(128, 1, 32, 28), Shape(128, 32, 64, 28), Shape(32, 64, 64, 56)]
EQUATION = {"bijc": "bijc,ijck->bijk", "bcij": "bcij,kcij->bkij"}


def spectra(np, shape, order):
    """x and w, uniform on [-1, 1]."""
    rng = np.random.default_rng(1)
    sizes = ((shape.batch, shape.image, shape.half, shape.ic), (shape.image, shape.half, shape.ic, shape.oc))
    x, w = ((rng.uniform(-1, 1, (*s, 2)).astype(np.float32).view(np.complex64)[..., 0]) for s in sizes)
    if order == "bcij":
        x, w = x.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1)
    return np.ascontiguousarray(x), np.ascontiguousarray(w)


def complex_peers(np, torch, shape, order):
    """Name -> function that returns the product in the order's meaning; what a view costs later is not counted."""
    x, w = spectra(np, shape, order)
    equation = EQUATION[order]
    peers = {"numpy-einsum": lambda: np.einsum(equation, x, w)}
    if torch:
        tx, tw = torch.from_numpy(x).clone(), torch.from_numpy(w).clone()  # aligned, as fourfold's are
        peers["torch-einsum"] = lambda: torch.einsum(equation, tx, tw)
        if order == "bijc":
            peers["torch-matmul"] = lambda: torch.matmul(tx.permute(1, 2, 0, 3), tw).permute(2, 0, 1, 3)
        else:
            peers["torch-matmul"] = lambda: torch.matmul(tx.permute(2, 3, 0, 1), tw.permute(2, 3, 1, 0)).permute(2, 3, 0, 1)
    return x, w, peers


def spatial_peers(np, torch, shape):
    """PyTorch's 3x3 layer of the same channels and images."""
    if not torch:
        return {}
    rng = np.random.default_rng(2)
    x = torch.from_numpy(rng.uniform(-1, 1, (shape.batch, shape.ic, shape.image, shape.image)).astype(np.float32))
    w = torch.from_numpy(rng.uniform(-1, 1, (shape.oc, shape.ic, 3, 3)).astype(np.float32))
    conv2d, last = torch.nn.functional.conv2d, torch.channels_last
    peers = {"torch-conv2d": lambda: conv2d(x, w, padding=1)}
    if shape.ic > 1:
        xl, wl = x.contiguous(memory_format=last), w.contiguous(memory_format=last)
        peers["torch-conv2d-channels_last"] = lambda: conv2d(xl, wl, padding=1)
    return peers


def error(np, got, x, w, order):
    """max|y - y_ref| / max(|x| |w|) at 16 frequencies, in complex128."""
    if order == "bcij":
        got, x, w = got.transpose(0, 2, 3, 1), x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    rng, worst, scale = np.random.default_rng(3), 0.0, 0.0
    for _ in range(16):
        i, j = rng.integers(x.shape[1]), rng.integers(x.shape[2])
        a, b = x[:, i, j].astype(np.complex128), w[i, j].astype(np.complex128)
        difference = float(np.abs(got[:, i, j] - a @ b).max())
        worst = difference if not difference <= worst else worst
        scale = max(scale, float((np.abs(a) @ np.abs(b)).max()))
    return worst / scale


class Ours:
    """`fourfold bench`, a process per round that times inside itself."""

    def __init__(self, command, threads, min_time):
        self.command = sides.Fourfold(command, "auto", threads, min_time, "nchw", False)

    def verify(self, np, x, w, order):
        with tempfile.TemporaryDirectory() as folder:
            file = {name: os.path.join(folder, name + ".npy") for name in "xwy"}
            np.save(file["x"], x)
            np.save(file["w"], w)
            self.command.run("spectral", "--input", file["x"], "--filters", file["w"], "--output", file["y"], "--order", order, "--threads", str(self.command.threads))
            return error(np, np.load(file["y"]), x, w, order)

    def bench(self, problem, *flags):
        options = ["--threads", str(self.command.threads), *self.command.options, *flags]
        return [json.loads(line) for line in self.command.run("bench", "--json", "--problem", problem, *options).splitlines() if line.startswith("{")][0]


def measure(np, torch, options, ours, shape, order):
    """Side -> fastest milliseconds of each round; 'fourfold' first. Sides of a 3x3 layer on images have a ':' in their name."""
    x, w, peers = complex_peers(np, torch, shape, order)
    wrong = ours.verify(np, x, w, order)
    if not wrong <= 1e-6:
        raise RuntimeError(f"fourfold's result is off by {wrong:.1e}")
    for name, run in peers.items():
        off = error(np, np.asarray(run()), x, w, order)
        if not off <= PEER_ERROR_LIMIT:
            raise RuntimeError(f"{name} computes something else (error {off:.1e})")
    first = ours.bench(shape.spectral(order))
    clock = clock_for(options.threads)
    calls = {"fourfold": lambda: ours.bench(shape.spectral(order))["ms_min"],
             "fourfold, unpacked": lambda: ours.bench(shape.spectral(order), "--include-packing")["ms_min"]}
    calls |= {name: (lambda run=run: fastest(run, options.min_time, False, clock)) for name, run in peers.items()}
    if order == "bijc":
        calls["spatial: fourfold"] = lambda: ours.bench(shape.spatial())["ms_min"]
        # The product between its transforms, as a layer whose neighbours are spatial has to run it.
        calls["transformed: fourfold fft"] = lambda: ours.bench(shape.spatial() + " circular", "--algorithm", "fft")["ms_min"]
        calls |= {f"spatial: {name}": (lambda run=run: fastest(run, options.min_time, False, clock)) for name, run in spatial_peers(np, torch, shape).items()}
    times = {name: [] for name in calls}
    names = list(calls)
    for r in range(options.rounds):
        for name in names[r % len(names) :] + names[: r % len(names)]:
            times[name].append(calls[name]())
    return first, times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of every side; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--min-time", type=float, default=0.2, metavar="SECONDS", help="per side and round; default: %(default)s")
    parser.add_argument("--orders", default="bijc,bcij", help="default: %(default)s")
    parser.add_argument("--fourfold", type=pathlib.Path, default=FOURFOLD, metavar="PATH", help="default: build/release/bin/fourfold")
    options = parser.parse_args()
    orders = options.orders.split(",")
    if options.threads < 1 or options.rounds < 1 or any(o not in EQUATION for o in orders):
        parser.error("--threads and --rounds must be at least 1, --orders bijc, bcij or both")
    if not os.access(options.fourfold, os.X_OK):
        parser.error(f"no command at {options.fourfold}; run ./dev build")
    sides.find_libraries()
    import numpy as np

    versions = [f"NumPy {np.__version__}"]
    try:
        import torch

        torch.set_num_threads(options.threads)
        torch.set_grad_enabled(False)
        versions.append(f"PyTorch {torch.__version__}")
    except (ImportError, OSError) as problem:
        torch = None
        print(f"note: PyTorch cannot be loaded and is left out ({problem})", file=sys.stderr)
    ours = Ours(options.fourfold.resolve(), options.threads, options.min_time)
    print(f"{report.cpu_name()}, {options.threads} thread(s), {options.rounds} rounds\n{ours.command.version} · {' · '.join(versions)}")
    for shape in SHAPES:
        for order in orders:
            first, times = measure(np, torch, options, ours, shape, order)
            peak = first.get("peak_gflops") or math.nan
            print(f"\n{shape.spectral(order)}   {first['variant']}, peak {peak:.0f} GFLOP/s")
            ratio = lambda name: statistics.median(b / a for a, b in zip(times["fourfold"], times[name]))
            for name, side in times.items():
                gflops = (shape.gflop if ":" not in name else shape.spatial_gflop) / min(side) * 1e3
                note = f"{100 * gflops / peak:4.0f} % of peak" if name.startswith("fourfold") else ""
                print(f"  {name:36s} {min(side):10.3f} ms {gflops:8.1f} GFLOP/s  ratio {ratio(name):7.2f}  {note}")
            best = min((n for n in times if n in ("numpy-einsum", "torch-einsum", "torch-matmul")), key=ratio)
            print(f"  best complex peer: {best}, {ratio(best):.2f} times fourfold's time")
            spatial = [n for n in times if n.startswith("spatial")]
            if spatial:
                layer = min(spatial, key=ratio)
                verdict = "the spatial layer is the better choice" if ratio(layer) < 1 else "the product is faster, if the network stays in the Fourier domain"
                print(f"  best 3x3 layer:    {layer.removeprefix('spatial: ')}, {ratio(layer):.2f} times the product's time: {verdict}")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
