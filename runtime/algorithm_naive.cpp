// naive: the plain loop nest in C++, as one writes it by hand: no tap outside the image is looked at where padding is zero. The baseline
// that every comparison shows, and nothing more; auto takes it only where nothing else can do a problem.
#include <algorithm>
#include <numeric>
#include <utility>

#include "adjoint.h"
#include "algorithm.h"
#include "cost_model.h"
#include "geometry.h"
#include "parallel.h"

namespace fourfold {
namespace {

/// Partial sums of at most 256 terms keep long sums accurate.
struct Sum {
    static constexpr int64_t kTerms = 256;

    float total = 0.0f, part = 0.0f;
    int64_t terms = 0;

    /// Before so many terms are added to `part`.
    void begin(int64_t count) {
        if (terms + count > kTerms) {
            total += part;
            part = 0.0f;
            terms = 0;
        }
        terms += count;
    }
    float value() const {
        return total + part;
    }
};

size_t filter_bytes(const Conv2dProblem &p) {
    return (static_cast<size_t>(p.filter_elements()) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
}

/// As (oc, ic/groups, f0, f1).
Status copy_filters(const Conv2dProblem &p, const StridedIn &filters, std::byte *packed) {
    float *out = reinterpret_cast<float *>(packed);
    for (int64_t k = 0; k < p.out_channels; k++) {
        for (int64_t c = 0; c < p.in_channels / p.groups; c++) {
            for (int64_t r = 0; r < p.filter_height; r++) {
                for (int64_t s = 0; s < p.filter_width; s++) {
                    *out++ = filters.data[k * filters.s[0] + c * filters.s[1] + r * filters.s[2] + s * filters.s[3]];
                }
            }
        }
    }
    return Status();
}

/// Bias, residual and post-op of one element of the result.
float finished(float sum, const ForwardTensors &t, const KernelPostOp &post, int64_t n, int64_t k, int64_t y, int64_t x) {
    float total = (t.bias != nullptr ? t.bias[k] : 0.0f) + sum;
    if (t.residual.data != nullptr) {
        total += t.residual.data[n * t.residual.s[0] + k * t.residual.s[1] + y * t.residual.s[2] + x * t.residual.s[3]];
    }
    if (post.kind != 0) {
        total = total < post.lo ? post.lo : total > post.hi ? post.hi : total;
    }
    return total;
}

class NaivePlan final : public AlgorithmPlan {
public:
    explicit NaivePlan(const PlanRequest &request)
        : problem_(request.problem), threads_(request.options.threads), post_(kernel_post_op(problem_)) {
        variant = "naive";
        layout = "naive";
        packed_bytes = filter_bytes(problem_);
        serial_seconds = problem_.flops() / 1e9;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, problem_.batch * problem_.out_channels);
        details = "seven loops, filters copied as they are";
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &) const override {
        return copy_filters(problem_, filters, packed);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        return parallel_for(execution, threads_, p.batch * p.out_channels, [&](int64_t index, int, KernelContext &) {
            plane(t, reinterpret_cast<const float *>(packed), index / p.out_channels, index % p.out_channels);
            return true;
        });
    }

private:
    /// Taps of a filter's row or column, begin <= tap < end.
    struct Span {
        int64_t begin, end;

        int64_t size() const {
            return std::max<int64_t>(end - begin, 0);
        }
    };

    /// The taps that lie on 0 <= first + tap * dilation < size.
    static Span inside(int64_t first, int64_t dilation, int64_t taps, int64_t size) {
        return {first < 0 ? (-first + dilation - 1) / dilation : 0, first >= size ? 0 : std::min(taps, (size - 1 - first) / dilation + 1)};
    }

    /// The value of a tap; filters of a convolution are read backwards.
    const float *tap(const float *w, int64_t r, int64_t s) const {
        const Conv2dProblem &p = problem_;
        return flip_ ? w + (p.filter_height - 1 - r) * p.filter_width + p.filter_width - 1 - s : w + r * p.filter_width + s;
    }

    void add_inside(const StridedIn &input, const float *image, const float *w, int64_t y, int64_t x, Span rows, Span columns, Sum &sum) const {
        const Conv2dProblem &p = problem_;
        const int64_t step = p.dilation_w * input.s[3], next = flip_ ? -1 : 1;
        const auto add = [&](int64_t r, int64_t begin, int64_t end, float part) {
            const int64_t line = (y * p.stride_h + r * p.dilation_h - p.pad_top) * input.s[2] + (x * p.stride_w - p.pad_left) * input.s[3];
            const float *taps = tap(w, r, 0);
            for (int64_t s = begin; s < end; s++) {
                part += image[line + s * step] * taps[s * next];
            }
            return part;
        };
        if (rows.size() * columns.size() <= Sum::kTerms) {
            sum.begin(rows.size() * columns.size());
            float part = sum.part;
            for (int64_t r = rows.begin; r < rows.end; r++) {
                part = add(r, columns.begin, columns.end, part);
            }
            sum.part = part;
            return;
        }
        for (int64_t r = rows.begin; r < rows.end; r++) {
            for (int64_t begin = columns.begin; begin < columns.end; begin += Sum::kTerms) {
                const int64_t end = std::min(columns.end, begin + Sum::kTerms);
                sum.begin(end - begin);
                sum.part = add(r, begin, end, sum.part);
            }
        }
    }

    /// Where the window reaches into padding that is not zero.
    void add_padded(const StridedIn &input, const float *image, const float *w, int64_t y, int64_t x, Sum &sum) const {
        const Conv2dProblem &p = problem_;
        const float outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
        for (int64_t r = 0; r < p.filter_height; r++) {
            const int64_t row = padding_source(p.padding_mode, y * p.stride_h + r * p.dilation_h - p.pad_top, p.in_height);
            for (int64_t s = 0; s < p.filter_width; s++) {
                const int64_t column = padding_source(p.padding_mode, x * p.stride_w + s * p.dilation_w - p.pad_left, p.in_width);
                sum.begin(1);
                sum.part += (row < 0 || column < 0 ? outside : image[row * input.s[2] + column * input.s[3]]) * *tap(w, r, s);
            }
        }
    }

    void plane(const ForwardTensors &t, const float *filters, int64_t n, int64_t k) const {
        const Conv2dProblem &p = problem_;
        const int64_t channels = p.in_channels / p.groups;
        const int64_t first = k / (p.out_channels / p.groups) * channels;
        const int64_t taps = p.filter_height * p.filter_width;
        const float *w = filters + k * channels * taps;
        for (int64_t y = 0; y < p.out_height(); y++) {
            const Span rows = inside(y * p.stride_h - p.pad_top, p.dilation_h, p.filter_height, p.in_height);
            for (int64_t x = 0; x < p.out_width(); x++) {
                const Span columns = inside(x * p.stride_w - p.pad_left, p.dilation_w, p.filter_width, p.in_width);
                Sum sum;
                for (int64_t c = 0; c < channels; c++) {
                    const float *image = t.input.data + n * t.input.s[0] + (first + c) * t.input.s[1];
                    if (p.padding_mode == PaddingMode::kZeros || rows.size() * columns.size() == taps) {
                        add_inside(t.input, image, w + c * taps, y, x, rows, columns, sum);
                    } else {
                        add_padded(t.input, image, w + c * taps, y, x, sum);
                    }
                }
                t.output.data[n * t.output.s[0] + k * t.output.s[1] + y * t.output.s[2] + x * t.output.s[3]] = finished(sum.value(), t, post_, n, k, y, x);
            }
        }
    }

    const Conv2dProblem problem_;
    const int threads_;
    const KernelPostOp post_;
    const bool flip_ = problem_.filter_mode == FilterMode::kConvolution;
};

/// bwd-data where the strides leave more phases than are planned (backward_data.cpp):
///
///     gx[n,c,a] = sum_{k,r,q : q*s + r*d - pad = a} gy[n,k,q] * w[k,c,r]          (one axis written)
///
/// and what a border that repeats a has in its place.
class NaiveDataGradientPlan final : public AlgorithmPlan {
public:
    explicit NaiveDataGradientPlan(const PlanRequest &request)
        : problem_(request.problem), threads_(request.options.threads), post_(kernel_post_op(problem_)), rows_(problem_.pad_top, problem_.pad_bottom, problem_.in_height, problem_.stride_h, problem_.dilation_h, problem_.filter_height, problem_.out_height()), columns_(problem_.pad_left, problem_.pad_right, problem_.in_width, problem_.stride_w, problem_.dilation_w, problem_.filter_width, problem_.out_width()) {
        choice = variant = "naive";
        layout = "naive bwd-data";
        packed_bytes = filter_bytes(problem_);
        serial_seconds = problem_.flops() / 1e9 + static_cast<double>(problem_.input_elements()) * 10e-9;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, problem_.batch * problem_.in_channels);
        details = "loops over what reaches each pixel, filters copied as they are";
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &) const override {
        return copy_filters(problem_, filters, packed);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        return parallel_for(execution, threads_, p.batch * p.in_channels, [&](int64_t index, int, KernelContext &) {
            const int64_t n = index / p.in_channels, c = index % p.in_channels;
            for (int64_t a = 0; a < p.in_height; a++) {
                for (int64_t b = 0; b < p.in_width; b++) {
                    t.output.data[n * t.output.s[0] + c * t.output.s[1] + a * t.output.s[2] + b * t.output.s[3]] = finished(gradient(t, reinterpret_cast<const float *>(packed), n, c, a, b), t, post_, n, c, a, b);
                }
            }
            return true;
        });
    }

private:
    /// What reaches the positions of one axis.
    struct Axis {
        int64_t before, after, size, stride, dilation, taps, out;
        int64_t common, step;  ///< gcd(stride, dilation), and how many taps lie between two that reach the same position
        int64_t inverse;       ///< of dilation / common, modulo step

