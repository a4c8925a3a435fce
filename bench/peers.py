#!/usr/bin/env python3
"""Head-to-head of fourfold with PyTorch (oneDNN inside), oneDNN itself, OpenCV and SciPy; on a GPU with PyTorch (cuDNN inside). See
bench/README.md.

    .venv-peers/bin/python bench/peers.py --threads 1 --rounds 5
    PYTHONPATH=build/release/python .venv-peers/bin/python bench/peers.py --device cuda

Per shape, rounds alternate between `fourfold bench` and every peer on the same threads. A ratio is peer time / fourfold time:
over 1, fourfold is faster.
"""
import argparse
import dataclasses
import functools
import os
import pathlib
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import cuda
import onednn
import report
import sides
from problems import FOURFOLD, ROOT, Reference, error_limit, make_data, read_shapes
from results import Row, Side

PEERS = {"torch": sides.Torch, "onednn": onednn.OneDnn, "opencv": sides.OpenCv, "scipy": sides.SciPy}
GPU_PEERS = {"torch": cuda.Torch}
PEER_ERROR_LIMIT = 1e-4  # a peer may be less accurate, but must compute the same thing
SAMPLE_SECONDS = 1e-3  # shorter calls are repeated within a sample, as fourfold's are
SLOW_SECONDS = 2.0  # a side whose one call takes longer is called once a round, in two rounds


def fastest(run, seconds, slow, clock=time.perf_counter):
    if hasattr(run, "fastest"):  # a GPU's has a clock of its own
        return run.fastest(seconds)
    best, end, repeats = float("inf"), time.perf_counter() + seconds, 1
    if not slow:
        run()  # warms the caches after the other side
        start = clock()
        run()
        repeats = max(1, min(1000, int(SAMPLE_SECONDS / max(clock() - start, 1e-7))))
    while True:
        start = clock()
        for _ in range(repeats):
            run()
        best = min(best, (clock() - start) / repeats)
        if slow or time.perf_counter() >= end:
            return best * 1e3


@functools.cache
def has_fine_process_clock(steps=20):
    """Whether processor time moves in short steps; in some sandboxes it has the scheduler's, and `fourfold bench` takes the wall clock too."""
    for _ in range(5):
        end, moved, last = time.perf_counter() + 1e-3, 0, time.process_time()
        while moved < steps and time.perf_counter() < end:
            now = time.process_time()
            moved, last = moved + (now > last), now
        if moved == steps:
            return True
    return False


def clock_for(threads):
    """Of one thread processor time, which is what `fourfold bench` takes (runtime/clock.h): of all threads of this process, so that nobody hides one."""
    return time.process_time if threads == 1 and has_fine_process_clock() else time.perf_counter


def prepare(side, kind, library, reference, p, arrays):
    """Makes side.run and verifies it."""
    try:
        run = kind.prepare(p, *arrays)
        start = time.perf_counter()
        y = run()
        side.slow = time.perf_counter() - start > SLOW_SECONDS
        side.error = reference.error(library.to_numpy(y))
        side.detail = getattr(run, "detail", "")
        if side.error <= PEER_ERROR_LIMIT:
            side.run = run
        else:
            side.note, side.failed = f"computes something else (error {side.error:.1e}); not counted", True
    except sides.Skip as reason:
        side.note = str(reason)
    except Exception as error:  # whatever a library throws concerns this side only
        side.fail(error)


