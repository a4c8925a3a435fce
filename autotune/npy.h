// NumPy's .npy files: float32, and complex64 for spectra.
#pragma once

#include <complex>
#include <cstdint>
#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

/// A dense array, last index fastest.
template<typename T>
struct BasicArray {
    std::vector<int64_t> shape;
    std::vector<T> data;

    int64_t elements() const {
        int64_t n = 1;
        for (int64_t size : shape) {
            n *= size;
        }
        return n;
    }
};
using Array = BasicArray<float>;
using ComplexArray = BasicArray<std::complex<float>>;

/// "(1, 3, 8, 8)", as NumPy prints shapes.
std::string shape_text(const std::vector<int64_t> &shape);

/// Reads format versions 1 to 3 of little-endian float32 ('<f4'); Fortran order is transposed to C order.
/// Errors: kInvalidArgument, naming the file and what is wrong: magic, version, header, dtype, shape, size.
Result<Array> read_npy(const std::string &path);
/// The same of little-endian complex64 ('<c8').
Result<ComplexArray> read_complex_npy(const std::string &path);
/// As read_npy from memory; `name` is for messages.
Result<Array> parse_npy(const std::string &bytes, const std::string &name);

/// Writes version 1, C order, atomically. Errors: kInternal.
Status write_npy(const std::string &path, const std::vector<int64_t> &shape, const float *data);
Status write_npy(const std::string &path, const std::vector<int64_t> &shape, const std::complex<float> *data);

}  // namespace fourfold::cli
