// TIFF through libtiff: 8- and 16-bit integers and 32-bit floats, grey or RGB, with or without alpha; the first image of a file.
#pragma once

#include <string>

#include "image.h"

namespace fourfold::cli {

bool looks_like_tiff(const std::string &bytes);

/// Strips and tiles, interleaved or in planes, whatever compression libtiff was built with. Errors: kInvalidArgument, naming
/// the file and what is wrong or not supported.
Result<Image> decode_tiff(const std::string &bytes, const std::string &name);

/// One deflated image of image.bits: integers clamped to [0, 1] and rounded, floats as they are. Errors: kInternal.
Result<std::string> encode_tiff(const Image &image);

}  // namespace fourfold::cli
