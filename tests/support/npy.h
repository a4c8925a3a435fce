// Reads and writes .npy files of float32 and complex64, C order: all that the tests need.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fourfold::test {

struct NpyArray {
    std::vector<int64_t> shape;
    std::vector<float> values;  ///< of complex64: real and imaginary parts
};

/// Throws std::runtime_error with the file's name when it is missing, cut short or of another type.
NpyArray read_npy(const std::string &path, const std::string &type = "<f4");
void write_npy(const std::string &path, const NpyArray &array);
/// The bytes of such a file, its type string replaceable, so that tests can make bad ones.
std::string npy_bytes(const NpyArray &array, const std::string &type = "<f4");

}  // namespace fourfold::test
