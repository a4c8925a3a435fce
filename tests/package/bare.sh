#!/usr/bin/env bash
# In a bare Debian 12, as root: installs the .deb that cpack made, builds and runs its consumers, C++ and C, with Debian's own tools, reads the
# error where Halide is absent, and removes the package again.
#   ./dev package
#   debootstrap --variant=minbase bookworm ROOT; then in it, with this tree and the package copied there: tests/package/bare.sh FILE.deb
set -euo pipefail
deb=$(readlink -f "$1")
source=$(cd "$(dirname "$(readlink -f "$0")")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
step() { printf '\nbare: %s\n' "$*"; }

step 'install'
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$deb" g++ cmake make >"$work/log" 2>&1 || { tail -n 30 "$work/log" >&2; exit 1; }
dpkg-query -W -f '${Package} ${Version}, depends on ${Depends}\n' fourfold
fourfold --version
fourfold explain --problem 'b8 ic64 i56 oc64 f3 p1'

step 'images'
for from in progressive.jpg rgba.png deflate16.tif; do
    fourfold run --input "$source/tests/fuzz/corpus/image/$from" --filters gaussian:5 --output "$work/blurred.png"
    [[ $(head -c 4 "$work/blurred.png") == $'\x89PNG' ]] || { echo "$from was not blurred into a PNG" >&2; exit 1; }
    rm "$work/blurred.png"
done

step "find_package, $(cmake --version | head -n 1)"
cmake -S "$source/tests/package/cmake_consumer" -B "$work/cmake" -DEXAMPLE="$source/examples/ten_lines.cpp" -DCMAKE_BUILD_TYPE=Release >"$work/log"
cmake --build "$work/cmake" >"$work/log"
"$work/cmake/consumer"
cmake -S "$source/tests/package/c_consumer" -B "$work/c" -DEXAMPLE="$source/examples/c_api.c" >"$work/log"
cmake --build "$work/c" >"$work/log"
"$work/c/c_consumer"

step 'pkg-config'
read -ra flags <<<"$(pkg-config --cflags --libs fourfold)"
g++ -std=c++17 -O2 "$source/examples/ten_lines.cpp" -o "$work/ten_lines" "${flags[@]}"
"$work/ten_lines"
gcc -std=c11 -O2 "$source/examples/c_api.c" -o "$work/c_api" "${flags[@]}"
"$work/c_api"

step 'the shared library'
read -ra flags <<<"$(pkg-config --cflags --libs fourfold_c)"
gcc -std=c11 -O2 "$source/examples/c_api.c" -o "$work/c_shared" "${flags[@]}"
"$work/c_shared"

step 'licence'
grep -q 'Expat' /usr/share/doc/fourfold/copyright

step 'component generators without Halide and with an old CMake: an error that says so'
mkdir "$work/generators"
printf 'cmake_minimum_required(VERSION 3.22)\nproject(c LANGUAGES CXX)\nfind_package(fourfold REQUIRED COMPONENTS generators)\n' >"$work/generators/CMakeLists.txt"
if cmake -S "$work/generators" -B "$work/generators/build" >"$work/log" 2>&1; then
    echo 'it was found' >&2
    exit 1
fi
grep -A 12 'CMake Error' "$work/log"
tr -s ' \n' ' ' <"$work/log" | grep -qE 'needs Halide 21|Halide needs CMake 3.28'

step 'remove'
files=$(dpkg-query -L fourfold)
DEBIAN_FRONTEND=noninteractive apt-get -qq remove -y fourfold >"$work/log" 2>&1
while read -r file; do
    if [[ $file == *fourfold* && -e $file ]]; then
        echo "left behind: $file" >&2
        exit 1
    fi
done <<<"$files"
echo 'bare: passed'
