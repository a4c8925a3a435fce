// bwd-filters of 1x1 filters, direct, lanes along input channels: a matrix product whose sums run over the output's pixels,
//
//     gw[k, c] = sum_j gy[k, j] * x[c, j]
//
// x is transposed to panels of K channels, pixel by pixel (im2row), which are few bytes beside the product; gy is read by scalars where
// it lies, whatever its strides. That is forward's conv_direct_oc with output channels for pixels, and pixels for channels: no register
// tile ends in sums over lanes, as conv_backward_filters' do, and a panel of some hundred pixels meets all output channels from L1 or L2.
#include <algorithm>
#include <cmath>
#include <optional>

#include "backward_filters.h"
#include "cost_model.h"
#include "kernel.h"
#include "strip_input.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

/// Terms summed before the partial sum joins the total: see conv_direct's channel_block.
constexpr int32_t kTermBlock = 256;
/// Pixels that im2row writes at once; its last ones may reach past a row.
constexpr int64_t kPixels = 8;
/// Of a panel, which stays in L2 beside gy.
constexpr int64_t kPanelBytes = 64 << 10;

struct Blocking {
    int64_t images;    ///< images in one product; over 1 only where strip is a whole image
    int64_t strip;     ///< output rows in one product
    int64_t in_parts;  ///< tasks that share a group's panels of input channels
    int64_t out_parts;  ///< tasks that share its output channels, each of which transposes x
    int slots;
};

class PointwiseBackwardFilters final : public BackwardFiltersPlan {
public:
    PointwiseBackwardFilters(const PlanRequest &request, const Variant &kernel)
        : BackwardFiltersPlan(request), geometry_(problem_), kernel_(kernel), im2row_(*find_variant("im2row")), r_(kernel.parameter("r", 1)), width_(16 * kernel.parameter("v", 1)) {
        variant = kernel.name;
        layout = "direct";
        channels_ = problem_.in_channels / problem_.groups;
        outputs_ = problem_.out_channels / problem_.groups;
        panels_ = ceil_div(channels_, width_);
    }

