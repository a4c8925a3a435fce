#include "reference.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>

#include "fourfold/executor.h"

namespace fourfold::cli {
namespace {

constexpr int64_t kSample = 4096;
constexpr int64_t kOutside = -1;

/// The input index that padded position `at` (0 is the first element inside) reads, or kOutside.
int64_t source(int64_t at, int64_t size, PaddingMode mode) {
    if (at >= 0 && at < size) {
        return at;
    }
    switch (mode) {
    case PaddingMode::kZeros:
    case PaddingMode::kConstant:
        return kOutside;
    case PaddingMode::kReflect:
        return at < 0 ? -at : 2 * (size - 1) - at;
    case PaddingMode::kSymmetric:
        return at < 0 ? -at - 1 : 2 * size - 1 - at;
    case PaddingMode::kReplicate:
        return at < 0 ? 0 : size - 1;
    case PaddingMode::kCircular:
        return at < 0 ? at + size : at - size;
    }
    return kOutside;
}

/// Strides of a dense rank-4 array in the order (n, channel, row, column).
struct Strides {
    int64_t n, c, row, column;

    Strides(Layout layout, int64_t channels, int64_t height, int64_t width)
        : n(channels * height * width), c(layout == Layout::kNchw ? height * width : 1), row(layout == Layout::kNchw ? width : width * channels),
          column(layout == Layout::kNchw ? 1 : channels) {
    }
};

struct Sums {
    double value = 0.0, magnitude = 0.0;
};

class Evaluator {
public:
    Evaluator(const Conv2dProblem &p, const ForwardArrays &a)
        : p_(p), a_(a), in_(p.layout, p.in_channels, p.in_height, p.in_width), out_(p.layout, p.out_channels, p.out_height(), p.out_width()) {
    }

    /// bias + sum, and |bias| + sum of magnitudes; then the residual and the post-op on the value.
    Sums operator()(const OutputIndex &o, std::vector<int64_t> &columns) const {
        const int64_t group_channels = p_.in_channels / p_.groups, group = o.k / (p_.out_channels / p_.groups);
        const double padding = p_.padding_mode == PaddingMode::kConstant ? static_cast<double>(p_.padding_value) : 0.0;
        const bool flip = p_.filter_mode == FilterMode::kConvolution;
        columns.resize(static_cast<size_t>(p_.filter_width));
        for (int64_t s = 0; s < p_.filter_width; ++s) {
            columns[static_cast<size_t>(s)] = source(o.q * p_.stride_w + s * p_.dilation_w - p_.pad_left, p_.in_width, p_.padding_mode);
        }
        Sums sums;
        for (int64_t c = 0; c < group_channels; ++c) {
            const float *plane = a_.input + o.n * in_.n + (group * group_channels + c) * in_.c;
            const float *taps = a_.filters + (o.k * group_channels + c) * p_.filter_height * p_.filter_width;
            for (int64_t r = 0; r < p_.filter_height; ++r) {
                const int64_t row = source(o.p * p_.stride_h + r * p_.dilation_h - p_.pad_top, p_.in_height, p_.padding_mode);
                const float *tap_row = taps + (flip ? p_.filter_height - 1 - r : r) * p_.filter_width;
                for (int64_t s = 0; s < p_.filter_width; ++s) {
                    const int64_t column = columns[static_cast<size_t>(s)];
                    const double x = row == kOutside || column == kOutside ? padding : static_cast<double>(plane[row * in_.row + column * in_.column]);
                    const double term = x * static_cast<double>(tap_row[flip ? p_.filter_width - 1 - s : s]);
                    sums.value += term;
                    sums.magnitude += std::abs(term);
                }
            }
        }
        if (a_.bias != nullptr) {
            sums.value += static_cast<double>(a_.bias[o.k]);
            sums.magnitude += std::abs(static_cast<double>(a_.bias[o.k]));
        }
        if (a_.residual != nullptr) {
            sums.value += static_cast<double>(a_.residual[offset(o)]);
        }
        if (p_.post_op == PostOp::kRelu) {
            sums.value = std::max(sums.value, 0.0);
        } else if (p_.post_op == PostOp::kClamp) {
            sums.value = std::clamp(sums.value, static_cast<double>(p_.clamp_lo), static_cast<double>(p_.clamp_hi));
        }
        return sums;
    }

