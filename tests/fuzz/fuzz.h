// What the fuzz targets share. Each target is one file with LLVMFuzzerTestOneInput: linked with libFuzzer it searches for inputs
// that crash, linked with replay.cpp it runs the corpus.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

namespace fourfold::fuzz {

/// Ends the process with a sentence, which is how a fuzzer learns of a finding.
[[noreturn]] inline void finding(const std::string &what) {
    std::fprintf(stderr, "finding: %s\n", what.c_str());
    std::abort();
}

inline void expect(bool condition, const std::string &what) {
    if (!condition) {
        finding(what);
    }
}

}  // namespace fourfold::fuzz
