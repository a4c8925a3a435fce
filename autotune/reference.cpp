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

constexpr double kSample = 4096.0, kLeastSample = 1024.0;  ///< outputs
constexpr double kSampleTerms = 2e8;  ///< of filters' gradients, whose every output meets every tile, fewer are looked at where sums are long
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

/// Of one axis: for each input position the (output, tap) pairs that read it.
struct Pair {
    int64_t out, tap;
};
std::vector<std::vector<Pair>> readers(int64_t in, int64_t out, int64_t taps, int64_t stride, int64_t dilation, int64_t pad, PaddingMode mode) {
    std::vector<std::vector<Pair>> lists(static_cast<size_t>(in));
    for (int64_t o = 0; o < out; ++o) {
        for (int64_t t = 0; t < taps; ++t) {
            if (const int64_t at = source(o * stride + t * dilation - pad, in, mode); at != kOutside) {
                lists[static_cast<size_t>(at)].push_back({o, t});
            }
        }
    }
    return lists;
}

class Evaluator {
public:
    Evaluator(const Conv2dProblem &p, const Arrays &a)
        : p_(p), a_(a), in_(p.layout, p.in_channels, p.in_height, p.in_width), out_(p.layout, p.out_channels, p.out_height(), p.out_width()) {
        if (p.operation == Operation::kBackwardData || p.operation == Operation::kFold) {
            rows_ = readers(p.in_height, p.out_height(), p.filter_height, p.stride_h, p.dilation_h, p.pad_top, p.padding_mode);
            columns_ = readers(p.in_width, p.out_width(), p.filter_width, p.stride_w, p.dilation_w, p.pad_left, p.padding_mode);
        }
    }

    Sums operator()(const OutputIndex &o, std::vector<int64_t> &columns) const {
        switch (p_.operation) {
        case Operation::kBackwardData:
            return input_gradient(o);
        case Operation::kBackwardFilters:
            return filter_gradient(o);
        case Operation::kUnfold:
            return unfolded(o);
        case Operation::kFold:
            return folded(o);
        default:
            return forward(o, columns);
        }
    }

    int64_t offset(const OutputIndex &o) const {
        if (p_.operation == Operation::kBackwardFilters) {
            return ((o.n * (p_.in_channels / p_.groups) + o.k) * p_.filter_height + o.p) * p_.filter_width + o.q;
        }
        if (p_.operation == Operation::kUnfold) {
            return column(o.n, o.k, o.p, o.q);
        }
        const Strides &s = p_.operation == Operation::kBackwardData || p_.operation == Operation::kFold ? in_ : out_;
        return o.n * s.n + o.k * s.c + o.p * s.row + o.q * s.column;
    }

private:
    int64_t tap_index(int64_t r, int64_t s) const {
        const bool flip = p_.filter_mode == FilterMode::kConvolution;
        return (flip ? p_.filter_height - 1 - r : r) * p_.filter_width + (flip ? p_.filter_width - 1 - s : s);
    }

    int64_t column(int64_t n, int64_t c, int64_t tap, int64_t pixel) const {
        return ((n * p_.in_channels + c) * p_.filter_height * p_.filter_width + tap) * p_.out_height() * p_.out_width() + pixel;
    }

    Sums unfolded(const OutputIndex &o) const {
        const int64_t row = source(o.q / p_.out_width() * p_.stride_h + o.p / p_.filter_width * p_.dilation_h - p_.pad_top, p_.in_height, p_.padding_mode);
        const int64_t column = source(o.q % p_.out_width() * p_.stride_w + o.p % p_.filter_width * p_.dilation_w - p_.pad_left, p_.in_width, p_.padding_mode);
        const bool inside = row != kOutside && column != kOutside;
        const double value = inside ? static_cast<double>(a_.input[o.n * in_.n + o.k * in_.c + row * in_.row + column * in_.column]) : p_.padding_mode == PaddingMode::kConstant ? static_cast<double>(p_.padding_value) : 0.0;
        return {value, std::abs(value)};
    }

    Sums folded(const OutputIndex &o) const {
        Sums sums;
        for (const Pair &row : rows_[static_cast<size_t>(o.p)]) {
            for (const Pair &at : columns_[static_cast<size_t>(o.q)]) {
                const double term = static_cast<double>(a_.input[column(o.n, o.k, row.tap * p_.filter_width + at.tap, row.out * p_.out_width() + at.out)]);
                sums.value += term;
                sums.magnitude += std::abs(term);
            }
        }
        return sums;
    }

    Sums input_gradient(const OutputIndex &o) const {
        const int64_t inputs = p_.in_channels / p_.groups, outputs = p_.out_channels / p_.groups, group = o.k / inputs;
        Sums sums;
        for (int64_t k = group * outputs; k < (group + 1) * outputs; ++k) {
            const float *plane = a_.grad_output + o.n * out_.n + k * out_.c;
            const float *taps = a_.filters + (k * inputs + o.k % inputs) * p_.filter_height * p_.filter_width;
            for (const Pair &row : rows_[static_cast<size_t>(o.p)]) {
                for (const Pair &column : columns_[static_cast<size_t>(o.q)]) {
                    const double term = static_cast<double>(plane[row.out * out_.row + column.out * out_.column]) * static_cast<double>(taps[tap_index(row.tap, column.tap)]);
                    sums.value += term;
                    sums.magnitude += std::abs(term);
                }
            }
        }
        finish(o, sums);
        return sums;
    }

