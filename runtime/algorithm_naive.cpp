// naive: the plain loop nest in C++. The baseline that every comparison shows, and nothing more; auto takes it only where nothing else can do a problem.
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
    void plane(const ForwardTensors &t, const float *filters, int64_t n, int64_t k) const {
        const Conv2dProblem &p = problem_;
        const int64_t channels = p.in_channels / p.groups;
        const int64_t first = k / (p.out_channels / p.groups) * channels;
        const float outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const float *w = filters + k * channels * p.filter_height * p.filter_width;
        for (int64_t y = 0; y < p.out_height(); y++) {
            for (int64_t x = 0; x < p.out_width(); x++) {
                float total = t.bias != nullptr ? t.bias[k] : 0.0f;
                // Partial sums of a few hundred terms keep long sums accurate.
                float sum = 0.0f;
                int64_t terms = 0;
                for (int64_t c = 0; c < channels; c++) {
                    const float *image = t.input.data + n * t.input.s[0] + (first + c) * t.input.s[1];
                    for (int64_t r = 0; r < p.filter_height; r++) {
                        const int64_t row = padding_source(p.padding_mode, y * p.stride_h + r * p.dilation_h - p.pad_top, p.in_height);
                        for (int64_t s = 0; s < p.filter_width; s++) {
                            const int64_t column = padding_source(p.padding_mode, x * p.stride_w + s * p.dilation_w - p.pad_left, p.in_width);
                            const int64_t tap = flip ? (p.filter_height - 1 - r) * p.filter_width + p.filter_width - 1 - s : r * p.filter_width + s;
                            const float v = row < 0 || column < 0 ? outside : image[row * t.input.s[2] + column * t.input.s[3]];
                            sum += v * w[c * p.filter_height * p.filter_width + tap];
                            if (++terms % 256 == 0) {
                                total += sum;
                                sum = 0.0f;
                            }
                        }
                    }
                }
                total += sum;
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
