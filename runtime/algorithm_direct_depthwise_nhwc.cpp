// direct in NHWC, where every group has one input and one output channel: lanes are channels (conv_depthwise_nhwc).
//
// Zero padding: output pixels fall into classes by the filter rows that meet the image, and a class's calls sum those rows
// only. Columns are either treated alike, and then the image is read where it lies, or, where that would make many small
// calls, image rows are copied between columns of zeros first, a block of channels at a time. Other padding modes copy.
#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "geometry.h"
#include "kernel.h"
#include "parallel.h"
#include "stages.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kBlock = 16;  ///< channels of a block
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kTapBlock = 256;  ///< taps of a kernel call: the error of a long sum grows with the root of this

/// Outputs [begin, end) of an axis, which meet the image with the taps [first, last).
struct TapClass {
    int64_t begin, end, first, last;
};

/// What a task covers.
struct Blocking {
    bool copied;       ///< the image is copied with its padding
    int64_t channels;  ///< a multiple of kBlock unless all
    int64_t strip;     ///< output rows
};

class DepthwiseNhwcPlan final : public AlgorithmPlan {
public:
    /// `rest` takes the channels that do not fill the register tiles of `kernel`.
    DepthwiseNhwcPlan(const PlanRequest &request, const Variant &kernel, const Variant &rest)
        : problem_(request.problem), kernel_(kernel), rest_(rest), pad_(PadStage::find(problem_)), pack_(*find_variant("pack_filters")), threads_(request.options.threads) {
        const Conv2dProblem &p = problem_;
        variant = kernel.name;
        columns_read_ = (p.out_width() - 1) * p.stride_w + (p.filter_width - 1) * p.dilation_w + 1;
        row_block_ = std::max<int64_t>(1, kTapBlock / p.filter_width);
        padded_ = p.pad_top > 0 || p.pad_bottom > 0 || p.pad_left > 0 || p.pad_right > 0;
        post_ = kernel_clamp(p);
        const bool skips = padded_ && pad_.zeros;
        rows_ = classes(p.out_height(), p.stride_h, p.dilation_h, p.pad_top, p.in_height, p.filter_height, skips);
        columns_ = classes(p.out_width(), p.stride_w, p.dilation_w, p.pad_left, p.in_width, p.filter_width, skips);
        all_columns_ = {{0, p.out_width(), 0, p.filter_width}};
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        for (int64_t t = 0; t < taps(); t++) {
            const int64_t r = t / p.filter_width, s = t % p.filter_width;
            tap_rows_.push_back(static_cast<int32_t>(flip ? p.filter_height - 1 - r : r));
            tap_columns_.push_back(static_cast<int32_t>(flip ? p.filter_width - 1 - s : s));
        }
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        Blocking best{};
        serial_seconds = -1.0;
        size_t least = std::numeric_limits<size_t>::max();
        slots_ = 1;
        const auto consider = [&](const Blocking &b) {
            lay_out(b);
            least = std::min(least, workspace_bytes);
            const double seconds = predict(b);
            if (workspace_bytes <= workspace_limit && (serial_seconds < 0.0 || seconds < serial_seconds)) {
                serial_seconds = seconds;
                best = b;
            }
        };
        if (!padded_ || pad_.zeros) {
            consider({false, p.groups, p.out_height()});
        }
        if (padded_) {
            const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float) / 2;
            const int64_t tile = std::min(p.groups, kBlock * kernel_.parameter("n", 1));
            int64_t strip = p.out_height(), channels = p.groups;
            while (channels > 2 * tile && copy_floats(channels, strip) > l2) {
                channels = round_up((channels + 1) / 2, tile);
            }
            while (strip > 1 && (copy_floats(channels, strip) > l2 || copy_floats(channels, strip) * sizeof(float) > static_cast<double>(workspace_limit) / 2)) {
                strip = (strip + 1) / 2;
            }
            consider({true, channels, strip});
            consider({true, std::min(p.groups, kBlock), 1});
        }
        if (serial_seconds < 0.0) {
            workspace_bytes = least;
            return workspace_exhausted(least, workspace_limit);
        }
        lay_out(best);
        if (copy_bytes_ > kReach) {
            return Status(StatusCode::kUnsupported, "the rows that one output row reads are over 2^30 bytes, more than a kernel call can reach");
        }
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6) {
            while (best.strip > 1 && tasks() < 4 * threads_) {
                best.strip = (best.strip + 1) / 2;
                lay_out(best);
            }
        }
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(best);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        layout = "direct depthwise nhwc";
        Arena packed;
        packed.reserve_floats(static_cast<double>(pitch()) * static_cast<double>(taps()));
        packed_bytes = packed.bytes();
        details = (best.copied ? "padded copies of " : "read in place, ") + std::to_string(best.channels) + " of " + std::to_string(p.groups) + " channels and strips of " + std::to_string(best.strip) + " output rows a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time; " + std::to_string(rows_.size()) + " x " + std::to_string(column_classes(best).size()) + " classes of pixels";
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        std::memset(packed, 0, packed_bytes);  // lanes beyond the last channel
        return parallel_for(execution, 1, p.groups, [&](int64_t k, int, KernelContext &context) {
            const KernelBuffer<float, 5> from(w.data + k * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, 0}, {1, 0}, {1, 0}});
            const KernelBuffer<float, 5> to(floats_at(packed, 0) + k, {{1, 1}, {taps(), pitch()}, {1, 0}, {1, 0}, {1, 0}});
            return call(pack_, context, from, Ints<2>(tap_rows_.data(), {{taps(), 1}, {1, taps()}}), Ints<1>(tap_columns_.data(), {{taps(), 1}}), to);
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        float *zeros = floats_at(workspace, zeros_offset_);
        std::fill_n(zeros, problem_.groups, 0.0f);
        const Biases bias = {t.bias != nullptr ? t.bias : zeros, zeros};
        return parallel_for(execution, slots_, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            const int64_t row = index % strips() * blocking_.strip;
            index /= strips();
            const int64_t c = index % channel_blocks() * blocking_.channels;
            const Piece piece = {index / channel_blocks(), c, std::min(blocking_.channels, problem_.groups - c), row, std::min(row + blocking_.strip, problem_.out_height())};
            return task(t, floats_at(packed, 0), bias, piece, floats_at(workspace, slots_offset_ + static_cast<size_t>(slot) * slot_bytes_), context);
        });
    }

