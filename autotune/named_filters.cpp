#include "named_filters.h"

#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>
#include <string_view>

#include <fmt/format.h>

#include "text.h"

namespace fourfold::cli {
namespace {

constexpr int64_t kMaxSize = 4095;

struct Fixed {
    const char *name;
    int64_t size;
    std::vector<float> taps;
};

const std::vector<Fixed> &fixed_filters() {
    static const std::vector<Fixed> filters = {
        {"sobel-x", 3, {-1, 0, 1, -2, 0, 2, -1, 0, 1}},
        {"sobel-y", 3, {-1, -2, -1, 0, 0, 0, 1, 2, 1}},
        {"laplacian", 3, {0, 1, 0, 1, -4, 1, 0, 1, 0}},
        {"sharpen", 3, {0, -1, 0, -1, 5, -1, 0, -1, 0}},
        {"emboss", 3, {-2, -1, 0, -1, 1, 1, 0, 1, 2}},
        {"identity", 1, {1}},
    };
    return filters;
}


template<typename T>
std::optional<T> number(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() ? std::optional<T>(value) : std::nullopt;
}

/// The outer product of a normalised bell with itself: taps[i] ~ exp(-(i - (n-1)/2)^2 / (2 sigma^2)).
NamedFilter gaussian(int64_t size, double sigma) {
    std::vector<double> bell(static_cast<size_t>(size));
    for (size_t i = 0; i < bell.size(); ++i) {
        const double x = static_cast<double>(i) - static_cast<double>(size - 1) / 2;
        bell[i] = std::exp(-x * x / (2 * sigma * sigma));
    }
    const double sum = std::accumulate(bell.begin(), bell.end(), 0.0);
    NamedFilter filter{size, size, {}};
    for (double row : bell) {
        for (double column : bell) {
            filter.taps.push_back(static_cast<float>(row * column / (sum * sum)));
        }
    }
    return filter;
}

}  // namespace

const char *filter_names() {
    return "gaussian:SIZE[:SIGMA], box:SIZE, sobel-x, sobel-y, laplacian, sharpen, emboss, identity";
}

bool is_filter_name(const std::string &text) {
    const std::string_view name = split(text, ':')[0];
    if (name == "gaussian" || name == "box") {
        return true;
    }
    for (const Fixed &fixed : fixed_filters()) {
        if (name == fixed.name) {
            return true;
        }
    }
    return false;
}

Result<NamedFilter> make_named_filter(const std::string &text) {
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("filter '{}': {}", text, why)); };
    const std::vector<std::string_view> parts = split(text, ':');
    for (const Fixed &fixed : fixed_filters()) {
        if (parts[0] == fixed.name) {
            if (parts.size() > 1) {
                return bad(fmt::format("{} takes no size", fixed.name));
            }
            return NamedFilter{fixed.size, fixed.size, fixed.taps};
        }
    }
    const bool is_gaussian = parts[0] == "gaussian";
    if (!is_gaussian && parts[0] != "box") {
        return bad(fmt::format("no such name; there are {}", filter_names()));
    }
    if (parts.size() < 2 || parts.size() > (is_gaussian ? 3u : 2u)) {
        return bad(is_gaussian ? "expected gaussian:SIZE or gaussian:SIZE:SIGMA" : "expected box:SIZE");
    }
    const std::optional<int64_t> size = number<int64_t>(parts[1]);
    if (!size || *size < 1 || *size > kMaxSize) {
        return bad(fmt::format("the size '{}' is not a number from 1 to {}", parts[1], kMaxSize));
    }
    if (!is_gaussian) {
        const size_t taps = static_cast<size_t>(*size * *size);
        return NamedFilter{*size, *size, std::vector<float>(taps, static_cast<float>(1.0 / static_cast<double>(taps)))};
    }
    if (*size % 2 == 0) {
        return bad(fmt::format("the size {} is even; a gaussian has a middle", *size));
    }
    double sigma = 0.3 * ((static_cast<double>(*size) - 1) * 0.5 - 1) + 0.8;
    if (parts.size() == 3) {
        const std::optional<double> given = number<double>(parts[2]);
        if (!given || !std::isfinite(*given) || *given <= 0) {
            return bad(fmt::format("sigma '{}' is not a positive number", parts[2]));
        }
        sigma = *given;
    }
    return gaussian(*size, sigma);
}

}  // namespace fourfold::cli
