#include "named_filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
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
        {"scharr-x", 3, {-3, 0, 3, -10, 0, 10, -3, 0, 3}},
        {"scharr-y", 3, {-3, -10, -3, 0, 0, 0, 3, 10, 3}},
        {"prewitt-x", 3, {-1, 0, 1, -1, 0, 1, -1, 0, 1}},
        {"prewitt-y", 3, {-1, -1, -1, 0, 0, 0, 1, 1, 1}},
        {"laplacian", 3, {0, 1, 0, 1, -4, 1, 0, 1, 0}},
        {"laplacian8", 3, {1, 1, 1, 1, -8, 1, 1, 1, 1}},
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

constexpr double kPi = 3.14159265358979323846;

std::vector<double> bell(int64_t size, double sigma) {
    std::vector<double> values(static_cast<size_t>(size));
    for (size_t i = 0; i < values.size(); ++i) {
        const double x = static_cast<double>(i) - static_cast<double>(size - 1) / 2;
        values[i] = std::exp(-x * x / (2 * sigma * sigma));
    }
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    for (double &value : values) {
        value /= sum;
    }
    return values;
}

NamedFilter to_filter(int64_t height, int64_t width, const std::vector<double> &taps) {
    NamedFilter filter{height, width, {}};
    for (double tap : taps) {
        filter.taps.push_back(static_cast<float>(tap));
    }
    return filter;
}

/// The outer product of a normalised bell with itself: taps[i] ~ exp(-(i - (n-1)/2)^2 / (2 sigma^2)).
std::vector<double> gaussian(int64_t size, double sigma) {
    const std::vector<double> one = bell(size, sigma);
    std::vector<double> taps;
    for (double row : one) {
        for (double column : one) {
            taps.push_back(row * column);
        }
    }
    return taps;
}

/// The Laplacian of that bell, ((x^2 + y^2) / sigma^4 - 2 / sigma^2) times it, moved to a sum of 0.
std::vector<double> laplacian_of_gaussian(int64_t size, double sigma) {
    std::vector<double> taps = gaussian(size, sigma);
    const double middle = static_cast<double>(size - 1) / 2, s2 = sigma * sigma;
    for (size_t i = 0; i < taps.size(); ++i) {
        const double y = static_cast<double>(i / static_cast<size_t>(size)) - middle, x = static_cast<double>(i % static_cast<size_t>(size)) - middle;
        taps[i] *= (x * x + y * y - 2 * s2) / (s2 * s2);
    }
    const double mean = std::accumulate(taps.begin(), taps.end(), 0.0) / static_cast<double>(taps.size());
    for (double &tap : taps) {
        tap -= mean;
    }
    return taps;
}

/// x + amount * (x - blurred x).
std::vector<double> unsharp(int64_t size, double sigma, double amount) {
    std::vector<double> taps = gaussian(size, sigma);
    for (double &tap : taps) {
        tap *= -amount;
    }
    taps[taps.size() / 2] += 1 + amount;
    return taps;
}

void normalise(std::vector<double> &taps) {
    const double sum = std::accumulate(taps.begin(), taps.end(), 0.0);
    for (double &tap : taps) {
        tap /= sum;
    }
}

/// Equal weight over a circle; pixels at its edge by the share of 16 x 16 points that lie inside.
NamedFilter disk(double radius) {
    constexpr int kPoints = 16;
    const auto half = static_cast<int64_t>(std::ceil(radius - 0.5));
    const int64_t size = 2 * half + 1;
    std::vector<double> taps;
    for (int64_t y = -half; y <= half; ++y) {
        for (int64_t x = -half; x <= half; ++x) {
            int inside = 0;
            for (int i = 0; i < kPoints * kPoints; ++i) {
                const double py = static_cast<double>(y) + (i / kPoints + 0.5) / kPoints - 0.5, px = static_cast<double>(x) + (i % kPoints + 0.5) / kPoints - 0.5;
                inside += py * py + px * px <= radius * radius;
            }
            taps.push_back(inside);
        }
    }
    normalise(taps);
    return to_filter(size, size, taps);
}

/// Equal weight along a line through the middle, `degrees` counterclockwise from the x axis, shared between neighbouring pixels.
NamedFilter motion(int64_t length, double degrees) {
    const double dx = std::cos(degrees * kPi / 180), dy = -std::sin(degrees * kPi / 180), reach = static_cast<double>(length - 1) / 2;
    const auto half_of = [&](double d) { return static_cast<int64_t>(std::ceil(std::fabs(d) * reach - 1e-9)); };
    const int64_t half_y = half_of(dy), half_x = half_of(dx), width = 2 * half_x + 1;
    std::vector<double> taps(static_cast<size_t>((2 * half_y + 1) * width));
    for (int64_t i = 0; i < length; ++i) {
        const double t = static_cast<double>(i) - reach, y = t * dy + static_cast<double>(half_y), x = t * dx + static_cast<double>(half_x);
        const double y0 = std::floor(y + 1e-9), x0 = std::floor(x + 1e-9), v = std::max(0.0, y - y0), u = std::max(0.0, x - x0);
        const double shares[] = {(1 - v) * (1 - u), (1 - v) * u, v * (1 - u), v * u};
        for (int corner = 0; corner < 4; ++corner) {
            if (shares[corner] > 1e-9) {
                taps[static_cast<size_t>((static_cast<int64_t>(y0) + corner / 2) * width + static_cast<int64_t>(x0) + corner % 2)] += shares[corner];
            }
        }
    }
    normalise(taps);
    return to_filter(2 * half_y + 1, width, taps);
}