    int64_t offset(const OutputIndex &o) const {
        return o.n * out_.n + o.k * out_.c + o.p * out_.row + o.q * out_.column;
    }

private:
    const Conv2dProblem &p_;
    const ForwardArrays &a_;
    Strides in_, out_;
};

/// The first and last few positions of an axis, and those on both sides of where tiles and vectors may meet.
std::vector<int64_t> interesting(int64_t size) {
    std::vector<int64_t> positions;
    const auto add = [&](int64_t v) {
        if (v >= 0 && v < size) {
            positions.push_back(v);
        }
    };
    for (int64_t v = 0; v < 3; ++v) {
        add(v);
        add(size - 1 - v);
    }
    for (int64_t tile : {4, 6, 8, 12, 14, 16, 24, 30, 32, 48, 64, 128, 256, 512, 1024, 2048, 4096}) {
        for (int64_t seam : {tile, size / tile / 2 * tile, size / tile * tile}) {
            add(seam - 1);
            add(seam);
        }
    }
    std::sort(positions.begin(), positions.end());
    positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
    return positions;
}

}  // namespace

std::vector<OutputIndex> choose_outputs(const Conv2dProblem &problem, int64_t limit) {
    const int64_t sizes[4] = {problem.batch, problem.out_channels, problem.out_height(), problem.out_width()};
    std::vector<OutputIndex> chosen;
    if (problem.output_elements() <= limit) {
        chosen.reserve(static_cast<size_t>(problem.output_elements()));
        for (int64_t n = 0; n < sizes[0]; ++n) {
            for (int64_t k = 0; k < sizes[1]; ++k) {
                for (int64_t p = 0; p < sizes[2]; ++p) {
                    for (int64_t q = 0; q < sizes[3]; ++q) {
                        chosen.push_back({n, k, p, q});
                    }
                }
            }
        }
        return chosen;
    }
    std::mt19937_64 random(4);  // NOLINT: the same sample in every run, by design
    const auto any = [&](size_t axis) { return static_cast<int64_t>(random() % static_cast<uint64_t>(sizes[axis])); };
    std::vector<int64_t> seams[4];
    for (size_t axis = 0; axis < 4; ++axis) {
        seams[axis] = interesting(sizes[axis]);
    }
    const auto seam = [&](size_t axis) { return seams[axis][random() % seams[axis].size()]; };
    for (int64_t n : {int64_t{0}, sizes[0] - 1}) {
        for (int64_t k : {int64_t{0}, sizes[1] - 1}) {
            for (int64_t p : {int64_t{0}, sizes[2] - 1}) {
                for (int64_t q : {int64_t{0}, sizes[3] - 1}) {
                    chosen.push_back({n, k, p, q});
                }
            }
        }
    }
    for (int64_t i = 0; static_cast<int64_t>(chosen.size()) < limit; ++i) {
        switch (i % 4) {
        case 0:
            chosen.push_back({any(0), any(1), any(2), any(3)});
            break;
        case 1:
            chosen.push_back({seam(0), seam(1), seam(2), seam(3)});
            break;
        case 2:  // along a row's border or seam
            chosen.push_back({any(0), any(1), seam(2), any(3)});
            break;
        default:  // along a column's
            chosen.push_back({any(0), any(1), any(2), seam(3)});
        }
    }
    return chosen;
}

Reference::Reference(const Conv2dProblem &problem, const ForwardArrays &arrays, double all_below_flops)
    : problem_(problem) {
    const int64_t limit = problem.flops() <= all_below_flops ? std::max(problem.output_elements(), kSample) : kSample;
    indices_ = choose_outputs(problem, limit);
    values_.resize(indices_.size());

    constexpr int kJobs = 64;
    struct Work {
        const Evaluator evaluate;
        const std::vector<OutputIndex> &indices;
        std::vector<double> &values;
        double scale[kJobs] = {};
    } work{Evaluator(problem_, arrays), indices_, values_};
    default_executor().run(
        kJobs,
        [](void *argument, int job) {
            Work &w = *static_cast<Work *>(argument);
            std::vector<int64_t> columns;
            const size_t count = w.indices.size(), first = count * static_cast<size_t>(job) / kJobs, last = count * (static_cast<size_t>(job) + 1) / kJobs;
            for (size_t i = first; i < last; ++i) {
                const Sums sums = w.evaluate(w.indices[i], columns);
                w.values[i] = sums.value;
                w.scale[job] = std::max(w.scale[job], sums.magnitude);
            }
        },
        &work);
    scale_ = *std::max_element(std::begin(work.scale), std::end(work.scale));
}

double Reference::max_error(const float *output) const {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    const int64_t elements = problem_.output_elements();
    for (int64_t i = 0; i < elements; ++i) {
        if (!std::isfinite(output[i])) {
            return infinite;
        }
    }
    const Strides out(problem_.layout, problem_.out_channels, problem_.out_height(), problem_.out_width());
    double worst = 0.0;
    for (size_t i = 0; i < indices_.size(); ++i) {
        const OutputIndex &o = indices_[i];
        const double y = static_cast<double>(output[o.n * out.n + o.k * out.c + o.p * out.row + o.q * out.column]);
        worst = std::max(worst, std::abs(y - values_[i]));
    }
    return worst == 0.0 ? 0.0 : scale_ > 0.0 ? worst / scale_ : infinite;
}

double error_limit(const char *algorithm) {
    const std::string name(algorithm);
    return name == "winograd" ? 2e-5 : name == "fft" || name == "fft_tiled" ? 2e-6 : 1e-6;
}

}  // namespace fourfold::cli
