#include "text.h"

#include <charconv>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "bad.h"

namespace fourfold::cli {
std::string_view trim(std::string_view text) {
    constexpr std::string_view blanks = " \t\r\n";
    const size_t first = text.find_first_not_of(blanks);
    return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (size_t at = text.find(separator); at != std::string_view::npos; at = text.find(separator)) {
        parts.push_back(text.substr(0, at));
        text.remove_prefix(at + 1);
    }
    parts.push_back(text);
    return parts;
}

Result<int64_t> parse_integer(std::string_view text, std::string_view what) {
    const std::string_view digits = trim(text);
    int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (error == std::errc::result_out_of_range) {
        return bad(fmt::format("{} '{}' does not fit 64 bits", what, digits));
    }
    if (error != std::errc() || end != digits.data() + digits.size()) {
        return bad(fmt::format("{} '{}' is not an integer", what, digits));
    }
    return value;
}

Result<std::pair<int64_t, int64_t>> parse_pair(std::string_view text, std::string_view what) {
    const char separator = text.find(',') != std::string_view::npos ? ',' : 'x';
    const std::vector<std::string_view> parts = split(text, separator);
    if (parts.size() > 2) {
        return bad(fmt::format("{} '{}' has {} numbers; one or two are expected", what, text, parts.size()));
    }
    const Result<int64_t> first = parse_integer(parts.front(), what), second = parse_integer(parts.back(), what);
    if (!first || !second) {
        return first ? second.status() : first.status();
    }
    return std::pair(*first, *second);
}

Status parse_padding(std::string_view text, Conv2dProblem &problem) {
    const std::string_view word = trim(text);
    if (word == "valid" || word == "same" || word == "full") {
        // The constructors compute with these, so they must be sound already.
        Conv2dProblem unpadded = problem.valid();
        unpadded.padding_mode = PaddingMode::kZeros;
        unpadded.in_height = unpadded.in_width = int64_t{1} << 24;  // only the filter has to be in order here
        unpadded.batch = unpadded.in_channels = unpadded.out_channels = unpadded.groups = 1;
        if (Status status = unpadded.validate(); !status) {
            return status;
        }
        problem = word == "valid" ? problem.valid() : word == "same" ? problem.same() : problem.full();
        return {};
    }
    const std::vector<std::string_view> parts = split(word, ',');
    if (parts.size() != 1 && parts.size() != 4) {
        return bad(fmt::format("padding '{}' has {} numbers; expected one, or top,bottom,left,right, or valid, same or full", text, parts.size()));
    }
    int64_t values[4] = {};
    for (size_t i = 0; i < 4; ++i) {
        const Result<int64_t> value = parse_integer(parts[parts.size() == 1 ? 0 : i], "padding");
        if (!value) {
            return bad(value.status().message() + "; expected one number, or top,bottom,left,right, or valid, same or full");
        }
        values[i] = *value;
    }
    problem.pad_top = values[0];
    problem.pad_bottom = values[1];
    problem.pad_left = values[2];
    problem.pad_right = values[3];
    return {};
}

Status parse_padding_mode(std::string_view text, Conv2dProblem &problem) {
    const std::pair<const char *, PaddingMode> modes[] = {
        {"zeros", PaddingMode::kZeros},           {"reflect", PaddingMode::kReflect},   {"symmetric", PaddingMode::kSymmetric},
        {"replicate", PaddingMode::kReplicate},   {"circular", PaddingMode::kCircular},
        {"constant", PaddingMode::kZeros},        {"grid-constant", PaddingMode::kZeros},
        {"nearest", PaddingMode::kReplicate},     {"edge", PaddingMode::kReplicate},
        {"mirror", PaddingMode::kReflect},        {"grid-mirror", PaddingMode::kSymmetric},
        {"wrap", PaddingMode::kCircular},         {"grid-wrap", PaddingMode::kCircular},
        {"fill", PaddingMode::kZeros},            {"symm", PaddingMode::kSymmetric},
    };
    const std::string_view word = trim(text);
    for (const auto &[name, mode] : modes) {
        if (word == name) {
            problem.padding_mode = mode;
            return {};
        }
    }
    constexpr std::string_view constant = "constant:";
    if (word.substr(0, constant.size()) == constant) {
        const std::string_view digits = word.substr(constant.size());
        float value = 0.0f;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error == std::errc() && end == digits.data() + digits.size() && !digits.empty()) {
            problem.padding_mode = PaddingMode::kConstant;
            problem.padding_value = value;
            return {};
        }
    }
    return bad(fmt::format("padding mode '{}' is none of zeros, constant:VALUE, reflect (edge not repeated: SciPy's mirror, OpenCV's REFLECT_101), symmetric (edge repeated: SciPy's reflect, grid-mirror and symm, OpenCV's REFLECT), replicate "
                           "(nearest, edge), circular (wrap)", text));
}

Result<size_t> parse_bytes(std::string_view text) {
    const std::string_view word = trim(text);
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    std::string_view unit = trim(word.substr(static_cast<size_t>(end - word.data())));
    double scale = 1;
    if (!unit.empty()) {
        constexpr std::string_view letters = "KMGT";
        const size_t power = letters.find(static_cast<char>(unit.front() & ~0x20));  // either case
        if (power != std::string_view::npos) {
            scale = std::pow(1024.0, static_cast<double>(power + 1));
            unit.remove_prefix(1);
        }
    }
    const bool unit_ok = unit.empty() || unit == "B" || unit == "b" || (scale > 1 && unit == "iB");
    if (error != std::errc() || !unit_ok || !std::isfinite(value) || value < 0 || value * scale > 1e18) {
        return bad(fmt::format("'{}' is not a number of bytes such as 4096, 64K or 1.5G", text));
    }
    return static_cast<size_t>(value * scale);
}

std::string bytes_text(size_t bytes) {
    const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = static_cast<double>(bytes);
    size_t unit = 0;
    while (value >= 1024 && unit < 4) {
        value /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.{}f} {}", value, value < 10 ? 1 : 0, units[unit]);
}

std::string milliseconds_text(double seconds) {
    const double ms = seconds * 1e3;
    return fmt::format("{:.{}f}", ms, ms < 1 ? 4 : ms < 10 ? 3 : ms < 100 ? 2 : ms < 1000 ? 1 : 0);
}

std::string error_text(double max_error) {
    return max_error < 0 ? "-" : fmt::format("{:.1e}", max_error);
}

}  // namespace fourfold::cli
