// bwd-filters, fft_tiled, where groups have one input channel: whole planes of 16 channels at a time, one to a vector lane. With X and
// G the spectra of x and gy on planes of n0 x n1, zeros around both, the gradient of a filter is
//
//     gw[r,s] = inverse( sum_n X_n * conj(G_n) )[r*d0 - pad_top, s*d1 - pad_left]          (indices modulo n0, n1)
//
// exact where no wrapped row of the correlation meets another: n >= i + max(padding), as for the forward plane. Images are
// summed in the Fourier domain, so that there is one inverse transform for each filter. For that columns take the forward plan's
// kernel, which multiplies the transform of its input by a spectrum and transforms back: the input is a unit impulse, the
// spectrum the sum.
#include <algorithm>
#include <cmath>
#include <string>

#include "backward_filters.h"
#include "cost_model.h"
#include "lane_transforms.h"
#include "stages.h"

namespace fourfold {
namespace {

constexpr int64_t kImages = 64;  ///< summed at once, so that long sums of positive numbers stay accurate

class FftPlanesBackwardFilters final : public BackwardFiltersPlan {
public:
    /// vertical: the length of columns; horizontal: of rows.
    FftPlanesBackwardFilters(const PlanRequest &request, const LaneKernels &vertical, const LaneKernels &horizontal)
        : BackwardFiltersPlan(request), vertical_(vertical), horizontal_(horizontal), correlate_(*find_variant("lane_correlation")), copy_(PadStage::find_zeros(problem_)), n0_(vertical.n), n1_(horizontal.n), half_(n1_ / 2 + 1), column_pitch_(n0_ * 2 * kLanes + kLanes), outputs_(problem_.out_channels / problem_.in_channels), blocks_(ceil_div(problem_.in_channels, kLanes)) {
        variant = vertical.columns_lanes->name;
        choice = choice_of(vertical, horizontal);
        layout = "fft_tiled planes";
    }

    static std::string choice_of(const LaneKernels &vertical, const LaneKernels &horizontal) {
        return std::string(vertical.columns_lanes->name) + " rows=" + std::to_string(vertical.n) + "w columns=" + std::to_string(horizontal.n) + "w";
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        Arena slot;
        const double spectrum = static_cast<double>(half_ * column_pitch_);
        x_offset_ = slot.reserve_floats(spectrum);
        g_offset_ = slot.reserve_floats(spectrum);
        sums_offset_ = slot.reserve_floats(spectrum * static_cast<double>(outputs_));
        totals_offset_ = slot.reserve_floats(p.batch > kImages ? spectrum * static_cast<double>(outputs_) : 0.0);
        row_offset_ = slot.reserve_floats(static_cast<double>(n1_ * kLanes));
        copy_offset_ = slot.reserve_floats(static_cast<double>(kLanes * std::max(p.in_height, p.out_height()) * copy_pitch()));
        heap_offset_ = slot.reserve(static_cast<double>(heap_bytes()));
        slot_bytes_ = slot.bytes();
        serial_workspace_bytes = workspace_bytes = slot_bytes_;
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        slots_ = affordable_slots(threads_, blocks_, slot_bytes_, slot_bytes_, workspace_limit);
        workspace_bytes = slot_bytes_ * static_cast<size_t>(slots_);
        details = "planes of " + std::to_string(n0_) + "x" + std::to_string(n1_) + ", 16 channels at a time";
        const double serial = seconds();
        serial_seconds = serial + 2e-6;
        predicted_seconds = serial / CostModel::parallel(threads_, blocks_) + 2e-6;
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        const Status status = parallel_for(execution, slots_, blocks_, [&](int64_t index, int slot, KernelContext &context) {
            std::byte *base = workspace + static_cast<size_t>(slot) * slot_bytes_;
            context.heap = base + heap_offset_;
            context.heap_bytes = heap_bytes();
            const int64_t first = index * kLanes;
            return sum_images(t, first, std::min(kLanes, problem_.in_channels - first), base, context) && store(t, first, std::min(kLanes, problem_.in_channels - first), base, context);
        });
        return status.ok() ? bias_gradient(problem_, t.grad_output, t.grad_bias, threads_, execution) : status;
    }

private:
    /// What long transforms put between their passes.
    size_t heap_bytes() const {
        return static_cast<size_t>(2 * std::max(n0_, n1_) * 2 * kLanes) * sizeof(float) + 4 * kAlignment;
    }
    int64_t copy_pitch() const {
        return round_up(std::max({problem_.in_width, problem_.out_width(), kRowBlock}), kLanes);
    }
    int64_t spectrum_floats() const {
        return half_ * column_pitch_;
    }
    Floats<4> rows_view(float *spectrum, int64_t rows) const {
        return Floats<4>(spectrum, {{kLanes, 1}, {2, kLanes}, {half_, column_pitch_}, {rows, 2 * kLanes}});
    }
    Floats<4> columns_view(float *spectrum) const {
        return Floats<4>(spectrum, {{kLanes, 1}, {2, kLanes}, {n0_, 2 * kLanes}, {half_, column_pitch_}});
    }