    Sums filter_gradient(const OutputIndex &o) const {
        const int64_t channel = o.n / (p_.out_channels / p_.groups) * (p_.in_channels / p_.groups) + o.k;
        const double padding = p_.padding_mode == PaddingMode::kConstant ? static_cast<double>(p_.padding_value) : 0.0;
        const int64_t tap = tap_index(o.p, o.q), r = tap / p_.filter_width, s = tap % p_.filter_width;
        Sums sums;
        for (int64_t n = 0; n < p_.batch; ++n) {
            const float *x = a_.input + n * in_.n + channel * in_.c, *gy = a_.grad_output + n * out_.n + o.n * out_.c;
            for (int64_t p = 0; p < p_.out_height(); ++p) {
                const int64_t row = source(p * p_.stride_h + r * p_.dilation_h - p_.pad_top, p_.in_height, p_.padding_mode);
                for (int64_t q = 0; q < p_.out_width(); ++q) {
                    const int64_t column = source(q * p_.stride_w + s * p_.dilation_w - p_.pad_left, p_.in_width, p_.padding_mode);
                    const double v = row == kOutside || column == kOutside ? padding : static_cast<double>(x[row * in_.row + column * in_.column]);
                    const double term = v * static_cast<double>(gy[p * out_.row + q * out_.column]);
                    sums.value += term;
                    sums.magnitude += std::abs(term);
                }
            }
        }
        return sums;
    }

    /// bias + sum, and |bias| + sum of magnitudes; then the residual and the post-op on the value.
    Sums forward(const OutputIndex &o, std::vector<int64_t> &columns) const {
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
        finish(o, sums);
        return sums;
    }

    void finish(const OutputIndex &o, Sums &sums) const {
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
    }

    const Conv2dProblem &p_;
    const Arrays &a_;
    Strides in_, out_;
    std::vector<std::vector<Pair>> rows_, columns_;  ///< bwd-data, fold
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

Arrays arrays_of(const ProblemData &data) {
    return {data.input.data(), data.filters.data(), data.bias.data(), data.residual.data(), data.grad_output.data()};
}

std::array<int64_t, 4> result_sizes(const Conv2dProblem &p) {
    switch (p.operation) {
    case Operation::kBackwardData:
    case Operation::kFold:
        return {p.batch, p.in_channels, p.in_height, p.in_width};
    case Operation::kUnfold:
        return {p.batch, p.in_channels, p.filter_height * p.filter_width, p.out_height() * p.out_width()};
    case Operation::kBackwardFilters:
        return {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
    default:
        return {p.batch, p.out_channels, p.out_height(), p.out_width()};
    }
}

std::vector<OutputIndex> choose_outputs(const Conv2dProblem &problem, int64_t limit) {
    const std::array<int64_t, 4> sizes = result_sizes(problem);
    const int64_t elements = sizes[0] * sizes[1] * sizes[2] * sizes[3];
    std::vector<OutputIndex> chosen;
    if (elements <= limit) {
        chosen.reserve(static_cast<size_t>(elements));
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

Reference::Reference(const Conv2dProblem &problem, const Arrays &arrays, double all_below_flops)
    : problem_(problem) {
    const std::array<int64_t, 4> sizes = result_sizes(problem);
    const int64_t all = sizes[0] * sizes[1] * sizes[2] * sizes[3];
    const double terms = problem.operation == Operation::kBackwardFilters ? problem.flops() / 2 / static_cast<double>(all) : 1.0;
    const int64_t limit = problem.flops() <= all_below_flops ? all : static_cast<int64_t>(std::clamp(kSampleTerms / terms, kLeastSample, kSample));
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
    const std::array<int64_t, 4> sizes = result_sizes(problem_);
    const int64_t elements = sizes[0] * sizes[1] * sizes[2] * sizes[3];
    for (int64_t i = 0; i < elements; ++i) {
        if (!std::isfinite(output[i])) {
            return infinite;
        }
    }
    const Arrays none;
    const Evaluator place(problem_, none);
    double worst = 0.0;
    for (size_t i = 0; i < indices_.size(); ++i) {
        const double y = static_cast<double>(output[place.offset(indices_[i])]);
        worst = std::max(worst, std::abs(y - values_[i]));
    }
    return scaled(worst);
}

Reference::Difference Reference::difference(const float *a, const float *b) const {
    const std::array<int64_t, 4> sizes = result_sizes(problem_);
    const int64_t elements = sizes[0] * sizes[1] * sizes[2] * sizes[3];
    float worst = 0.0f;
    Difference d;
    for (int64_t i = 0; i < elements; ++i) {
        if (const float apart = std::abs(a[i] - b[i]); apart > worst) {
            worst = apart;
            d.element = i;
        }
    }
    d.error = scaled(static_cast<double>(worst));
    return d;
}

double Reference::error_at(int64_t element, float value, const Arrays &arrays) const {
    const std::array<int64_t, 4> sizes = result_sizes(problem_);
    const bool last_channel = problem_.layout == Layout::kNhwc && problem_.operation != Operation::kBackwardFilters && problem_.operation != Operation::kUnfold;
    OutputIndex o;
    for (int64_t *const at : last_channel ? std::array<int64_t *, 4>{&o.k, &o.q, &o.p, &o.n} : std::array<int64_t *, 4>{&o.q, &o.p, &o.k, &o.n}) {
        const int64_t size = sizes[at == &o.n ? 0 : at == &o.k ? 1 : at == &o.p ? 2 : 3];
        *at = element % size;
        element /= size;
    }
    std::vector<int64_t> columns;
    return scaled(std::abs(static_cast<double>(value) - Evaluator(problem_, arrays)(o, columns).value));
}

double Reference::scaled(double error) const {
    return error == 0.0 ? 0.0 : scale_ > 0.0 ? error / scale_ : std::numeric_limits<double>::infinity();
}

double error_limit(const char *algorithm) {
    const std::string name(algorithm);
    return name == "winograd" ? 2e-5 : name == "fft" || name == "fft_tiled" ? 2e-6 : 1e-6;
}

}  // namespace fourfold::cli