        Axis(int64_t before, int64_t after, int64_t size, int64_t stride, int64_t dilation, int64_t taps, int64_t out)
            : before(before), after(after), size(size), stride(stride), dilation(dilation), taps(taps), out(out), common(std::gcd(stride, dilation)), step(stride / common), inverse(0) {
            // Euclid's algorithm, with the factor of the dilation.
            int64_t r = step, next = dilation / common % step, factor = 0, next_factor = 1;
            while (next != 0) {
                const int64_t quotient = r / next;
                r = std::exchange(next, r - quotient * next);
                factor = std::exchange(next_factor, factor - quotient * next_factor);
            }
            inverse = (factor % step + step) % step;
        }

        /// The first tap r with r * dilation = place modulo stride; `taps` where there is none.
        int64_t first_tap(int64_t place) const {
            __extension__ using Wide = unsigned __int128;  // sizes may be 2^48
            const int64_t residue = place % stride;
            return residue % common != 0 ? taps : static_cast<int64_t>(static_cast<Wide>(residue / common) * static_cast<Wide>(inverse) % static_cast<Wide>(step));
        }
        /// Calls each(tap, output) for all that reach element a, through the border too.
        template<typename Each>
        void reach(PaddingMode mode, bool folds, int64_t a, const Each &each) const {
            reach_position(a, each);
            for (int64_t i = -before; folds && i < size + after; i = i == -1 ? size : i + 1) {
                if ((i < 0 || i >= size) && padding_source(mode, i, size) == a) {
                    reach_position(i, each);
                }
            }
        }
        template<typename Each>
        void reach_position(int64_t i, const Each &each) const {
            const int64_t place = i + before;
            for (int64_t r = first_tap(place); r < taps && r * dilation <= place; r += step) {
                if (const int64_t q = (place - r * dilation) / stride; q < out) {
                    each(r, q);
                }
            }
        }
    };

