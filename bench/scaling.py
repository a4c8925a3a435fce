#!/usr/bin/env python3
"""Looks for cliffs: sizes at which fourfold's time jumps, and threads that do not help. Needs only Python and the command.

    bench/scaling.py sizes          # one size of a problem grows: b, ic, oc, i, f
    bench/scaling.py threads        # one thread against two, on the shapes in shapes/

bench/README.md has the criteria. Exit status 1: there are cliffs, or shapes under the wanted share.
"""
import argparse
import csv
import json
import os
import pathlib
import re
import subprocess
import sys

from problems import FOURFOLD, ROOT, parse_line, read_shapes

JUMP = 1.5
SHARE = 0.9

# Problems from which one size at a time departs: name, the line without that size, and which sizes vary.
BASES = [
    ("3x3", dict(b=1, ic=64, i=56, oc=64, f=3), "b ic oc i f"),
    ("1x1", dict(b=1, ic=64, i=28, oc=64, f=1), "b ic oc i"),
    ("first_layer", dict(b=1, ic=3, i=224, oc=64, f=7, s=2), "b oc i"),
    ("strided", dict(b=1, ic=128, i=28, oc=128, f=3, s=2), "b ic oc i"),
    ("depthwise", dict(b=1, ic=96, i=56, oc=96, f=7, g=96), "b c i f"),
    ("image", dict(b=1, ic=1, i=500, oc=1, f=9), "i f"),
]
SIZES = {
    "b": [1, 2, 3, 4, 5, 6, 7, 8, 12, 16],
    "ic": [1, 2, 3, 4, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 192, 255, 256, 257, 384, 512],
    "oc": [1, 2, 3, 4, 8, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 192, 255, 256, 257, 384, 512],
    "c": [1, 2, 3, 4, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 96, 128, 192, 256],
    "i": [7, 8, 9, 12, 13, 14, 15, 16, 17, 20, 24, 27, 28, 29, 31, 32, 33, 40, 47, 48, 49, 55, 56, 57, 63, 64, 65, 80, 96, 97, 111, 112, 113, 128, 129, 160, 192, 193, 224],
    "f": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 19, 21, 23, 25, 27, 29, 31],
}
IMAGE_SIZES = [64, 100, 127, 128, 129, 200, 255, 256, 257, 300, 400, 500, 511, 512, 513, 640, 700, 800, 900, 1000, 1023, 1024, 1025]


def line(sizes):
    """Padded to the same size, so that f alone does not change the output."""
    text = " ".join(f"{k}{v}" for k, v in sizes.items() if k != "g")
    return text + f" p{sizes['f'] // 2}" + (f" g{sizes['g']}" if "g" in sizes else "")


def sweeps(pattern):
    for name, base, axes in BASES:
        for axis in axes.split():
            if not re.search(pattern, f"{name}/{axis}"):
                continue
            points = []
            for n in IMAGE_SIZES if (name, axis) == ("image", "i") else SIZES[axis]:
                sizes = dict(base, **(dict(ic=n, oc=n, g=n) if axis == "c" else {axis: n}))
                points.append((n, line(sizes)))
            yield name, axis, points


class Bench:
    def __init__(self, options, *flags):
        self.command = [str(options.fourfold), "bench", "--json", "--trust", "--algorithm", options.algorithm, "--min-time", str(options.min_time), *flags]

    def __call__(self, lines, threads):
        """The JSON object of each problem, in order."""
        done = subprocess.run([*self.command, "--threads", str(threads), "--problem", *lines], capture_output=True, text=True)
        results = [json.loads(row) for row in done.stdout.splitlines() if row.startswith("{")]
        if done.returncode != 0 or len(results) != len(lines):
            sys.exit(f"fourfold bench failed ({done.returncode}): {done.stderr.strip()}")
        return results


