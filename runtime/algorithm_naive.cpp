// naive: the plain loop nest in C++, as one writes it by hand: no tap outside the image is looked at where padding is zero. The baseline
// that every comparison shows, and nothing more; auto takes it only where nothing else can do a problem.
#include <algorithm>

#include "algorithm.h"
#include "cost_model.h"
#include "geometry.h"
#include "parallel.h"

namespace fourfold {
namespace {

class NaivePlan final : public AlgorithmPlan {
public:
    explicit NaivePlan(const PlanRequest &request)
        : problem_(request.problem), threads_(request.options.threads), post_(kernel_post_op(problem_)) {
        variant = "naive";
        layout = "naive";
        packed_bytes = (static_cast<size_t>(problem_.filter_elements()) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
        serial_seconds = problem_.flops() / 1e9;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, problem_.batch * problem_.out_channels);
        details = "seven loops, filters copied as they are";
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &) const override {
        const Conv2dProblem &p = problem_;
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
                float total = (t.bias != nullptr ? t.bias[k] : 0.0f) + sum.value();
                if (t.residual.data != nullptr) {
                    total += t.residual.data[n * t.residual.s[0] + k * t.residual.s[1] + y * t.residual.s[2] + x * t.residual.s[3]];
                }
                if (post_.kind != 0) {
                    total = total < post_.lo ? post_.lo : total > post_.hi ? post_.hi : total;
                }
                t.output.data[n * t.output.s[0] + k * t.output.s[1] + y * t.output.s[2] + x * t.output.s[3]] = total;
            }
        }
    }

    const Conv2dProblem problem_;
    const int threads_;
    const KernelPostOp post_;
    const bool flip_ = problem_.filter_mode == FilterMode::kConvolution;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_naive(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        const Result<const Variant *> forced = forced_variant(request.options, nullptr);
        return forced.status();
    }
    return std::unique_ptr<AlgorithmPlan>(std::make_unique<NaivePlan>(request));
}

}  // namespace fourfold