    /// Cycles as in the forward plan (LaneTiling::seconds).
    double seconds() const {
        const CostModel model(correlate_.isa);
        const Conv2dProblem &p = problem_;
        const double vectors = static_cast<double>(kLanes) / model.lanes, outputs = static_cast<double>(outputs_), half = static_cast<double>(half_);
        const auto cycles = [](double counted, int64_t n) { return counted * static_cast<double>(n) * std::log2(static_cast<double>(n)) / (n % 16 == 0 ? 2.3 : 2.8); };
        const auto forward = [&](int64_t height, int64_t width) {
            return static_cast<double>(height) * (cycles(2.5, n1_) + 2.0 * static_cast<double>(width)) + half * cycles(5.0, n0_);
        };
        const double image = forward(p.in_height, p.in_width) + outputs * (forward(p.out_height(), p.out_width()) + 6.0 * half * static_cast<double>(n0_));
        const double filter = half * cycles(10.0, n0_) + static_cast<double>(p.filter_height) * (cycles(2.5, n1_) + static_cast<double>(p.filter_width * kLanes));
        double seconds = vectors * (static_cast<double>(p.batch) * image + outputs * filter) / model.hertz;
        // Spectra that do not stay in L2 travel.
        const double bytes = 4.0 * half * static_cast<double>(column_pitch_) * (2.0 + outputs);
        if (bytes > 0.6 * static_cast<double>(machine().l2_bytes)) {
            seconds += 3.0 * static_cast<double>(p.batch) * bytes / 50e9;
        }
        seconds += static_cast<double>(p.batch) * (3.0 + 3.0 * outputs) * model.call_seconds;
        return 1.7 * static_cast<double>(blocks_) * seconds;
    }

    bool sum_images(const FilterGradientTensors &t, int64_t first, int64_t count, std::byte *base, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        float *x = floats_at(base, x_offset_), *g = floats_at(base, g_offset_), *sums = floats_at(base, sums_offset_), *totals = floats_at(base, totals_offset_);
        const int64_t all = spectrum_floats() * outputs_;
        std::fill_n(sums, all, 0.0f);
        for (int64_t n = 0; n < p.batch; n++) {
            if (!transform(t.input.data + n * t.input.s[0] + first * t.input.s[1], t.input.s[1], t.input.s[2], count, p.in_height, p.in_width, x, base, context)) {
                return false;
            }
            for (int64_t j = 0; j < outputs_; j++) {
                const float *planes = t.grad_output.data + n * t.grad_output.s[0] + (first * outputs_ + j) * t.grad_output.s[1];
                float *sum = sums + j * spectrum_floats();
                if (!transform(planes, outputs_ * t.grad_output.s[1], t.grad_output.s[2], count, p.out_height(), p.out_width(), g, base, context) ||
                    !call(correlate_, context, columns_view(x), columns_view(g), columns_view(sum), columns_view(sum))) {
                    return false;
                }
            }
            const int64_t done = n + 1;
            if (p.batch > kImages && (done % kImages == 0 || done == p.batch)) {
                for (int64_t i = 0; i < all; i++) {
                    totals[i] = sums[i] + (done <= kImages ? 0.0f : totals[i]);
                    sums[i] = 0.0f;
                }
            }
        }
        return true;
    }