def rows_of(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    print(f"written: {path}")


# ----------------------------------------------------------------------------------------------------------------- sizes


def is_cliff(before, after):
    """Time may grow in proportion to the work, and a larger problem be no slower; beyond 1.5 times that it is a cliff:
    up    t(n') / t(n) > 1.5 work(n') / work(n)    the larger problem costs too much
    down  t(n) / t(n') > 1.5                       the smaller problem costs more than the larger one"""
    growth = after["ms"] / before["ms"]
    excess = growth / (after["work"] / before["work"])
    return ("up", excess) if excess > JUMP else ("down", 1 / growth) if 1 / growth > JUMP else None


def find_cliffs(points):
    return [(before, after, *cliff) for before, after in zip(points, points[1:]) if (cliff := is_cliff(before, after))]


def measure_sizes(options):
    bench, rows, cliffs = Bench(options), [], []
    for name, axis, points in sweeps(options.only):
        results = bench([text for _, text in points], options.threads)
        sweep = []
        for (n, text), r in zip(points, results):
            work = parse_line(name, text).flops
            sweep.append(dict(sweep=f"{name}/{axis}", n=n, problem=text, algorithm=r["algorithm"], variant=r["variant"], work=work, ms=r["ms_min"],
                              gflops=work / r["ms_min"] / 1e6, ms_again=""))
        # A jump that is not there a second time was the machine's.
        suspects = {p["n"] for before, after, *_ in find_cliffs(sweep) for p in (before, after)}
        again = [p for p in sweep if p["n"] in suspects]
        if again:
            for p, r in zip(again, bench([p["problem"] for p in again], options.threads)):
                p["ms_again"] = r["ms_min"]
                p["ms"] = min(p["ms"], r["ms_min"])
                p["gflops"] = p["work"] / p["ms"] / 1e6
        found = find_cliffs(sweep)
        algorithms = ", ".join(dict.fromkeys(p["algorithm"] for p in sweep))
        print(f"{name + '/' + axis:18} {len(sweep):3} sizes, {min(p['gflops'] for p in sweep):7.1f} to {max(p['gflops'] for p in sweep):7.1f} GFLOP/s, "
              f"{len(found)} cliff{'' if len(found) == 1 else 's'}  ({algorithms})", flush=True)
        rows += sweep
        cliffs += [(f"{name}/{axis}", *c) for c in found]
    if not rows:
        sys.exit("no sweep matches")
    if cliffs:
        print(f"\n{'sweep':18} {'from':>5} {'to':>5} {'ms':>9} {'ms':>9} {'work':>6} {'time':>6} {'excess':>6}  algorithms, problem")
    for name, a, b, kind, excess in sorted(cliffs, key=lambda c: -c[4]):
        print(f"{name:18} {a['n']:5} {b['n']:5} {a['ms']:9.4f} {b['ms']:9.4f} {'x%.2f' % (b['work'] / a['work']):>6} {'x%.2f' % (b['ms'] / a['ms']):>6} {excess:6.2f}  "
              f"{a['algorithm']} to {b['algorithm']}, {b['problem'] if kind == 'up' else a['problem']}")
    print(f"\n{len(cliffs)} cliffs in {len(rows)} sizes")
    rows_of(options.out / "sizes.csv", rows)
    return 1 if cliffs else 0


# --------------------------------------------------------------------------------------------------------------- threads


def measure_threads(options):
    bench, rows, n = Bench(options, "--wall-clock"), [], options.threads
    shapes = []
    for path in options.shapes or sorted((ROOT / "shapes").glob("*.csv")):
        shapes += [(pathlib.Path(path).stem, p) for p in read_shapes(path) if re.search(options.only, p.name)]
    if not shapes:
        sys.exit("no shape matches")
    print(f"{'shape':24} {'algorithm':>10} {'t1 ms':>9} {f't{n} ms':>9} {f't1/t{n}':>7} {'FMA':>6} {'share':>6}")
    for file, p in shapes:
        first = bench([p.line()], 1)[0]
        if first["ms_min"] < 1:
            continue
        # Turns, the least time and the highest peak of each; fourfold bench measures the peak just before its problem.
        ones, many = [first], []
        for r in range(options.rounds):
            many.append(bench([p.line()], n)[0])
            if r + 1 < options.rounds:
                ones.append(bench([p.line()], 1)[0])
        t1, tn = (min(r["ms_min"] for r in side) for side in (ones, many))
        peak1, peakn = (max(r["peak_gflops"] for r in side) for side in (ones, many))
        gain, possible = t1 / tn, peakn / peak1
        rows.append(dict(file=file, name=p.name, problem=p.line(), algorithm=first["algorithm"], t1_ms=t1, tn_ms=tn, threads=n, gain=gain, fma_gain=possible, share=gain / possible))
        print(f"{p.name:24} {first['algorithm']:>10} {t1:9.3f} {tn:9.3f} {gain:7.2f} {possible:6.2f} {gain / possible:6.2f}{'  <' if gain / possible < SHARE else ''}", flush=True)
    under = [r for r in rows if r["share"] < SHARE]
    print(f"\n{len(under)} of {len(rows)} shapes of 1 ms and more gain less than {SHARE} of what a plain FMA loop gains"
          + "".join(f"\n  {r['share']:.2f} {r['name']} ({r['algorithm']})" for r in sorted(under, key=lambda r: r["share"])))
    if rows:
        rows_of(options.out / "threads.csv", rows)
    return 1 if under else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["sizes", "threads"])
    parser.add_argument("--only", default="", metavar="REGEX", help="only sweeps (3x3/ic) or shapes whose name matches")
    parser.add_argument("--shapes", action="append", metavar="F.csv", help="threads: may be repeated; default: the files in shapes/")
    parser.add_argument("--threads", type=int, metavar="N", help="sizes: default 1; threads: compared with one, default 2")
    parser.add_argument("--rounds", type=int, default=3, help="threads: default: %(default)s")
    parser.add_argument("--min-time", type=float, default=0.03, metavar="SECONDS", help="per problem; default: %(default)s")
    parser.add_argument("--algorithm", default="auto", help="default: %(default)s")
    parser.add_argument("--fourfold", type=pathlib.Path, default=FOURFOLD, metavar="PATH", help="default: build/release/bin/fourfold")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "out/bench", metavar="DIR", help="sizes.csv and threads.csv; default: out/bench")
    options = parser.parse_args()
    if not os.access(options.fourfold, os.X_OK):
        parser.error(f"no command at {options.fourfold}; run ./dev build")
    options.threads = options.threads or (1 if options.what == "sizes" else 2)
    return measure_sizes(options) if options.what == "sizes" else measure_threads(options)


if __name__ == "__main__":
    sys.exit(main())
