#!/usr/bin/env python3
"""Kernels of fixed size against the general ones: a library that `fourfold generate` makes for a file's problems, and
libfourfold.a, in one program each, taking turns. Needs an installed fourfold, and CMake as Halide wants it in PATH.

    bench/sized.py --prefix /opt/fourfold --shapes shapes/networks.csv --only resnet50

A ratio is the general library's time / the sized one's, the median of the rounds': over 1, fixed sizes are faster.
"""
import argparse
import contextlib
import math
import pathlib
import statistics
import subprocess
import tempfile

from problems import ROOT, read_shapes

CMAKE = """cmake_minimum_required(VERSION 3.28)
project(sized LANGUAGES CXX)
find_package(fourfold REQUIRED COMPONENTS library generators)
fourfold_add_library(shapes SHAPES shapes.csv)
foreach(library shapes fourfold::fourfold)
    string(REPLACE "fourfold::" "" name with_${{library}})
    add_executable(${{name}} {source})
    target_compile_features(${{name}} PRIVATE cxx_std_20)
    target_link_libraries(${{name}} PRIVATE ${{library}})
endforeach()
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prefix", required=True, help="where fourfold is installed")
    parser.add_argument("--shapes", default=str(ROOT / "shapes/networks.csv"))
    parser.add_argument("--only", default="resnet50", help="problems whose name starts so")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--min-time", default="0.1", help="seconds of a problem in a round")
    parser.add_argument("--folder", help="build there and keep it: the next run only measures (default: a temporary one)")
    flags = parser.parse_args()

    problems = [p for p in read_shapes(flags.shapes) if p.name.startswith(flags.only)]
    if not problems:
        parser.error(f"--only: no name in {flags.shapes} starts with '{flags.only}'")
    with contextlib.nullcontext(flags.folder) if flags.folder else tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("shapes.csv", "".join(f"{p.name},{p.line()}\n" for p in problems)), ("CMakeLists.txt", CMAKE.format(source=ROOT / "bench/sized.cpp"))):
            if not (folder / name).exists() or (folder / name).read_text() != text:
                (folder / name).write_text(text)
        subprocess.run(["cmake", "-S", folder, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_PREFIX_PATH={flags.prefix}"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["cmake", "--build", folder / "build"], check=True, stdout=subprocess.DEVNULL)
        programs = [folder / "build/with_shapes", folder / "build/with_fourfold"]
        times = [[], []]
        for turn in range(flags.rounds):
            for side in (0, 1) if turn % 2 == 0 else (1, 0):
                out = subprocess.run([programs[side], flags.min_time], input="".join(p.line() + "\n" for p in problems), text=True, capture_output=True, check=True).stdout
                times[side].append([float(v) for v in out.split()])
        print(f"{'shape':24s} {'sized ms':>9s} {'general':>9s}  ratio")
        logs = []
        for i, p in enumerate(problems):
            ratio = statistics.median(general[i] / sized[i] for sized, general in zip(*times))
            logs.append(math.log(ratio))
            print(f"{p.name:24s} {min(t[i] for t in times[0]):9.3f} {min(t[i] for t in times[1]):9.3f}  {ratio:.3f}")
        print(f"geometric mean {math.exp(sum(logs) / len(logs)):.3f}; {programs[0].stat().st_size / 1e6:.1f} MB instead of {programs[1].stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