    /// Spectra of `count` planes, `step` floats apart, with zeros around them.
    bool transform(const float *planes, int64_t step, int64_t pitch, int64_t count, int64_t height, int64_t width, float *spectrum, std::byte *base, KernelContext &context) const {
        for (int64_t kx = 0; kx < half_ && height < n0_; kx++) {
            std::fill_n(spectrum + kx * column_pitch_ + height * 2 * kLanes, (n0_ - height) * 2 * kLanes, 0.0f);
        }
        int64_t span = 0;
        const bool in_place = width >= kRowBlock && step <= kReach / kLanes && pitch <= kReach / (2 * height);
        if (in_place) {
            span = (count - 1) * step + (height - 1) * pitch + width;
        } else {
            float *copy = floats_at(base, copy_offset_);
            const int64_t plane = height * copy_pitch();
            if (!copy_.run({planes, width, height, count, pitch, step}, {copy, std::max(width, kRowBlock), height, count, copy_pitch(), plane}, 1, 1, 0, 0, context)) {
                return false;
            }
            planes = copy;
            step = plane;
            pitch = copy_pitch();
            width = std::max(width, kRowBlock);
            span = count * plane;
        }
        int32_t at[kLanes];
        for (int64_t l = 0; l < kLanes; l++) {
            at[l] = static_cast<int32_t>(l < count ? l * step : 0);
        }
        const Ints<1> offsets(at, {{kLanes, 1}});
        const int64_t band = in_place ? kBand : height;
        for (int64_t y = 0; y < height; y += band) {
            const int64_t rows = std::min(band, height - y);
            // Rows of the first band all at once, then those of the band after this one.
            const int64_t next = y == 0 ? 0 : y + band, end = std::min(y + 2 * band, height);
            for (int64_t l = 0; l < count && in_place; l++) {
                prefetch<0>(planes + at[l] + next * pitch, width, end - next, pitch);
            }
            const Floats<1> pixels(planes + y * pitch, {{span - y * pitch, 1}});
            if (!call(*horizontal_.rows_forward, context, pixels, offsets, static_cast<int32_t>(pitch), static_cast<int32_t>(width), rows_view(spectrum + y * 2 * kLanes, rows))) {
                return false;
            }
        }
        return call(*vertical_.columns_none, context, columns_view(spectrum), columns_view(spectrum), 1.0f, columns_view(spectrum));
    }

    /// The taps of each lane's filters, from the inverse transforms of the sums.
    bool store(const FilterGradientTensors &t, int64_t first, int64_t count, std::byte *base, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(n0_) * static_cast<double>(n1_)));
        const auto place = [](int64_t shift, int64_t n) { return (shift % n + n) % n; };
        const int64_t *s = t.grad_filters.s;
        float *impulse = floats_at(base, x_offset_), *inverse = floats_at(base, g_offset_), *row = floats_at(base, row_offset_);
        std::fill_n(impulse, spectrum_floats(), 0.0f);
        for (int64_t kx = 0; kx < half_; kx++) {
            std::fill_n(impulse + kx * column_pitch_, kLanes, 1.0f);
        }
        for (int64_t j = 0; j < outputs_; j++) {
            float *sums = floats_at(base, p.batch > kImages ? totals_offset_ : sums_offset_) + j * spectrum_floats();
            if (!call(*vertical_.columns_lanes, context, columns_view(impulse), columns_view(sums), 1.0f, columns_view(inverse))) {
                return false;
            }
            for (int64_t r = 0; r < p.filter_height; r++) {
                const Floats<3> pixels(row, {{kLanes, 1}, {n1_, kLanes}, {1, n1_ * kLanes}});
                if (!call(*horizontal_.rows_inverse, context, rows_view(inverse + place(r * p.dilation_h - p.pad_top, n0_) * 2 * kLanes, 1), pixels)) {
                    return false;
                }
                for (int64_t l = 0; l < count; l++) {
                    float *to = t.grad_filters.data + ((first + l) * outputs_ + j) * s[0] + (flip ? p.filter_height - 1 - r : r) * s[2];
                    for (int64_t c = 0; c < p.filter_width; c++) {
                        to[(flip ? p.filter_width - 1 - c : c) * s[3]] = scale * row[place(c * p.dilation_w - p.pad_left, n1_) * kLanes + l];
                    }
                }
            }
        }
        return true;
    }