    float gradient(const ForwardTensors &t, const float *filters, int64_t n, int64_t c, int64_t a, int64_t b) const {
        const Conv2dProblem &p = problem_;
        const int64_t inputs = p.in_channels / p.groups, outputs = p.out_channels / p.groups, taps = p.filter_height * p.filter_width, first = c / inputs * outputs;
        const bool folds = folds_padding(p), flip = p.filter_mode == FilterMode::kConvolution;
        Sum sum;
        rows_.reach(p.padding_mode, folds, a, [&](int64_t r, int64_t y) {
            columns_.reach(p.padding_mode, folds, b, [&](int64_t s, int64_t x) {
                const float *w = filters + (first * inputs + c % inputs) * taps + (flip ? taps - 1 - (r * p.filter_width + s) : r * p.filter_width + s);
                const float *g = t.input.data + n * t.input.s[0] + first * t.input.s[1] + y * t.input.s[2] + x * t.input.s[3];
                for (int64_t k = 0; k < outputs; k++) {
                    sum.begin(1);
                    sum.part += g[k * t.input.s[1]] * w[k * inputs * taps];
                }
            });
        });
        return sum.value();
    }

    const Conv2dProblem problem_;
    const int threads_;
    const KernelPostOp post_;
    const Axis rows_, columns_;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_naive(const PlanRequest &request) {
    return std::unique_ptr<AlgorithmPlan>(std::make_unique<NaiveDataGradientPlan>(request));
}

Result<std::unique_ptr<AlgorithmPlan>> plan_naive(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        const Result<const Variant *> forced = forced_variant(request.options, nullptr);
        return forced.status();
    }
    return std::unique_ptr<AlgorithmPlan>(std::make_unique<NaivePlan>(request));
}

}  // namespace fourfold
