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

/// To be used as correlation; sums are 1 unless stated. SIZE is odd, but for box; SIGMA is 0.3*((SIZE - 1)*0.5 - 1) + 0.8 unless given,
/// as in OpenCV. Numbers are separated by commas or colons.
///
///     gaussian:SIZE[,SIGMA], box:SIZE, disk:RADIUS, motion:LENGTH[,DEGREES]   blurs; DEGREES counterclockwise from the x axis
///     unsharp:SIZE[,SIGMA[,AMOUNT]], sharpen                                   x + AMOUNT (x - gaussian of x); AMOUNT is 1 unless given
///     sobel-x, sobel-y, scharr-x, scharr-y, prewitt-x, prewitt-y               derivatives to the right or down; sum 0
///     laplacian, laplacian8, log:SIZE[,SIGMA]                                  4 or 8 neighbours, Laplacian of the gaussian; sum 0
///     emboss, identity
///
/// Errors: kInvalidArgument.
Result<NamedFilter> make_named_filter(const std::string &text);

/// The names, for messages and help.
const std::string &filter_names();

}  // namespace fourfold::cli
