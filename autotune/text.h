// Small readers and writers of text that several verbs share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fourfold/problem.h"
#include "fourfold/status.h"

namespace fourfold::cli {

std::string_view trim(std::string_view text);
std::vector<std::string_view> split(std::string_view text, char separator);

/// A whole decimal integer, blanks around it ignored. `what` names it in the message.
Result<int64_t> parse_integer(std::string_view text, std::string_view what);
/// "2", "2x1" or "2,1" as (rows, columns).
Result<std::pair<int64_t, int64_t>> parse_pair(std::string_view text, std::string_view what);
/// Sets the problem's padding from one number, "top,bottom,left,right", or valid, same, full. The sizes must be set before.
Status parse_padding(std::string_view text, Conv2dProblem &problem);
/// Sets the problem's padding mode from "zeros", "constant:0.3", "reflect", ..., or from a name of SciPy's or NumPy's that means
/// the same: constant, nearest, edge, mirror, wrap, grid-constant, grid-mirror, grid-wrap, fill, symm. scipy.ndimage's reflect, which repeats
/// the edge, is symmetric here.
Status parse_padding_mode(std::string_view text, Conv2dProblem &problem);
/// "4096", "64K", "64KiB", "1.5G", ... in powers of 1024.
Result<size_t> parse_bytes(std::string_view text);

/// "3.2 MiB".
std::string bytes_text(size_t bytes);
/// Milliseconds with about four digits.
std::string milliseconds_text(double seconds);
/// "1.2e-07", or "-" for a value that was not measured (negative).
std::string error_text(double max_error);

}  // namespace fourfold::cli
