// PNG through libpng: 8 and 16 bits, grey or RGB, with or without alpha; palettes and fewer bits become 8 bits.
#pragma once

#include <string>

#include "image.h"

namespace fourfold::cli {

bool looks_like_png(const std::string &bytes);

/// Errors: kInvalidArgument, naming the file and what is wrong with it; checksums are checked.
Result<Image> decode_png(const std::string &bytes, const std::string &name);

/// 8 bits where the image has 8, otherwise 16; clamped to [0, 1] and rounded. Errors: kInternal.
Result<std::string> encode_png(const Image &image);

}  // namespace fourfold::cli
