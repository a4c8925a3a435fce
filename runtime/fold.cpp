// fold: every pixel gathers its terms from the columns, one phase of the stride at a time (adjoint.h), so that no sum goes
// through memory and no two tasks touch a pixel. With a padding mode that repeats the image, blocks of padded planes are
// gathered first and their borders added to what they repeat. (Source of the adjoint: as in backward_data.cpp.)
#include <algorithm>

#include "arena.h"
#include "columns.h"
#include "fold.h"
#include "parallel.h"
#include "stages.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

/// Taps of a row, or rows of taps, that are summed in one chain.
constexpr int64_t kSumBlock = 256;

}  // namespace

FoldStage::FoldStage(const Conv2dProblem &p, const Variant &variant)
    : problem(p), kernel(variant), folds(folds_padding(p)), height(p.in_height + (folds ? p.pad_top + p.pad_bottom : 0)), width(p.in_width + (folds ? p.pad_left + p.pad_right : 0)), rows(axis_phases(height, folds ? 0 : p.pad_top, p.stride_h, p.dilation_h, p.filter_height, p.out_height())), columns(axis_phases(width, folds ? 0 : p.pad_left, p.stride_w, p.dilation_w, p.filter_width, p.out_width())) {
    gaps = rows.covered < height || columns.covered < width;
}

bool FoldStage::gather(const ColumnsIn &from, int64_t first, int64_t row_count, int64_t count, const StridedOut &planes, KernelContext &context) const {
    const Conv2dProblem &p = problem;
    for (int64_t c = 0; gaps && c < count; c++) {
        for (int64_t y = first; y < first + row_count; y++) {
            for (int64_t x = 0; x < width; x++) {
                planes.data[c * planes.s[1] + y * planes.s[2] + x * planes.s[3]] = 0.0f;
            }
        }
    }
    const int64_t out_width = p.out_width(), begin = first / p.stride_h;
    const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 28) / from.channel, 1, count);
    const int64_t sign = from.flipped ? -1 : 1, last = from.flipped ? p.filter_height * p.filter_width - 1 : 0;
    for (const AxisPhase &a : rows.phases) {
        const int64_t positions = std::min(a.count, ceil_div(first + row_count, p.stride_h)) - begin;
        for (const AxisPhase &b : columns.phases) {
            if (a.taps > kSumBlock || b.taps > kSumBlock) {
                if (!gather_long(from, a, b, begin, positions, count, planes, context)) {
                    return false;
                }
                continue;
            }
            for (int64_t c = 0; positions > 0 && c < count; c += at_once) {
                const int64_t n = std::min(at_once, count - c), tap = last + sign * (a.tap * p.filter_width + b.tap);
                const Floats<5> in(from.data + c * from.channel + tap * from.tap, {{out_width, 1}, {p.out_height(), out_width}, {b.taps, sign * b.tap_step * from.tap}, {a.taps, sign * a.tap_step * p.filter_width * from.tap}, {n, from.channel}});
                const Floats<3> to(planes.data + c * planes.s[1] + (a.first + begin * p.stride_h) * planes.s[2] + b.first * planes.s[3], {{b.count, p.stride_w * planes.s[3]}, {positions, p.stride_h * planes.s[2]}, {n, planes.s[1]}});
                if (!call(kernel, context, in, static_cast<int32_t>(b.origin), static_cast<int32_t>(a.origin + begin), static_cast<int32_t>(b.dilation), static_cast<int32_t>(a.dilation), to)) {
                    return false;
                }
            }
        }
    }
    return true;
}

