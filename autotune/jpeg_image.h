// JPEG through libjpeg: 8 bits, grey or RGB; CMYK is read as RGB.
#pragma once

#include <string>

#include "image.h"

namespace fourfold::cli {

bool looks_like_jpeg(const std::string &bytes);

/// Errors: kInvalidArgument, naming the file and what is wrong with it. JPEG has no checksums: damage is found where it breaks the
/// code, and may otherwise go unseen.
Result<Image> decode_jpeg(const std::string &bytes, const std::string &name);

/// Quality 95, colours at full resolution; clamped to [0, 1] and rounded to 8 bits. One or three channels. Errors:
/// kInvalidArgument (more pixels a side than JPEG has), kInternal.
Result<std::string> encode_jpeg(const Image &image);

}  // namespace fourfold::cli
