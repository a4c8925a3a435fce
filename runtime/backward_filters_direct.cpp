// bwd-filters, direct: both images in the flat form of conv_direct, a strip of rows at a time, and one generated kernel that
// multiplies every output channel's strip with every tap's (conv_backward_filters). Stride, dilation and padding are dealt
// with by the strips, so any problem is the same sum of products of two runs of floats.
//
// The strips of all images are dealt out to a fixed number of parts, each with a sum of its own, RunningSums.
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

constexpr int64_t kLanes = 16;         ///< pixels are a multiple of this
constexpr int64_t kTasks = 8;         ///< wanted
constexpr int64_t kPixelBlock = 1024;  ///< of a kernel call: a register tile's strips stay in L1, and sums stay short

struct Blocking {
    int64_t strip;     ///< output rows prepared at once
    int64_t groups;    ///< groups of a task
    int64_t channels;  ///< input channels of a task; all of a group's where it has several groups
    int64_t parts;     ///< of the sum over strips
    int slots;
};

class DirectBackwardFilters final : public BackwardFiltersPlan {
public:
    DirectBackwardFilters(const PlanRequest &request, const Variant &kernel)
        : BackwardFiltersPlan(request), geometry_(problem_), kernel_(kernel), r_(kernel.parameter("r", 1)), v_(kernel.parameter("v", 1)), copy_(PadStage::find_zeros(problem_)) {
        variant = kernel.name;
        layout = "direct";
        channels_ = problem_.in_channels / problem_.groups;
        outputs_ = problem_.out_channels / problem_.groups;
        taps_ = geometry_.taps();
    }