    const LaneKernels vertical_, horizontal_;
    const Variant &correlate_;
    const PadStage copy_;
    const int64_t n0_, n1_, half_, column_pitch_;  ///< of planes; frequencies of a row; floats between columns of a spectrum
    const int64_t outputs_, blocks_;               ///< outputs of an input channel; blocks of 16 channels
    int slots_ = 1;
    size_t slot_bytes_ = 0, x_offset_ = 0, g_offset_ = 0, sums_offset_ = 0, totals_offset_ = 0, row_offset_ = 0, copy_offset_ = 0, heap_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft_planes(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    if (Status status = lane_transforms_take(p); !status.ok()) {
        return status;
    }
    if (p.padding_mode != PaddingMode::kZeros && (p.pad_top | p.pad_bottom | p.pad_left | p.pad_right) != 0) {
        return Status(StatusCode::kUnsupported, "filter gradients of whole planes need padding with zeros");
    }
    const Variant *forced = nullptr;
    if (!request.options.variant.empty()) {
        const Result<const Variant *> variant = forced_variant(request.options, "lane_columns");
        if (!variant) {
            return variant.status();
        }
        forced = *variant;
        if (std::strstr(forced->parameters, "mode=lanes") == nullptr) {
            return Status(StatusCode::kUnsupported, "filter gradients take a filter to each lane, that is lane_columns with mode=lanes");
        }
    }
    const std::vector<LaneKernels> lengths = lane_lengths(forced != nullptr ? forced->isa : best_isa());
    const int64_t least_h = std::max(p.in_height + std::max(p.pad_top, p.pad_bottom), p.out_height()), least_w = std::max(p.in_width + std::max(p.pad_left, p.pad_right), p.out_width());
    Status status(StatusCode::kUnsupported, "filter gradients of whole planes need transforms of " + std::to_string(least_h) + "x" + std::to_string(least_w) + "; the longest has " + std::to_string(lengths.empty() ? 0 : lengths.back().n) + " points");
    std::unique_ptr<FftPlanesBackwardFilters> best;
    bool possible = false, admitted = false;
    size_t least_bytes = SIZE_MAX;
    for (const LaneKernels &vertical : lengths) {
        for (const LaneKernels &horizontal : lengths) {
            if (vertical.n < least_h || horizontal.n < least_w || (forced != nullptr && forced != vertical.columns_lanes)) {
                continue;
            }
            possible = true;
            if (request.restricted() && !request.admits(FftPlanesBackwardFilters::choice_of(vertical, horizontal))) {
                continue;
            }
            admitted = true;
            auto plan = std::make_unique<FftPlanesBackwardFilters>(request, vertical, horizontal);
            if (Status blocked = plan->block(request.options.workspace_limit); !blocked.ok()) {
                if (plan->workspace_bytes < least_bytes) {
                    least_bytes = plan->workspace_bytes;
                    status = blocked;
                }
                continue;
            }
            if (best == nullptr || plan->serial_seconds < best->serial_seconds) {
                best = std::move(plan);
            }
        }
    }
    if (best == nullptr) {
        return possible && !admitted ? request.not_admitted("lane_columns") : status;
    }
    request.considered(*best);
    return std::unique_ptr<AlgorithmPlan>(std::move(best));
}

}  // namespace fourfold