    Status block(size_t workspace_limit) {
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        Blocking b = preferred();
        lay_out(b);
        while (workspace_bytes > workspace_limit) {
            if (b.images > 1) {
                b.images = (b.images + 1) / 2;
            } else if (b.strip > 1) {
                b.strip = (b.strip + 1) / 2;
            } else if (b.in_parts < panels_) {
                b.in_parts = std::min(2 * b.in_parts, panels_);  // fewer totals
            } else if (b.out_parts < ceil_div(outputs_, r_)) {
                b.out_parts = std::min(2 * b.out_parts, ceil_div(outputs_, r_));
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        if (static_cast<double>(most_pixels() + kPixels) * static_cast<double>(width_) > double(1 << 29) || input_.value().scratch_floats(width_, readable(b.strip)) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes, more than a kernel call can reach");
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        const Blocking serial = b;
        if (threads_ > 1 && problem_.flops() >= 2e6) {
            const int64_t wanted = ceil_div(2 * threads_, problem_.groups);
            b.in_parts = std::max(b.in_parts, std::min(panels_, wanted));
            b.out_parts = std::max(b.out_parts, std::min(ceil_div(outputs_, r_), ceil_div(wanted, b.in_parts)));
            lay_out(b);
            if (workspace_bytes > workspace_limit) {
                b = serial;
                lay_out(b);
            }
        }
        b.slots = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        details = "panels of " + std::to_string(width_) + " input channels, products of " + std::to_string(b.images) + " images and " + std::to_string(b.strip) + " output rows, " + std::to_string(tasks()) + " tasks, " + std::to_string(b.slots) + " at a time";
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        return sum_by_tasks(t, 1, workspace, blocking_.slots, tasks(), execution, [&](float *sums, std::byte *scratch, int64_t index, KernelContext &context) {
            return task(t, sums, scratch, index, context);
        });
    }

private:
    int64_t strips() const {
        return ceil_div(geometry_.out_height, blocking_.strip);
    }
    /// Products over all pixels.
    int64_t pieces() const {
        return ceil_div(problem_.batch, blocking_.images) * strips();
    }
    int64_t tasks() const {
        return problem_.groups * blocking_.in_parts * blocking_.out_parts;
    }
    int64_t most_pixels() const {
        return blocking_.images * blocking_.strip * geometry_.out_width;
    }
    /// Of a channel of x, for so many output rows: with 1x1 filters nothing lies between rows, and im2row takes them as one.
    int64_t readable(int64_t rows) const {
        return round_up(rows * geometry_.out_width, kPixels);
    }

    Blocking preferred() const {
        const int64_t width = geometry_.out_width, height = geometry_.out_height;
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        // A piece's gy, which every panel meets, stays in L2 too.
        const int64_t pixels = std::max<int64_t>(1, std::min(kPanelBytes / static_cast<int64_t>(sizeof(float)) / width_, static_cast<int64_t>(l2 / 2 / static_cast<double>(outputs_))));
        Blocking b{1, std::clamp<int64_t>(pixels / width, 1, height), 1, 1, 1};
        b.strip = ceil_div(height, ceil_div(height, b.strip));
        if (b.strip == height) {
            b.images = std::clamp<int64_t>(pixels / (height * width), 1, problem_.batch);
        }
        return b;
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        input_.emplace(geometry_, b.strip);
        Arena arena;
        sums_offset_ = arena.reserve_floats(static_cast<double>(problem_.filter_elements()));
        Arena slot;
        const double pixels = static_cast<double>(most_pixels());
        strip_offset_ = slot.reserve_floats(input_->scratch_floats(width_, readable(b.strip)));
        panel_offset_ = slot.reserve_floats((pixels + kPixels) * static_cast<double>(width_));
        zeros_offset_ = slot.reserve_floats(static_cast<double>(width_));
        const int64_t outputs = ceil_div(outputs_, b.out_parts) + 1;
        positions_offset_ = slot.reserve_floats(static_cast<double>(outputs + r_));
        terms_offset_ = slot.reserve_floats(2.0 * pixels);
        gy_offset_ = slot.reserve_floats(static_cast<double>(r_) * pixels);
        totals_offset_ = slot.reserve(RunningSums::total_bytes(pieces(), static_cast<double>(outputs) * static_cast<double>(std::min(channels_, (ceil_div(panels_, b.in_parts) + 1) * width_))));
        lay_out_slots(arena, slot, b.slots);
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups);
        const double pixels = images * static_cast<double>(geometry_.out_height * geometry_.out_width);
        const double panels = groups * static_cast<double>(panels_), tiles = panels * static_cast<double>(ceil_div(outputs_, r_));
        const int vectors = static_cast<int>(width_) / model.lanes;
        // A term's filters and its part of gy's lines come from L2, not quite hidden: as of direct's forward.
        const double product = pixels * tiles * (model.tile_cycles(static_cast<int>(r_), vectors) + 0.3 * static_cast<double>(width_ / 16 + 1));
        const double transpose = pixels * panels * static_cast<double>(width_) * 0.5;
        const double ends = static_cast<double>(pieces()) * tiles * (30.0 + 4.0 * static_cast<double>(r_ * vectors));
        double moved = 0.0;
        if (!geometry_.in_place_shape) {
            moved += 3 * 4.0 * images * static_cast<double>(p.in_channels) * static_cast<double>(geometry_.pitch * geometry_.out_height);
        }
        const double calls = static_cast<double>(pieces()) * panels * (1.0 + 2.0 * static_cast<double>(blocking_.images));
        serial_seconds = (product + transpose + ends) / model.hertz + moved / model.copy_bytes_per_second + calls * model.call_seconds + 1e-6;
    }

    /// gy as the kernel reads it: the distance of a piece's pixels from its first, and of output channels.
    struct Gradient {
        int64_t image, channel, row, column;
    };

    bool task(const FilterGradientTensors &t, float *sums, std::byte *scratch, int64_t index, KernelContext &context) const {
        const Blocking &b = blocking_;
        const int64_t out_part = index % b.out_parts, in_part = index / b.out_parts % b.in_parts, g = index / b.out_parts / b.in_parts;
        const int64_t k = outputs_ * out_part / b.out_parts, outputs = outputs_ * (out_part + 1) / b.out_parts - k;
        const int64_t first_panel = panels_ * in_part / b.in_parts, end_panel = panels_ * (in_part + 1) / b.in_parts;
        const int64_t first_channel = first_panel * width_, channels = std::min(channels_, end_panel * width_) - first_channel;
        float *const out = sums + (g * outputs_ + k) * channels_ + first_channel;
        float *const panel = floats_at(scratch, panel_offset_), *const zeros = floats_at(scratch, zeros_offset_);
        std::fill_n(zeros, width_, 0.0f);
        // Where a call cannot reach all output channels, a register tile of them is copied at a time.
        const int64_t *s = t.grad_output.s;
        const double last = static_cast<double>(b.images - 1) * static_cast<double>(s[0]) + static_cast<double>(b.strip) * static_cast<double>(s[2]) + static_cast<double>(geometry_.out_width) * static_cast<double>(s[3]);
        const bool in_place = last + static_cast<double>(outputs) * static_cast<double>(s[1]) < double(1 << 29);
        const int64_t width = geometry_.out_width, at_once = in_place ? outputs : std::min(r_, outputs);
        const Gradient form = in_place ? Gradient{s[0], s[1], s[2], s[3]} : Gradient{b.strip * width, most_pixels(), width, 1};
        auto *const positions = reinterpret_cast<int32_t *>(scratch + positions_offset_), *const terms = reinterpret_cast<int32_t *>(scratch + terms_offset_);
        int64_t placed = 0;  // the output channels that positions are of
        const auto place = [&](int64_t count) {
            for (int64_t i = 0; i < round_up(at_once, r_) && count != placed; i++) {
                positions[i] = static_cast<int32_t>(std::min(i, count - 1) * form.channel);
            }
            placed = count;
        };
        for (int64_t j = 0; j < most_pixels(); j++) {
            const int64_t row = j / width;
            terms[2 * j] = static_cast<int32_t>(row / b.strip * form.image + row % b.strip * form.row + j % width * form.column);
            terms[2 * j + 1] = static_cast<int32_t>(j);
        }
        RunningSums running(out, outputs, channels, channels_, reinterpret_cast<double *>(scratch + totals_offset_));
        for (int64_t piece = 0; piece < pieces(); piece++) {
            const int64_t image = piece / strips() * b.images, first_row = piece % strips() * b.strip;
            const int64_t images = std::min(b.images, problem_.batch - image), rows = std::min(b.strip, geometry_.out_height - first_row);
            const int64_t pixels = images * rows * width;
            const float *gy = t.grad_output.data + image * s[0] + (g * outputs_ + k) * s[1] + first_row * s[2];
            const bool accumulate = running.next();
            for (int64_t c = 0; c < channels; c += width_) {
                const int64_t count = std::min(width_, channels - c);
                if (!transpose(t.input, image, images, g * channels_ + first_channel + c, count, first_row, rows, scratch, context)) {
                    return false;
                }
                const Floats<2> right(panel, {{width_, 1}, {pixels, width_}});
                const Ints<2> list(terms, {{2, 1}, {pixels, 2}});
                const int32_t distance_max = terms[2 * (pixels - 1)];
                for (int64_t i = 0; i < outputs; i += at_once) {
                    const int64_t of_call = std::min(at_once, outputs - i);
                    const float *from = gy + i * s[1];
                    if (!in_place) {
                        from = copy(from, s, images, rows, of_call, floats_at(scratch, gy_offset_));
                    }
                    place(of_call);
                    const int64_t position_max = (of_call - 1) * form.channel;
                    const Ints<1> at(positions, {{round_up(of_call, r_), 1}});
                    float *const target = out + i * channels_ + c;
                    const Floats<1> left(from, {{position_max + distance_max + 1, 1}});
                    const Floats<2> initial(accumulate ? target : zeros, {{width_, 1}, {of_call, accumulate ? channels_ : 0}});
                    const Floats<2> result(target, {{count, 1}, {of_call, channels_}});
                    if (!call(kernel_, context, right, left, at, static_cast<int32_t>(position_max), list, distance_max, initial, kTermBlock, int32_t{0}, 0.0f, 0.0f, result)) {
                        return false;
                    }
                }
            }
        }
        running.finish();
        return true;
    }

    /// `count` input channels from `first` on of a piece as a panel, a row of K to every pixel.
    bool transpose(const StridedIn &input, int64_t image, int64_t images, int64_t first, int64_t count, int64_t first_row, int64_t rows, std::byte *scratch, KernelContext &context) const {
        const int32_t offset = 0;
        const Ints<1> offsets(&offset, {{1, 1}});
        const int64_t pixels = rows * geometry_.out_width, read = readable(rows);
        for (int64_t n = 0; n < images; n++) {
            FlatStrip x;
            if (!input_->prepare(input, image + n, first, count, first_row, rows, read, floats_at(scratch, strip_offset_), x, context)) {
                return false;
            }
            const Floats<2> from(x.data, {{read, 1}, {count, x.channel_stride}});
            // Lanes beyond the last channel repeat it; nobody stores them.
            const Floats<3> to(floats_at(scratch, panel_offset_) + n * pixels * width_, {{width_, 1}, {read, width_}, {1, pixels * width_}});
            if (!call(im2row_, context, from, offsets, int32_t{0}, static_cast<int32_t>(geometry_.pitch), to)) {
                return false;
            }
        }
        return true;
    }

    /// gy of a few output channels and a piece in the form that a call can reach.
    const float *copy(const float *gy, const int64_t *s, int64_t images, int64_t rows, int64_t count, float *to) const {
        const int64_t width = geometry_.out_width;
        for (int64_t i = 0; i < count; i++) {
            for (int64_t row = 0; row < images * rows; row++) {
                const float *from = gy + row / rows * s[0] + i * s[1] + row % rows * s[2];
                for (int64_t x = 0; x < width; x++) {
                    to[i * most_pixels() + row * width + x] = from[x * s[3]];
                }
            }
        }
        return to;
    }

    const StripGeometry geometry_;
    const Variant &kernel_, &im2row_;
    const int64_t r_, width_;      ///< output channels, and input channels, of a register tile
    int64_t channels_, outputs_, panels_;  ///< of a group
    std::optional<StripInput> input_;
    Blocking blocking_{};
    size_t strip_offset_ = 0, panel_offset_ = 0, zeros_offset_ = 0, positions_offset_ = 0, terms_offset_ = 0, gy_offset_ = 0, totals_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_pointwise(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    if (p.filter_height != 1 || p.filter_width != 1) {
        return Status(StatusCode::kUnsupported, "conv_direct_oc sums the gradient of 1x1 filters only");
    }
    return best_variant<PointwiseBackwardFilters>(request, "conv_direct_oc", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<PointwiseBackwardFilters>(request, kernel));
    });
}

}  // namespace fourfold