    Status block(size_t workspace_limit) {
        Blocking b = preferred();
        lay_out(b);
        while (workspace_bytes > workspace_limit) {
            if (b.parts > 1) {
                b.parts = (b.parts + 1) / 2;
            } else if (b.groups > 1) {
                b.groups = (b.groups + 1) / 2;
            } else if (b.channels > 1) {
                b.channels = (b.channels + 1) / 2;
            } else if (b.strip > 1) {
                b.strip = (b.strip + 1) / 2;
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        if (input_.value().scratch_floats(b.channels * b.groups, readable()) > double(1 << 29) || static_cast<double>(grad_pitch_) * static_cast<double>(outputs_ * b.groups) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes, more than a kernel call can reach");
        }
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        b.slots = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        details = "strips of " + std::to_string(b.strip) + " output rows in " + std::to_string(b.parts) + " parts, " + std::to_string(b.channels) + " of " + std::to_string(channels_) + " channels of " + std::to_string(b.groups) + " groups a task, " + std::to_string(tasks()) + " tasks, " + std::to_string(b.slots) + " at a time; " + std::to_string(geometry_.phases()) + " phases";
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        return sum_by_tasks(t, blocking_.parts, workspace, blocking_.slots, tasks(), execution, [&](float *sums, std::byte *scratch, int64_t index, KernelContext &context) {
            return task(t, sums, scratch, index, context);
        });
    }

private:
    int64_t strips() const {
        return ceil_div(geometry_.out_height, blocking_.strip);
    }
    int64_t pieces() const {
        return problem_.batch * strips();
    }
    int64_t channel_blocks() const {
        return ceil_div(channels_, blocking_.channels);
    }
    int64_t tasks() const {
        return blocking_.parts * ceil_div(problem_.groups, blocking_.groups) * channel_blocks();
    }
    int64_t readable() const {
        return round_up(geometry_.flat_pixels(blocking_.strip), kLanes) + offset_max_;
    }

    Blocking preferred() const {
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        Blocking b{};
        b.slots = 1;
        const int64_t most = std::clamp<int64_t>(kPixelBlock / geometry_.pitch, 1, geometry_.out_height);
        b.strip = ceil_div(geometry_.out_height, ceil_div(geometry_.out_height, most));
        const double x = static_cast<double>(geometry_.phases()) * static_cast<double>(geometry_.plane_elements(b.strip));
        const double gy = static_cast<double>(outputs_) * static_cast<double>(b.strip * geometry_.pitch);
        b.channels = std::clamp<int64_t>(static_cast<int64_t>(l2 / 3 / x), 1, channels_);
        b.groups = 1;
        if (b.channels == channels_) {
            b.groups = std::clamp<int64_t>(static_cast<int64_t>(l2 / 3 / (x * static_cast<double>(channels_) + gy)), 1, ceil_div(problem_.groups, kTasks));
        }
        // Enough tasks for some threads: first by parts of the sum, as long as adding them up costs little, then by channels,
        // each block of which prepares gy again.
        const int64_t runs = ceil_div(problem_.groups, b.groups);
        const int64_t pieces = problem_.batch * ceil_div(geometry_.out_height, b.strip);
        const int64_t affordable = std::max<int64_t>(1, (int64_t{1} << 18) / problem_.filter_elements());
        b.parts = std::min({pieces, affordable, ceil_div(kTasks, runs * ceil_div(channels_, b.channels))});
        const int64_t enough = ceil_div(2 * kTasks, taps_);
        b.channels = std::min(b.channels, std::max(enough, ceil_div(channels_, ceil_div(kTasks, runs * b.parts))));
        b.channels = ceil_div(channels_, ceil_div(channels_, b.channels));
        if (b.channels < channels_) {
            b.groups = 1;
        }
        return b;
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        offsets_ = filter_offsets(geometry_, b.strip);
        offset_max_ = *std::max_element(offsets_.begin(), offsets_.end());
        input_.emplace(geometry_, b.strip);
        grad_pitch_ = round_up(b.strip * geometry_.pitch, kLanes);
        if (grad_pitch_ % 1024 == 0) {
            grad_pitch_ += kLanes;  // channels 4 KiB apart would share few lines of L1
        }
        Arena arena;
        sums_offset_ = arena.reserve_floats(static_cast<double>(b.parts) * static_cast<double>(problem_.filter_elements()));
        Arena slot;
        strip_offset_ = slot.reserve_floats(input_->scratch_floats(b.channels * b.groups, readable()));
        grad_offset_ = slot.reserve_floats(static_cast<double>(grad_pitch_) * static_cast<double>(outputs_ * b.groups));
        totals_offset_ = slot.reserve(RunningSums::total_bytes(ceil_div(pieces(), b.parts) * ceil_div(grad_pitch_, kPixelBlock), static_cast<double>(b.groups * outputs_) * static_cast<double>(b.channels * taps_)));
        lay_out_slots(arena, slot, b.slots);
    }

    void predict() {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const Blocking &b = blocking_;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups);
        const double blocks = static_cast<double>(channel_blocks());
        const double pixels = static_cast<double>(geometry_.flat_pixels(b.strip));
        const double calls = images * static_cast<double>(strips()) * std::ceil(pixels / kPixelBlock);
        const double vectors = static_cast<double>(round_up(static_cast<int64_t>(std::min<double>(pixels, kPixelBlock)), kLanes)) / model.lanes;
        const double tiles = groups * static_cast<double>(ceil_div(outputs_, r_)) * blocks * static_cast<double>(ceil_div(b.channels * taps_, v_));
        // Two loads a cycle, of which those of x cross lines; and the lanes' sums, about 4 cycles an accumulator.
        const double step = std::max({static_cast<double>(r_ * v_) / (model.lanes >= 8 ? 2.0 : 1.0), (static_cast<double>(r_) + 2.0 * static_cast<double>(v_)) / 2.0, 4.0});
        const double end = 4.0 * static_cast<double>(r_ * v_) + 30.0;
        const double halo = static_cast<double>(geometry_.plane_rows(b.strip)) / static_cast<double>(b.strip);
        const bool gradient_in_place = geometry_.pitch == geometry_.out_width && b.strip * geometry_.pitch % kLanes == 0 && p.layout == Layout::kNchw;
        double moved = gradient_in_place ? 0.0 : 4.0 * images * static_cast<double>(p.out_channels) * static_cast<double>(geometry_.pitch * geometry_.out_height) * blocks;
        if (!geometry_.in_place_shape) {
            moved += 3 * 4.0 * images * static_cast<double>(p.in_channels * geometry_.phases()) * static_cast<double>(geometry_.pitch * geometry_.out_height) * halo;
        }
        moved += 2 * 4.0 * static_cast<double>(p.filter_elements()) * static_cast<double>(b.parts - 1);
        serial_seconds = calls * tiles * (vectors * step + end) / model.hertz + moved / model.copy_bytes_per_second + static_cast<double>(tasks()) * calls / static_cast<double>(b.parts) * 3.0 * model.call_seconds + 1e-6;
    }

    bool task(const FilterGradientTensors &t, float *sums, std::byte *scratch, int64_t index, KernelContext &context) const {
        const int64_t first_channel = index % channel_blocks() * blocking_.channels;
        index /= channel_blocks();
        const int64_t runs = ceil_div(problem_.groups, blocking_.groups);
        const int64_t g = index % runs * blocking_.groups;
        const int64_t part = index / runs;
        const int64_t groups = std::min(blocking_.groups, problem_.groups - g);
        const int64_t channels = std::min(blocking_.channels, channels_ - first_channel);
        float *out = sums + part * problem_.filter_elements() + (g * outputs_ * channels_ + first_channel) * taps_;
        const int64_t begin = pieces() * part / blocking_.parts, end = pieces() * (part + 1) / blocking_.parts;
        RunningSums running(out, groups * outputs_, channels * taps_, channels_ * taps_, reinterpret_cast<double *>(scratch + totals_offset_));
        // What a strip leaves unwritten is multiplied by the zeros between gy's rows: it must not be a NaN.
        std::fill_n(floats_at(scratch, strip_offset_), static_cast<int64_t>(input_->scratch_floats(blocking_.channels * blocking_.groups, readable())), 0.0f);
        for (int64_t piece = begin; piece < end; piece++) {
            const int64_t image = piece / strips(), first_row = piece % strips() * blocking_.strip;
            const int64_t rows = std::min(blocking_.strip, geometry_.out_height - first_row);
            FlatStrip x, gy;
            if (!input_->prepare(t.input, image, g * channels_ + first_channel, groups == 1 ? channels : groups * channels_, first_row, rows, readable(), floats_at(scratch, strip_offset_), x, context) ||
                !prepare_gradient(t.grad_output, image, g * outputs_, groups * outputs_, first_row, rows, floats_at(scratch, grad_offset_), gy, context)) {
                return false;
            }
            const int64_t pixels = round_up(geometry_.flat_pixels(rows), kLanes);
            const Ints<1> offsets(offsets_.data(), {{taps_, 1}});
            const Floats<3> total(out, {{channels * taps_, 1}, {outputs_, channels_ * taps_}, {groups, outputs_ * channels_ * taps_}});
            for (int64_t j = 0; j < pixels; j += kPixelBlock) {
                const int64_t count = std::min(kPixelBlock, pixels - j);
                const Floats<3> grad(gy.data + j, {{count, 1}, {outputs_, gy.channel_stride}, {groups, gy.channel_stride * outputs_}});
                const Floats<3> input(x.data + j, {{readable() - j, 1}, {channels, x.channel_stride}, {groups, x.channel_stride * channels_}});
                if (!call(kernel_, context, grad, input, offsets, static_cast<int32_t>(offset_max_), total, static_cast<int32_t>(running.next()), total)) {
                    return false;
                }
            }
        }
        running.finish();
        return true;
    }

    /// Rows of gy in the pitch of the padded input with zeros between them, or where they lie when nothing lies between.
    bool prepare_gradient(const StridedIn &gy, int64_t image, int64_t first, int64_t count, int64_t first_row, int64_t rows, float *scratch, FlatStrip &strip, KernelContext &context) const {
        const float *plane = gy.data + image * gy.s[0] + first * gy.s[1] + first_row * gy.s[2];
        const int64_t width = geometry_.out_width, pixels = rows * width;
        if (geometry_.pitch == width && gy.s[3] == 1 && (gy.s[2] == width || rows == 1) && pixels % kLanes == 0 && count * gy.s[1] < (int64_t{1} << 28)) {
            strip = {plane, gy.s[1]};
            return true;
        }
        const PlanesIn in = {plane, width, rows, count, gy.s[2], gy.s[1], gy.s[3]};
        const PlanesOut out = {scratch, geometry_.pitch, rows, count, geometry_.pitch, grad_pitch_};
        const int64_t used = rows * geometry_.pitch, end = std::max(used, round_up(geometry_.flat_pixels(rows), kLanes));
        for (int64_t k = 0; k < count; k++) {
            std::fill(scratch + k * grad_pitch_ + used, scratch + k * grad_pitch_ + end, 0.0f);
        }
        strip = {scratch, grad_pitch_};
        return copy_.run(in, out, 1, 1, 0, 0, context);
    }

    const StripGeometry geometry_;
    const Variant &kernel_;
    const int64_t r_, v_;
    const PadStage copy_;
    int64_t channels_, outputs_, taps_;  ///< of a group
    std::optional<StripInput> input_;
    Blocking blocking_{};
    std::vector<int32_t> offsets_;
    int64_t offset_max_ = 0, grad_pitch_ = 0;
    size_t strip_offset_ = 0, grad_offset_ = 0, totals_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_direct(const PlanRequest &request) {
    // A variant may force any of the forms.
    const auto forces = [&](const char *stage) { return !request.options.variant.empty() && forced_variant(request.options, stage).ok(); };
    if (forces("conv_depthwise_backward_filters")) {
        return plan_filter_gradient_depthwise(request);
    }
    if (forces("conv_direct_oc")) {
        return plan_filter_gradient_pointwise(request);
    }
    Result<std::unique_ptr<AlgorithmPlan>> best = best_variant<DirectBackwardFilters>(request, "conv_backward_filters", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DirectBackwardFilters>(request, kernel));
    });
    if (!request.options.variant.empty()) {
        return best;
    }
    for (const auto plan : {plan_filter_gradient_depthwise, plan_filter_gradient_pointwise}) {
        if (Result<std::unique_ptr<AlgorithmPlan>> other = plan(request); other.ok() && (!best.ok() || (*other)->ranked_seconds < (*best)->ranked_seconds)) {
            best = std::move(other);
        }
    }
    return best;
}

}  // namespace fourfold