def measure(np, options, ours, libraries, file, p):
    row = Row(file, p, Side("fourfold", rounds=options.rounds), options.layout)
    arrays = make_data(np, p, options.rank_one)
    reference = Reference(np, p, *arrays)
    try:
        row.ours.error = reference.error(ours.compute(np, p, *arrays))
        first = ours.bench(p)
    except RuntimeError as error:
        row.failure = str(error)
        return row
    row.algorithm, row.variant = first["algorithm"], first.get("variant", "")
    if not row.ours.error <= error_limit(row.algorithm):
        row.failure = f"fourfold's result ({row.algorithm}) is off by {row.ours.error:.1e}"
        return row
    if first["ms_min"] > SLOW_SECONDS * 1e3:
        row.ours.rounds = min(2, options.rounds)
    for library in libraries:
        for name, kind in (library.sides if p.operation == "fwd" else library.gradients).items():
            side = Side(name, kind.layout, kind.filters)
            # A side keeps to a thread of its own, made for this shape: once PyTorch's oneDNN has failed to generate a kernel, it
            # generates none in that thread any more. And oneDNN's scratch memory belongs to the thread that made the primitive.
            side.thread = ThreadPoolExecutor(1, initializer=library.set_threads)
            side.thread.submit(prepare, side, kind, library, reference, p, arrays).result()
            side.rounds = min(2, options.rounds) if side.slow else options.rounds
            row.peers.append(side)
    for r in range(options.rounds):
        running = [s for s in (row.ours, *row.peers) if s is row.ours or s.run]
        for side in running[r % len(running) :] + running[: r % len(running)]:
            if r >= side.rounds:
                continue
            try:
                if side is row.ours:
                    side.times.append(ours.bench(p)["ms_min"])
                else:
                    side.times.append(side.thread.submit(fastest, side.run, options.min_time, side.slow, clock_for(options.threads)).result())
            except Exception as error:
                side.times, side.run = [], None
                side.fail(error)
    row.failure = row.ours.note
    for side in row.peers:
        side.thread.submit(setattr, side, "run", None).result()  # frees its tensors
        side.thread.shutdown()
    return row


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", action="append", metavar="F.csv", help="may be repeated; default: the three files in shapes/")
    parser.add_argument("--only", metavar="REGEX", help="only shapes whose name matches")
    parser.add_argument("--peers", metavar="LIST", help="default: torch,onednn,opencv,scipy; for gradients torch")
    parser.add_argument("--threads", type=int, default=1, help="of every side; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--min-time", type=float, default=0.1, metavar="SECONDS", help="per side and round; default: %(default)s")
    parser.add_argument("--operation", choices=["fwd", "bwd-data", "bwd-filters"], default="fwd", help="the shapes' layers, or a gradient of them; default: %(default)s")
    parser.add_argument("--include-packing", action="store_true", help="give fourfold its filters unpacked in every call, as training does")
    parser.add_argument("--rank-one", action="store_true", help="filters that are outer products, as blurs are: the side opencv-sep, and fourfold's two passes, take part")
    parser.add_argument("--layout", choices=["nchw", "nhwc"], default="nchw", help="of fourfold's input and output; default: %(default)s")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: PyTorch's GPU, for which fourfold's Python package must be on PYTHONPATH; default: %(default)s")
    parser.add_argument("--algorithm", default="auto", help="fourfold's; default: %(default)s")
    parser.add_argument("--cores", metavar="LIST", help="bind every side to these processors, e.g. 0 or 0,1")
    parser.add_argument("--fourfold", type=pathlib.Path, default=FOURFOLD, metavar="PATH", help="default: build/release/bin/fourfold")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "out/bench", metavar="DIR", help="peers.csv and peers.html; default: out/bench")
    options = parser.parse_args()
    options.all_peers = GPU_PEERS if options.device == "cuda" else PEERS
    if options.device == "cuda" and options.rank_one:
        parser.error("--rank-one: two passes are the CPU's")
    able = [name for name, peer in options.all_peers.items() if options.operation == "fwd" or name == "torch"]
    options.peers = able if options.peers is None else [p for p in options.peers.split(",") if p]
    for name in options.peers:
        if name not in able:
            parser.error(f"no peer '{name}' for {options.operation}; there are: {', '.join(able)}")
    if options.threads < 1 or options.rounds < 1:
        parser.error("--threads and --rounds must be at least 1")
    if options.device == "cpu" and not os.access(options.fourfold, os.X_OK):
        parser.error(f"no command at {options.fourfold}; run ./dev build")
    options.problems = []
    for path in options.shapes or sorted((ROOT / "shapes").glob("*.csv")):
        try:
            problems = read_shapes(path)
        except (OSError, ValueError, TypeError) as error:
            parser.error(f"{path}: {error}")
        problems = [dataclasses.replace(p, operation=options.operation) for p in problems]
        options.problems += [(pathlib.Path(path).stem, p) for p in problems if not options.only or re.search(options.only, p.name)]
    if not options.problems:
        parser.error("no shapes to measure")
    return options


def main():
    options = parse_arguments()
    if "torch" in options.peers:
        sides.find_libraries()
    if options.cores:
        os.sched_setaffinity(0, {int(c) for c in options.cores.split(",")})
    if options.threads > len(os.sched_getaffinity(0)):
        print(f"note: {options.threads} threads on {len(os.sched_getaffinity(0))} processors; the times will be noisy", file=sys.stderr)
    if options.rounds < 3:
        print(f"note: the intervals of {options.rounds} round(s) say nothing", file=sys.stderr)
    libraries, missing = [], []
    for name in options.peers:
        try:
            libraries.append(options.all_peers[name](options.threads))
            libraries[-1].set_threads()
        except (ImportError, OSError) as error:
            missing.append(name)
            print(f"note: {name} cannot be loaded and is left out ({error})", file=sys.stderr)
    if not libraries:
        print("no peer could be loaded; bench/README.md says how to install them", file=sys.stderr)
        return 1
    import numpy as np

    if options.device == "cuda":
        ours = cuda.Fourfold(options.algorithm, options.layout, options.include_packing, options.min_time)
    else:
        ours = sides.Fourfold(options.fourfold.resolve(), options.algorithm, options.threads, options.min_time, options.layout, options.include_packing, options.rank_one)
    versions = [ours.version, *(library.version for library in libraries)]
    print(f"{report.cpu_name()}, {options.threads} thread(s), {options.rounds} rounds, {report.terms(options)}\n{' · '.join(versions)}")
    rows = []
    try:
        for file, p in options.problems:
            if not rows or rows[-1].file != file:
                print(f"\n{file}\n{report.header(options.layout)}")
            rows.append(measure(np, options, ours, libraries, file, p))
            report.print_row(rows[-1])
    except KeyboardInterrupt:
        print("\ninterrupted; what is measured so far is written", file=sys.stderr)
    report.print_summary(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    report.write_csv(options.out / "peers.csv", rows, options)
    report.write_html(options.out / "peers.html", rows, options, versions)
    print(f"written: {options.out / 'peers.csv'}, {options.out / 'peers.html'}")
    return 1 if missing or any(r.failure for r in rows) or len(rows) < len(options.problems) else 0


if __name__ == "__main__":
    sys.exit(main())
