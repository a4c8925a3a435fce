#include "backward_filters.h"

#include <algorithm>

#include "cost_model.h"
#include "kernel.h"

namespace fourfold {

void clear_taps_outside(const Conv2dProblem &p, const StridedOut &grad_filters) {
    if (p.padding_mode != PaddingMode::kZeros) {
        return;
    }
    const bool flip = p.filter_mode == FilterMode::kConvolution;
    // The first output pixel whose tap does not lie before the image; then it must not lie behind it.
    const auto is_outside = [&](int64_t tap, int64_t taps, int64_t dilation, int64_t pad, int64_t stride, int64_t in, int64_t out) {
        const int64_t shift = (flip ? taps - 1 - tap : tap) * dilation - pad;
        const int64_t first = shift < 0 ? ceil_div(-shift, stride) : 0;
        return first >= out || first * stride + shift >= in;
    };
    const int64_t *w = grad_filters.s;
    for (int64_t r = 0; r < p.filter_height; r++) {
        const bool row = is_outside(r, p.filter_height, p.dilation_h, p.pad_top, p.stride_h, p.in_height, p.out_height());
        for (int64_t s = 0; s < p.filter_width; s++) {
            if (!row && !is_outside(s, p.filter_width, p.dilation_w, p.pad_left, p.stride_w, p.in_width, p.out_width())) {
                continue;
            }
            for (int64_t k = 0; k < p.out_channels; k++) {
                for (int64_t c = 0; c < p.in_channels / p.groups; c++) {
                    grad_filters.data[k * w[0] + c * w[1] + r * w[2] + s * w[3]] = 0.0f;
                }
            }
        }
    }
}

Conv2dProblem filter_gradient_problem(const Conv2dProblem &p, int64_t images) {
    Conv2dProblem q;
    q.batch = p.in_channels / p.groups;
    q.in_channels = p.groups * images;
    q.groups = p.groups;
    q.out_channels = p.out_channels;
    q.filter_height = p.out_height();
    q.filter_width = p.out_width();
    q.stride_h = p.dilation_h;
    q.stride_w = p.dilation_w;
    q.dilation_h = p.stride_h;
    q.dilation_w = p.stride_w;
    q.padding_mode = p.padding_mode;
    q.padding_value = p.padding_value;
    q.layout = p.layout;
    q.residual = images < p.batch;
    q.pad_top = p.pad_top;
    q.pad_left = p.pad_left;
    // Of an axis only the first `used` padded positions matter. What is not read is left out where that changes no padding.
    const bool constant = p.padding_mode == PaddingMode::kZeros || p.padding_mode == PaddingMode::kConstant;
    const auto set_end = [&](int64_t in, int64_t before, int64_t used, int64_t &size, int64_t &after) {
        const int64_t end = used - before;
        size = constant ? std::clamp<int64_t>(end, 1, in) : in;
        after = std::max<int64_t>(0, end - in);
    };
    set_end(p.in_height, p.pad_top, p.dilation_h * (p.filter_height - 1) + p.stride_h * (p.out_height() - 1) + 1, q.in_height, q.pad_bottom);
    set_end(p.in_width, p.pad_left, p.dilation_w * (p.filter_width - 1) + p.stride_w * (p.out_width() - 1) + 1, q.in_width, q.pad_right);
    return q;
}

Status BackwardFiltersPlan::pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const {
    return Status(StatusCode::kInternal, "bwd-filters has no filters to pack");
}

Status BackwardFiltersPlan::forward(const ForwardTensors &, const std::byte *, std::byte *, const Execution &) const {
    return Status(StatusCode::kInternal, "a plan of bwd-filters was asked for images");
}

Status bias_gradient(const Conv2dProblem &p, const StridedIn &gy, float *grad_bias, int threads, const Execution &execution) {
    if (grad_bias == nullptr) {
        return Status();
    }
    // Channels side by side in memory are summed together.
    constexpr int64_t kMost = 16;
    const bool last = p.layout == Layout::kNhwc;
    const int64_t at_once = last ? std::min(kMost, p.out_channels) : 1;
    return parallel_for(execution, threads, ceil_div(p.out_channels, at_once), [&](int64_t block, int, KernelContext &context) {
        const StageTimer timer(context.profile, "bias_gradient");
        const int64_t k = block * at_once, channels = std::min(at_once, p.out_channels - k);
        double sums[kMost] = {};
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t y = 0; y < p.out_height(); y++) {
                const float *row = gy.data + n * gy.s[0] + k * gy.s[1] + y * gy.s[2];
                int64_t x = 0;
                if (!last) {
                    // Sixteen sums for the compiler to keep in registers.
                    double lanes[16] = {};
                    for (; x + 16 <= p.out_width(); x += 16) {
                        for (int64_t i = 0; i < 16; i++) {
                            lanes[i] += static_cast<double>(row[x + i]);
                        }
                    }
                    for (double lane : lanes) {
                        sums[0] += lane;
                    }
                }
                for (; x < p.out_width(); x++) {
                    for (int64_t i = 0; i < channels; i++) {
                        sums[i] += static_cast<double>(row[x * gy.s[3] + i * gy.s[1]]);
                    }
                }
            }
        }
        for (int64_t i = 0; i < channels; i++) {
            grad_bias[k + i] = static_cast<float>(sums[i]);
        }
        return true;
    });
}

