#!/bin/sh
# Runs a generator and fails when it prints anything: Halide's warnings are errors here.
output=$("$@" 2>&1)
status=$?
if [ -n "$output" ] || [ $status -ne 0 ]; then
    printf '%s\n' "$output" >&2
    [ $status -ne 0 ] && exit $status
    exit 1
fi