/// Some pixels of a row at a time, block by block of the taps: the kernel sums each row of taps, and these, in one chain.
bool FoldStage::gather_long(const ColumnsIn &from, const AxisPhase &a, const AxisPhase &b, int64_t begin, int64_t positions, int64_t count, const StridedOut &planes, KernelContext &context) const {
    const Conv2dProblem &p = problem;
    constexpr int64_t kPixels = 512;
    float part[kPixels];
    double sum[kPixels];
    const int64_t out_width = p.out_width(), sign = from.flipped ? -1 : 1, last = from.flipped ? p.filter_height * p.filter_width - 1 : 0;
    const int64_t first_tap = last + sign * (a.tap * p.filter_width + b.tap), row_step = sign * a.tap_step * p.filter_width * from.tap, column_step = sign * b.tap_step * from.tap;
    for (int64_t c = 0; c < count; c++) {
        const float *columns = from.data + c * from.channel + first_tap * from.tap;
        for (int64_t y = 0; y < positions; y++) {
            float *row = planes.data + c * planes.s[1] + (a.first + (begin + y) * p.stride_h) * planes.s[2] + b.first * planes.s[3];
            for (int64_t x = 0; x < b.count; x += kPixels) {
                const int64_t n = std::min(kPixels, b.count - x);
                std::fill_n(sum, n, 0.0);
                for (int64_t r = 0; r < a.taps; r += kSumBlock) {
                    for (int64_t s = 0; s < b.taps; s += kSumBlock) {
                        const Floats<5> in(columns + r * row_step + s * column_step, {{out_width, 1}, {p.out_height(), out_width}, {std::min(kSumBlock, b.taps - s), column_step}, {std::min(kSumBlock, a.taps - r), row_step}, {1, from.channel}});
                        const Floats<3> to(part, {{n, 1}, {1, n}, {1, n}});
                        if (!call(kernel, context, in, static_cast<int32_t>(b.origin + x - s * b.dilation), static_cast<int32_t>(a.origin + begin + y - r * a.dilation), static_cast<int32_t>(b.dilation), static_cast<int32_t>(a.dilation), to)) {
                            return false;
                        }
                        std::transform(sum, sum + n, part, sum, [](double total, float more) { return total + static_cast<double>(more); });
                    }
                }
                for (int64_t i = 0; i < n; i++) {
                    row[(x + i) * p.stride_w * planes.s[3]] = static_cast<float>(sum[i]);
                }
            }
        }
    }
    return true;
}

const Variant &fold_variant(const Conv2dProblem &p) {
    const Variant *best = nullptr;
    int64_t widest = 0, narrowest = 0;
    for (const Variant *v : variants_of("fold")) {
        const int64_t tile = v->parameter("n", 1) * vector_lanes(v->isa);
        const bool fills = tile <= ceil_div(p.in_width, p.stride_w);
        // Where none is filled, the narrowest.
        if (best == nullptr || (fills ? tile > widest : widest == 0 && tile < narrowest)) {
            best = v;
            widest = fills ? tile : widest;
            narrowest = tile;
        }
    }
    return *best;
}

namespace {

class FoldPlan final : public ColumnsPlan {
public:
    FoldPlan(const PlanRequest &request, const Variant &kernel)
        : ColumnsPlan(request), fold_(problem_, kernel), crop_(CropStage::find(problem_.layout)) {
        variant = kernel.name;
        layout = "fold";
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        if (static_cast<double>(taps_) * static_cast<double>(pixels_) >= double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "the columns of one channel are 2^31 bytes or more, beyond a kernel call's reach");
        }
        // A task reads about a megabyte of columns. In NHWC the channels of a line stay together.
        const int64_t piece = int64_t{1} << 18, channel = taps_ * pixels_;
        channels_ = std::clamp<int64_t>(piece / channel, p.layout == Layout::kNhwc ? std::min<int64_t>(16, p.in_channels) : 1, p.in_channels);
        while (channels_ > 1 && p.layout == Layout::kNchw && tasks() < 2 * threads_) {
            channels_ = (channels_ + 1) / 2;
        }
        // A padded plane is folded as a whole.
        band_ = fold_.folds ? fold_.height : std::clamp<int64_t>(fold_.height * piece / (channel * channels_) / p.stride_h * p.stride_h, p.stride_h, fold_.height);
        slots_ = 1;
        lay_out();
        while (workspace_bytes > workspace_limit) {
            if (channels_ == 1) {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            channels_ = (channels_ + 1) / 2;
            lay_out();
        }
        serial_workspace_bytes = workspace_bytes;
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out();
        // Wider tiles than a phase's rows would load nothing in some vectors.
        const int64_t tile = fold_.kernel.parameter("n", 1) * vector_lanes(fold_.kernel.isa), phase_width = ceil_div(fold_.width, p.stride_w);
        const double idle = static_cast<double>(round_up(phase_width, tile)) / static_cast<double>(phase_width) - 1.0;
        const double starts = 8.0 * static_cast<double>(taps_ * ceil_div(phase_width, tile)) * static_cast<double>(p.batch * p.in_channels) * static_cast<double>(ceil_div(fold_.height, p.stride_h));
        const double image = fold_.folds ? 8.0 * static_cast<double>(p.batch * p.in_channels) * static_cast<double>(fold_.height * fold_.width) : 0.0;
        predict(image + idle * 4.0 * static_cast<double>(p.column_elements()) + starts, tasks(), static_cast<double>(tasks()) * static_cast<double>(fold_.rows.phases.size() * fold_.columns.phases.size()));
        details = std::to_string(fold_.rows.phases.size() * fold_.columns.phases.size()) + " phases, bands of " + std::to_string(band_) + " rows, " + std::to_string(channels_) + " of " + std::to_string(p.in_channels) + " channels a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time" + (fold_.folds ? "; padded planes are folded back" : "");
        return Status();
    }