private:
    /// Output rows [begin, end) of `count` channels from c on.
    struct Piece {
        int64_t image, c, count, begin, end;
    };
    /// Which of a pixel's sums a call makes.
    struct Part {
        bool first, last;
    };
    /// The caller's, and none.
    struct Biases {
        const float *first, *none;
    };
    /// Pixel (0, 0) of the image, counted without padding, of a piece's first channel; row and pixel strides.
    struct Source {
        const float *data;
        int64_t row, column;
    };

    static constexpr double kReach = 1 << 30;  ///< bytes

    static std::vector<TapClass> classes(int64_t outputs, int64_t stride, int64_t dilation, int64_t pad, int64_t size, int64_t taps, bool skips) {
        if (!skips) {
            return {{0, outputs, 0, taps}};
        }
        std::vector<TapClass> list;
        for (int64_t i = 0; i < outputs; i++) {
            const int64_t at = i * stride - pad;
            const int64_t first = at >= 0 ? 0 : std::min(taps, ceil_div(-at, dilation));
            const int64_t last = at >= size ? 0 : std::min(taps, ceil_div(size - at, dilation));
            const TapClass one = first < last ? TapClass{i, i + 1, first, last} : TapClass{i, i + 1, 0, 0};
            if (!list.empty() && list.back().first == one.first && list.back().last == one.last) {
                list.back().end = i + 1;
            } else {
                list.push_back(one);
            }
        }
        return list;
    }

    int64_t taps() const {
        return problem_.filter_height * problem_.filter_width;
    }
    /// Floats between the taps of the packed filters.
    int64_t pitch() const {
        return round_up(problem_.groups, kBlock);
    }
    int64_t strips() const {
        return ceil_div(problem_.out_height(), blocking_.strip);
    }
    int64_t channel_blocks() const {
        return ceil_div(problem_.groups, blocking_.channels);
    }
    int64_t tasks() const {
        return problem_.batch * strips() * channel_blocks();
    }
    int64_t rows_read(int64_t strip) const {
        return (strip - 1) * problem_.stride_h + (problem_.filter_height - 1) * problem_.dilation_h + 1;
    }
    double copy_floats(int64_t channels, int64_t strip) const {
        return static_cast<double>(rows_read(strip)) * static_cast<double>(columns_read_) * static_cast<double>(channels);
    }
    const std::vector<TapClass> &column_classes(const Blocking &b) const {
        return b.copied ? all_columns_ : columns_;
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        zeros_offset_ = arena.reserve_floats(static_cast<double>(problem_.groups));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        copy_bytes_ = b.copied ? 4.0 * copy_floats(b.channels, b.strip) : 0.0;
        slot.reserve(copy_bytes_);
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    double predict(const Blocking &b) const {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        // Channels in full register tiles, and the rest.
        const int64_t wide = kBlock * kernel_.parameter("n", 1);
        const auto tile_cycles = [&](const Variant &v, double taps_met) {
            const double vectors = static_cast<double>(v.parameter("n", 1) * kBlock) / model.lanes, m = v.parameter("m", 1);
            const double step = (m + 1) * vectors / 2 * (model.lanes >= 8 ? 1.0 : 2.0) * (v.parameter("mask", 0) != 0 ? 1.15 : 1.0);
            return taps_met * (std::max(step, 4.0) + 1.0) + m * vectors + 12;
        };
        double cycles = 0.0, calls = 0.0;
        for (const TapClass &r : rows_) {
            for (const TapClass &s : column_classes(b)) {
                const int64_t height = r.end - r.begin, width = s.end - s.begin;
                const bool turned = turns(height, width);
                const double met = static_cast<double>((r.last - r.first) * (s.last - s.first));
                const auto tiles = [&](const Variant &v) {
                    const int64_t m = v.parameter("m", 1);
                    return static_cast<double>(turned ? width * ceil_div(height, m) : height * ceil_div(width, m));
                };
                for (int64_t c = 0; c < p.groups; c += b.channels) {
                    const int64_t count = std::min(b.channels, p.groups - c);
                    const int64_t full = full_channels(count);
                    cycles += tiles(kernel_) * tile_cycles(kernel_, met) * static_cast<double>(ceil_div(full, wide));
                    cycles += tiles(rest_) * tile_cycles(rest_, met) * static_cast<double>(ceil_div(count - full, kBlock * rest_.parameter("n", 1)));
                    calls += (full > 0 ? 1.0 : 0.0) + (full < count ? 1.0 : 0.0);
                }
            }
        }
        const double images = static_cast<double>(p.batch), visits = static_cast<double>(ceil_div(p.out_height(), b.strip));
        const double pixels = static_cast<double>(p.input_elements() + p.output_elements() * (p.residual ? 2 : 1));
        const double copied = b.copied ? 3 * 4.0 * images * visits * copy_floats(p.groups, b.strip) : 0.0;
        const double pieces = b.copied && b.channels < p.groups ? images * visits * static_cast<double>(ceil_div(p.groups, b.channels) * rows_read(b.strip) * columns_read_) * 4e-9 : 0.0;
        return images * (cycles / model.hertz + calls * model.call_seconds) + 4.0 * pixels / 160e9 + copied / 100e9 + pieces + 1e-6;
    }

    /// Of `count` channels, those that fill register tiles of the kernel.
    int64_t full_channels(int64_t count) const {
        const int64_t wide = kBlock * kernel_.parameter("n", 1);
        return kernel_.parameter("mask", 0) != 0 ? count : count / wide * wide;
    }

    /// Whether a register tile takes pixels of a column: where rows are too short to fill it.
    bool turns(int64_t height, int64_t width) const {
        const int64_t m = kernel_.parameter("m", 1);
        return width * ceil_div(height, m) < height * ceil_div(width, m);
    }

    bool task(const ForwardTensors &t, const float *packed, const Biases &bias, const Piece &piece, float *scratch, KernelContext &context) const {
        const int64_t *s = t.input.s;
        Source x = {t.input.data + piece.image * s[0] + piece.c, s[2], s[3]};
        if (blocking_.copied) {
            x = copy(x, piece, scratch);
        }
        for (const TapClass &rows : rows_) {
            TapClass r = rows;
            r.begin = std::max(r.begin, piece.begin);
            r.end = std::min(r.end, piece.end);
            for (const TapClass &columns : column_classes(blocking_)) {
                if (r.begin < r.end && !pixels(t, packed, bias, piece, x, r, columns, context)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// The rows that a piece reads, with their padding. Rows beyond the image are left out where the taps leave them out.
    Source copy(const Source &image, const Piece &piece, float *scratch) const {
        const Conv2dProblem &p = problem_;
        const int64_t top = piece.begin * p.stride_h - p.pad_top, row = columns_read_ * piece.count;
        for (int64_t i = 0; i < rows_read(piece.end - piece.begin); i++) {
            const bool inside = top + i >= 0 && top + i < p.in_height;
            if (!inside && pad_.zeros) {
                continue;
            }
            const int64_t y = padding_source(p.padding_mode, top + i, p.in_height);
            float *target = scratch + i * row;
            for (int64_t j = 0; j < columns_read_;) {
                const int64_t column = padding_source(p.padding_mode, j - p.pad_left, p.in_width);
                if (y < 0 || column < 0) {
                    std::fill_n(target + j * piece.count, piece.count, pad_.value);
                    j++;
                    continue;
                }
                // Neighbours in memory at once.
                const bool dense = image.column == piece.count && column == j - p.pad_left;
                const int64_t run = dense ? std::min(p.in_width - column, columns_read_ - j) : 1;
                std::memcpy(target + j * piece.count, image.data + y * image.row + column * image.column, static_cast<size_t>(run * piece.count) * sizeof(float));
                j += run;
            }
        }
        return {scratch - top * row + p.pad_left * piece.count, row, piece.count};
    }

    /// The pixels of a class of rows and a class of columns: a block of filter rows after the other, each added to the output.
    bool pixels(const ForwardTensors &t, const float *packed, const Biases &bias, const Piece &piece, const Source &x, const TapClass &r, const TapClass &s, KernelContext &context) const {
        const int64_t full = full_channels(piece.count);
        for (TapClass rows = r; rows.first == r.first || rows.first < r.last; rows.first += row_block_) {
            rows.last = std::min(rows.first + row_block_, r.last);
            const Part part = {rows.first == r.first, rows.last == r.last};
            if (full > 0 && !channels(kernel_, t, packed, bias, piece, part, x, rows, s, 0, full, context)) {
                return false;
            }
            if (full < piece.count && !channels(rest_, t, packed, bias, piece, part, x, rows, s, full, piece.count - full, context)) {
                return false;
            }
        }
        return true;
    }

    /// `count` of the piece's channels from c on. What one call cannot reach is halved.
    bool channels(const Variant &kernel, const ForwardTensors &t, const float *packed, const Biases &bias, const Piece &piece, const Part &part, const Source &x, const TapClass &r, const TapClass &s, int64_t c, int64_t count, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t k = piece.c + c;
        // No tap: no address to compute.
        const int64_t taps_y = r.last - r.first, taps_x = s.last - s.first;
        const float *first = taps_y == 0 || taps_x == 0 ? t.input.data : x.data + c + (r.begin * p.stride_h + r.first * p.dilation_h - p.pad_top) * x.row + (s.begin * p.stride_w + s.first * p.dilation_w - p.pad_left) * x.column;
        const Dim channel = {count, 1};
        Dim q = {s.end - s.begin, p.stride_w * x.column}, y = {r.end - r.begin, p.stride_h * x.row};
        Dim tap_q = {taps_x, p.dilation_w * x.column}, tap_y = {taps_y, p.dilation_h * x.row};
        Dim filter_q = {taps_x, pitch()}, filter_y = {taps_y, p.filter_width * pitch()};
        const auto region = [&](const auto &tensor) {
            return tensor.data + piece.image * tensor.s[0] + k + r.begin * tensor.s[2] + s.begin * tensor.s[3];
        };
        float *out = region(t.output);
        Dim out_q = {q.extent, t.output.s[3]}, out_y = {y.extent, t.output.s[2]};
        const bool given = part.first && t.residual.data != nullptr, add = given || !part.first;
        const float *plus = given ? region(t.residual) : out;
        Dim plus_q = {q.extent, given ? t.residual.s[3] : out_q.stride}, plus_y = {y.extent, given ? t.residual.s[2] : out_y.stride};
        if (turns(y.extent, q.extent)) {
            std::swap(q, y);
            std::swap(out_q, out_y);
            std::swap(plus_q, plus_y);
        }
        const Floats<3> filters(packed + k + r.first * filter_y.stride + s.first * filter_q.stride, {channel, filter_q, filter_y});
        const KernelBuffer<float, 5> input(first, {channel, tap_q, q, tap_y, y});
        const Floats<1> biases((part.first ? bias.first : bias.none) + k, {channel});
        const Floats<3> residual(plus, {channel, plus_q, plus_y}), output(out, {channel, out_q, out_y});
        if (input.fits() && residual.fits() && output.fits()) {
            return call(kernel, context, filters, input, biases, residual, static_cast<int32_t>(add), part.last ? post_.lo : -kInfinity, part.last ? post_.hi : kInfinity, output);
        }
        TapClass one = r.end - r.begin > 1 ? r : s, other = one;
        one.end = other.begin = (one.begin + one.end) / 2;
        if (r.end - r.begin > 1) {
            return channels(kernel, t, packed, bias, piece, part, x, one, s, c, count, context) && channels(kernel, t, packed, bias, piece, part, x, other, s, c, count, context);
        }
        if (s.end - s.begin > 1) {
            return channels(kernel, t, packed, bias, piece, part, x, r, one, c, count, context) && channels(kernel, t, packed, bias, piece, part, x, r, other, c, count, context);
        }
        return out_of_reach(context);
    }

    const Conv2dProblem problem_;
    const Variant &kernel_, &rest_;
    const PadStage pad_;
    const Variant &pack_;
    const int threads_;
    KernelPostOp post_;
    int64_t columns_read_;
    int64_t row_block_;  ///< filter rows of a kernel call
    bool padded_;
    std::vector<TapClass> rows_, columns_, all_columns_;
    std::vector<int32_t> tap_rows_, tap_columns_;
    Blocking blocking_{};
    int slots_ = 1;
    size_t zeros_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0;
    double copy_bytes_ = 0.0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_direct_depthwise_nhwc(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    if (p.out_channels != p.groups || p.filter_width > 2 * kTapBlock || static_cast<double>(p.filter_height * p.filter_width) * static_cast<double>(p.groups) > double(1 << 28)) {
        return Status(StatusCode::kUnsupported, "in NHWC, depthwise kernels take one output channel a group and filters up to " + std::to_string(2 * kTapBlock) + " columns wide");
    }
    const Variant *rest = nullptr;
    for (const Variant *v : variants_of("conv_depthwise_nhwc")) {
        if (v->parameter("mask", 0) != 0) {
            rest = v;
        }
    }
    if (rest == nullptr) {
        return Status(StatusCode::kUnsupported, "this build has no variant of conv_depthwise_nhwc for any number of channels");
    }
    return best_variant<DepthwiseNhwcPlan>(request, "conv_depthwise_nhwc", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DepthwiseNhwcPlan>(request, kernel, *rest));
    });
}

}  // namespace fourfold
