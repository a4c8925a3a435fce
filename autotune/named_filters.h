// Filters by name, for images: gaussian:15, box:9, sobel-x, ...
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

struct NamedFilter {
    int64_t height = 1, width = 1;
    std::vector<float> taps;  ///< height*width, rows first
};

/// Whether the text is meant as a filter's name, possibly with wrong numbers, rather than as a file.
bool is_filter_name(const std::string &text);

/// gaussian:SIZE[:SIGMA] (SIZE odd; SIGMA 0.3*((SIZE - 1)*0.5 - 1) + 0.8 unless given, as OpenCV), box:SIZE, sobel-x, sobel-y,
/// laplacian, sharpen, emboss, identity. To be used as correlation. Errors: kInvalidArgument.
Result<NamedFilter> make_named_filter(const std::string &text);

/// The names, for messages and help.
const char *filter_names();

}  // namespace fourfold::cli
