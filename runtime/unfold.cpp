// unfold: blocks of channels brought into the flat, decimated form of im2col (or read where they lie), from which every tap's
// rows are copied to the caller's columns. Nothing is computed, so blocking changes no bit.
#include <algorithm>
#include <optional>

#include "arena.h"
#include "columns.h"
#include "geometry.h"
#include "parallel.h"
#include "strip_input.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

class UnfoldPlan final : public ColumnsPlan {
public:
    UnfoldPlan(const PlanRequest &request, const Variant &kernel)
        : ColumnsPlan(request), geometry_(problem_), kernel_(kernel) {
        variant = kernel.name;
        layout = "unfold";
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        // A block's padded image stays in L2 while all taps read it.
        const double budget = static_cast<double>(machine().l2_bytes / sizeof(float)) / 4;
        const auto floats = [&](int64_t strip) { return static_cast<double>(geometry_.phases()) * static_cast<double>(geometry_.plane_elements(strip)); };
        strip_ = geometry_.out_height;
        while (strip_ > 8 && floats(strip_) > budget) {
            strip_ = (strip_ + 1) / 2;
        }
        channels_ = std::clamp<int64_t>(static_cast<int64_t>(budget / floats(strip_)), 1, p.in_channels);
        channels_ = ceil_div(p.in_channels, ceil_div(p.in_channels, channels_));
        while (channels_ > 1 && tasks() < 2 * threads_) {
            channels_ = (channels_ + 1) / 2;
        }
        slots_ = 1;
        lay_out();
        while (workspace_bytes > workspace_limit) {
            if (channels_ > 1) {
                channels_ = (channels_ + 1) / 2;
            } else if (strip_ > 1) {
                strip_ = (strip_ + 1) / 2;
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out();
        }
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        if (input_->scratch_floats(channels_, readable(strip_)) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes, more than a kernel call can reach");
        }
        serial_workspace_bytes = workspace_bytes;
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out();
        predict(geometry_.in_place_shape ? 0.0 : 4.0 * static_cast<double>(p.in_channels * p.batch) * floats(geometry_.out_height), tasks(), 2.0 * static_cast<double>(tasks()));
        details = "strips of " + std::to_string(strip_) + " output rows, " + std::to_string(channels_) + " of " + std::to_string(p.in_channels) + " channels a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time; " + std::to_string(geometry_.phases()) + " phases";
        return Status();
    }

    Status forward(const ForwardTensors &t, const std::byte *, std::byte *workspace, const Execution &execution) const override {
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            return task(t, floats_at(workspace, static_cast<size_t>(slot) * slot_bytes_), index, context);
        });
    }

private:
    int64_t strips() const {
        return ceil_div(geometry_.out_height, strip_);
    }
    int64_t channel_blocks() const {
        return ceil_div(problem_.in_channels, channels_);
    }
    int64_t tasks() const {
        return problem_.batch * channel_blocks() * strips();
    }
    int64_t readable(int64_t rows) const {
        return geometry_.flat_pixels(rows) + offset_max_;
    }

    void lay_out() {
        offsets_ = geometry_.offsets(strip_);
        offset_max_ = *std::max_element(offsets_.begin(), offsets_.end());
        input_.emplace(geometry_, strip_);
        Arena slot;
        slot.reserve_floats(input_->scratch_floats(channels_, readable(strip_)));
        slot_bytes_ = slot.bytes();
        Arena arena;
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    bool task(const ForwardTensors &t, float *scratch, int64_t index, KernelContext &context) const {
        const int64_t first_row = index % strips() * strip_;
        index /= strips();
        const int64_t c = index % channel_blocks() * channels_, image = index / channel_blocks();
        const int64_t rows = std::min(strip_, geometry_.out_height - first_row), count = std::min(channels_, problem_.in_channels - c);
        FlatStrip x;
        if (!input_->prepare(t.input, image, c, count, first_row, rows, readable(rows), scratch, x, context)) {
            return false;
        }
        // As many channels, or taps, to a call as 32-bit indices reach.
        constexpr int64_t reach = int64_t{1} << 28;
        const int64_t *s = t.output.s;
        const int64_t channels = std::clamp<int64_t>(reach / s[1], 1, count);
        const int64_t taps = channels > 1 ? taps_ : std::clamp<int64_t>(reach / s[2], 1, taps_);
        for (int64_t i = 0; i < count; i += channels) {
            for (int64_t tap = 0; tap < taps_; tap += taps) {
                const int64_t n = std::min(channels, count - i), m = std::min(taps, taps_ - tap);
                const Floats<2> from(x.data + i * x.channel_stride, {{readable(rows), 1}, {n, x.channel_stride}});
                const Floats<4> to(t.output.data + image * s[0] + (c + i) * s[1] + tap * s[2] + first_row * geometry_.out_width, {{geometry_.out_width, 1}, {rows, geometry_.out_width}, {m, s[2]}, {n, s[1]}});
                if (!call(kernel_, context, from, Ints<1>(offsets_.data() + tap, {{m, 1}}), static_cast<int32_t>(offset_max_), static_cast<int32_t>(geometry_.pitch), to)) {
                    return false;
                }
            }
        }
        return true;
    }

    const StripGeometry geometry_;
    const Variant &kernel_;
    int64_t strip_ = 1, channels_ = 1;  ///< of a task
    int slots_ = 1;
    std::optional<StripInput> input_;
    std::vector<int32_t> offsets_;
    int64_t offset_max_ = 0;
    size_t slot_bytes_ = 0;
};

