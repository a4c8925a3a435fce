// NumPy's .npy files, float32 only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

/// A dense float32 array, last index fastest.
struct Array {
    std::vector<int64_t> shape;
    std::vector<float> data;

    int64_t elements() const;
};

/// "(1, 3, 8, 8)", as NumPy prints shapes.
std::string shape_text(const std::vector<int64_t> &shape);

/// Reads format versions 1 to 3 of little-endian float32 ('<f4'); Fortran order is transposed to C order.
/// Errors: kInvalidArgument, naming the file and what is wrong: magic, version, header, dtype, shape, size.
Result<Array> read_npy(const std::string &path);
/// The same from memory; `name` is for messages.
Result<Array> parse_npy(const std::string &bytes, const std::string &name);

/// Writes version 1, C order, atomically. Errors: kInternal.
Status write_npy(const std::string &path, const std::vector<int64_t> &shape, const float *data);

}  // namespace fourfold::cli