bool is_dense(const Conv2dProblem &p, const StridedOut &filters) {
    return (p.filter_width == 1 || filters.s[3] == 1) && (p.filter_height == 1 || filters.s[2] == p.filter_width) && (p.in_channels == p.groups || filters.s[1] == p.filter_height * p.filter_width) &&
           (p.out_channels == 1 || filters.s[0] == p.in_channels / p.groups * p.filter_height * p.filter_width);
}

Status store_filters(const Conv2dProblem &p, const float *parts, int64_t count, const StridedOut &filters, int threads, const Execution &execution) {
    const int64_t channels = p.in_channels / p.groups, taps = p.filter_height * p.filter_width;
    return parallel_for(execution, threads, p.out_channels, [&](int64_t k, int, KernelContext &context) {
        const StageTimer timer(context.profile, "store_filters");
        const float *from = parts + k * channels * taps;
        for (int64_t c = 0; c < channels; c++) {
            for (int64_t r = 0; r < p.filter_height; r++) {
                float *to = filters.data + k * filters.s[0] + c * filters.s[1] + r * filters.s[2];
                for (int64_t s = 0; s < p.filter_width; s++) {
                    float sum = *from;
                    for (int64_t i = 1; i < count; i++) {
                        sum += from[i * p.filter_elements()];
                    }
                    to[s * filters.s[3]] = sum;
                    from++;
                }
            }
        }
        return true;
    });
}

bool RunningSums::next() {
    if (terms_ > 0 && terms_ % kRun == 0) {
        add_run(terms_ == kRun);
    }
    return terms_++ % kRun != 0;
}

void RunningSums::finish() {
    if (!is_long(terms_)) {
        return;
    }
    add_run(false);
    for (int64_t i = 0; i < rows_; i++) {
        for (int64_t j = 0; j < length_; j++) {
            sums_[i * pitch_ + j] = static_cast<float>(totals_[i * length_ + j]);
        }
    }
}

void RunningSums::add_run(bool first) {
    for (int64_t i = 0; i < rows_; i++) {
        double *total = totals_ + i * length_;
        if (first) {
            std::fill_n(total, length_, 0.0);
        }
        for (int64_t j = 0; j < length_; j++) {
            total[j] += static_cast<double>(sums_[i * pitch_ + j]);
        }
    }
}

std::vector<int32_t> filter_offsets(const StripGeometry &geometry, int64_t strip) {
    std::vector<int32_t> offsets = geometry.offsets(strip);
    if (geometry.problem.filter_mode == FilterMode::kConvolution) {
        std::reverse(offsets.begin(), offsets.end());
    }
    return offsets;
}

namespace {

class NaiveBackwardFilters final : public BackwardFiltersPlan {
public:
    explicit NaiveBackwardFilters(const PlanRequest &request)
        : BackwardFiltersPlan(request) {
        variant = "naive";
        layout = "naive";
        details = "seven loops";
        serial_seconds = problem_.flops() / 1e9;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, problem_.filter_elements());
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t channels = p.in_channels / p.groups, taps = p.filter_height * p.filter_width;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const Status status = parallel_for(execution, threads_, p.filter_elements(), [&](int64_t index, int, KernelContext &) {
            const int64_t s = index % p.filter_width, r = index % taps / p.filter_width, c = index / taps % channels, k = index / taps / channels;
            float *out = t.grad_filters.data + k * t.grad_filters.s[0] + c * t.grad_filters.s[1] + r * t.grad_filters.s[2] + s * t.grad_filters.s[3];
            *out = element(t, k, c, flip ? p.filter_height - 1 - r : r, flip ? p.filter_width - 1 - s : s);
            return true;
        });
        return status.ok() ? bias_gradient(p, t.grad_output, t.grad_bias, threads_, execution) : status;
    }

private:
    float element(const FilterGradientTensors &t, int64_t k, int64_t c, int64_t r, int64_t s) const {
        const Conv2dProblem &p = problem_;
        const int64_t channel = k / (p.out_channels / p.groups) * (p.in_channels / p.groups) + c;
        const float outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
        const StridedIn &x = t.input, &gy = t.grad_output;
        double total = 0.0;
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t y = 0; y < p.out_height(); y++) {
                const int64_t row = padding_source(p.padding_mode, y * p.stride_h + r * p.dilation_h - p.pad_top, p.in_height);
                // A row's sum joins the total, so that long sums stay accurate.
                float sum = 0.0f;
                for (int64_t q = 0; q < p.out_width(); q++) {
                    const int64_t column = padding_source(p.padding_mode, q * p.stride_w + s * p.dilation_w - p.pad_left, p.in_width);
                    const float v = row < 0 || column < 0 ? outside : x.data[n * x.s[0] + channel * x.s[1] + row * x.s[2] + column * x.s[3]];
                    sum += v * gy.data[n * gy.s[0] + k * gy.s[1] + y * gy.s[2] + q * gy.s[3]];
                }
                total += static_cast<double>(sum);
            }
        }
        return static_cast<float>(total);
    }

};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_naive(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        const Result<const Variant *> forced = forced_variant(request.options, nullptr);
        return forced.status();
    }
    return std::unique_ptr<AlgorithmPlan>(std::make_unique<NaiveBackwardFilters>(request));
}

}  // namespace fourfold