/// A name that takes numbers, and how it is written.
struct Sized {
    const char *name, *form;
    size_t least, most;  ///< numbers
};
constexpr Sized kSized[] = {
    {"gaussian", "gaussian:SIZE[,SIGMA]", 1, 2}, {"box", "box:SIZE", 1, 1},       {"disk", "disk:RADIUS", 1, 1}, {"motion", "motion:LENGTH[,DEGREES]", 1, 2},
    {"log", "log:SIZE[,SIGMA]", 1, 2},           {"unsharp", "unsharp:SIZE[,SIGMA[,AMOUNT]]", 1, 3},
};

/// The name, and after a colon numbers between commas or more colons.
std::vector<std::string> parts_of(const std::string &text) {
    std::string separated = text;
    std::replace(separated.begin(), separated.end(), ',', ':');
    std::vector<std::string> parts;
    for (std::string_view part : split(separated, ':')) {
        parts.emplace_back(part);
    }
    return parts;
}

}  // namespace

const std::string &filter_names() {
    static const std::string names = [] {
        std::string list;
        for (const Sized &sized : kSized) {
            list += std::string(sized.form) + ", ";
        }
        for (const Fixed &fixed : fixed_filters()) {
            list += (&fixed == &fixed_filters().front() ? "" : ", ") + std::string(fixed.name);
        }
        return list;
    }();
    return names;
}

bool is_filter_name(const std::string &text) {
    const std::string name = parts_of(text)[0];
    const auto same = [&](const auto &filter) { return name == filter.name; };
    return std::any_of(std::begin(kSized), std::end(kSized), same) || std::any_of(fixed_filters().begin(), fixed_filters().end(), same);
}

Result<NamedFilter> make_named_filter(const std::string &text) {
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("filter '{}': {}", text, why)); };
    const std::vector<std::string> parts = parts_of(text);
    for (const Fixed &fixed : fixed_filters()) {
        if (parts[0] == fixed.name) {
            if (parts.size() > 1) {
                return bad(fmt::format("{} takes no size", fixed.name));
            }
            return NamedFilter{fixed.size, fixed.size, fixed.taps};
        }
    }
    const auto *sized = std::find_if(std::begin(kSized), std::end(kSized), [&](const Sized &s) { return parts[0] == s.name; });
    if (sized == std::end(kSized)) {
        return bad("no such name; there are " + filter_names());
    }
    const std::string_view name = sized->name;
    if (parts.size() < 1 + sized->least || parts.size() > 1 + sized->most) {
        return bad(fmt::format("expected {}", sized->form));
    }
    if (name == "disk") {
        const std::optional<double> radius = number<double>(parts[1]);
        if (!radius || !(*radius > 0) || *radius > (kMaxSize - 1) / 2) {
            return bad(fmt::format("the radius '{}' is not a number over 0 and up to {}", parts[1], (kMaxSize - 1) / 2));
        }
        return disk(*radius);
    }
    const std::optional<int64_t> size = number<int64_t>(parts[1]);
    if (!size || *size < 1 || *size > kMaxSize) {
        return bad(fmt::format("the size '{}' is not a number from 1 to {}", parts[1], kMaxSize));
    }
    if (name == "box") {
        const size_t taps = static_cast<size_t>(*size * *size);
        return NamedFilter{*size, *size, std::vector<float>(taps, static_cast<float>(1.0 / static_cast<double>(taps)))};
    }
    std::vector<double> more;
    for (size_t i = 2; i < parts.size(); ++i) {
        const std::optional<double> value = number<double>(parts[i]);
        const bool sigma = i == 2 && name != "motion";
        if (!value || !std::isfinite(*value) || (sigma && *value <= 0)) {
            return bad(fmt::format("{} '{}' is not a {}number", sigma ? "sigma" : i == 2 ? "the angle" : "the amount", parts[i], sigma ? "positive " : ""));
        }
        more.push_back(*value);
    }
    if (name == "motion") {
        return motion(*size, more.empty() ? 0.0 : more[0]);
    }
    if (*size % 2 == 0) {
        return bad(fmt::format("the size {} is even; a {} filter has a middle", *size, name));
    }
    const double sigma = !more.empty() ? more[0] : 0.3 * ((static_cast<double>(*size) - 1) * 0.5 - 1) + 0.8;
    return to_filter(*size, *size, name == "gaussian" ? gaussian(*size, sigma) : name == "log" ? laplacian_of_gaussian(*size, sigma) : unsharp(*size, sigma, more.size() > 1 ? more[1] : 1.0));
}

}  // namespace fourfold::cli