    Status forward(const ForwardTensors &t, const std::byte *, std::byte *workspace, const Execution &execution) const override {
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            const int64_t first_row = index % bands() * band_;
            index /= bands();
            const int64_t blocks = ceil_div(problem_.in_channels, channels_);
            const int64_t c = index % blocks * channels_, image = index / blocks, count = std::min(channels_, problem_.in_channels - c);
            const float *columns = t.input.data + image * t.input.s[0] + c * t.input.s[1];
            StridedOut planes = t.output;
            planes.data += image * planes.s[0] + c * planes.s[1];
            if (!fold_.folds) {
                return fold_.gather({columns, t.input.s[1], t.input.s[2]}, first_row, std::min(band_, fold_.height - first_row), count, planes, context);
            }
            float *scratch = floats_at(workspace, static_cast<size_t>(slot) * slot_bytes_);
            return fold_back(columns, t.input.s, count, scratch, planes, context);
        });
    }

private:
    int64_t bands() const {
        return ceil_div(fold_.height, band_);
    }
    int64_t tasks() const {
        return problem_.batch * ceil_div(problem_.in_channels, channels_) * bands();
    }
    int64_t plane() const {
        return fold_.height * fold_.width;
    }

    void lay_out() {
        Arena slot;
        slot.reserve_floats(fold_.folds ? static_cast<double>(channels_) * static_cast<double>(plane()) : 0.0);
        zeros_offset_ = slot.reserve_floats(fold_.folds ? static_cast<double>(channels_) : 0.0);
        slot_bytes_ = slot.bytes();
        Arena arena;
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    bool fold_back(const float *columns, const int64_t *s, int64_t count, float *scratch, const StridedOut &planes, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const StridedOut padded = {scratch, {0, plane(), fold_.width, 1}};
        if (!fold_.gather({columns, s[1], s[2]}, 0, fold_.height, count, padded, context)) {
            return false;
        }
        fold_padding(p, padded, count);
        float *zeros = scratch + zeros_offset_ / sizeof(float);
        std::fill_n(zeros, count, -0.0f);
        const PlanesIn inside = {scratch + p.pad_top * fold_.width + p.pad_left, p.in_width, p.in_height, count, fold_.width, plane()};
        const PlanesOut out = {planes.data, p.in_width, p.in_height, count, planes.s[2], planes.s[1], planes.s[3]};
        return crop_.run(inside, out, zeros, PlanesIn{}, KernelPostOp{}, context);
    }

    const FoldStage fold_;
    const CropStage crop_;
    int64_t channels_ = 1, band_ = 1;  ///< of a task
    int slots_ = 1;
    size_t slot_bytes_ = 0, zeros_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fold(const PlanRequest &request) {
    return best_variant<FoldPlan>(request, "fold", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<FoldPlan>(request, kernel));
    });
}

}  // namespace fourfold