/// The definition, element by element.
class NaiveColumns final : public ColumnsPlan {
public:
    explicit NaiveColumns(const PlanRequest &request)
        : ColumnsPlan(request) {
        variant = "naive";
        layout = "naive";
        details = "six loops";
        serial_seconds = static_cast<double>(problem_.column_elements()) / 0.3e9;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, problem_.batch * problem_.in_channels);
    }

    Status forward(const ForwardTensors &t, const std::byte *, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const bool unfold = p.operation == Operation::kUnfold;
        const float outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
        return parallel_for(execution, threads_, p.batch * p.in_channels, [&](int64_t index, int, KernelContext &) {
            const int64_t n = index / p.in_channels, c = index % p.in_channels;
            const int64_t *columns = unfold ? t.output.s : t.input.s, *image = unfold ? t.input.s : t.output.s;
            const float *in = t.input.data + n * t.input.s[0] + c * t.input.s[1];
            float *out = t.output.data + n * t.output.s[0] + c * t.output.s[1];
            for (int64_t y = 0; !unfold && y < p.in_height; y++) {
                for (int64_t x = 0; x < p.in_width; x++) {
                    out[y * image[2] + x * image[3]] = 0.0f;
                }
            }
            for (int64_t tap = 0; tap < taps_; tap++) {
                for (int64_t pixel = 0; pixel < pixels_; pixel++) {
                    const int64_t y = padding_source(p.padding_mode, pixel / p.out_width() * p.stride_h + tap / p.filter_width * p.dilation_h - p.pad_top, p.in_height);
                    const int64_t x = padding_source(p.padding_mode, pixel % p.out_width() * p.stride_w + tap % p.filter_width * p.dilation_w - p.pad_left, p.in_width);
                    const int64_t column = tap * columns[2] + pixel * columns[3], at = y * image[2] + x * image[3];
                    const bool inside = y >= 0 && x >= 0;
                    if (unfold) {
                        out[column] = inside ? in[at] : outside;
                    } else if (inside) {
                        out[at] += in[column];
                    }
                }
            }
            return true;
        });
    }
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_columns_naive(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        const Result<const Variant *> forced = forced_variant(request.options, nullptr);
        return forced.status();
    }
    return std::unique_ptr<AlgorithmPlan>(std::make_unique<NaiveColumns>(request));
}

Result<std::unique_ptr<AlgorithmPlan>> plan_columns(const PlanRequest &request) {
    if (request.problem.operation == Operation::kFold) {
        return plan_fold(request);
    }
    const Result<const Variant *> forced = forced_variant(request.options, "im2col");
    if (!forced) {
        return forced.status();
    }
    if (*forced != nullptr && (*forced)->parameter("exact", 0) == 0) {
        return Status(StatusCode::kUnsupported, "variant '" + request.options.variant + "' writes beyond the ends of rows; unfold needs exact=1");
    }
    return best_variant<UnfoldPlan>(request, "im2col", [&](const Variant &kernel, const auto &consider) {
        if (kernel.parameter("exact", 0) != 0) {
            consider(std::make_unique<UnfoldPlan>(request, kernel));
        }
    });
}

}  // namespace fourfold
