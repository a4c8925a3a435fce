// direct: pad a strip of rows into flat form, sum over taps and channels in registers (conv_direct), crop.
// No workspace but a strip per thread.
#include <algorithm>
#include <optional>
#include <cmath>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "nhwc_moves.h"
#include "parallel.h"
#include "strip_input.h"
#include "thread_split.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

/// What a task covers and how much of it is in flight at once.
struct Blocking {
    int64_t strip;       ///< output rows of a task
    int64_t groups;      ///< groups of a task
    int64_t oc_block;    ///< output channels of a kernel call, a multiple of m
    int64_t oc_parts;    ///< tasks that share a strip's output channels
    int slots;           ///< tasks at the same time
};

class DirectPlan final : public AlgorithmPlan {
public:
    DirectPlan(const PlanRequest &request, const Variant &kernel, int64_t row_block)
        : problem_(request.problem), geometry_(problem_, row_block), kernel_(kernel), m_(kernel.parameter("m", 1)), n_(kernel.parameter("n", 1)), columns_(n_ * vector_lanes(kernel.isa)), crop_(CropStage::find(problem_.layout)), post_(kernel_post_op(problem_)), packer_(geometry_, static_cast<int>(m_)), threads_(request.options.threads) {
        variant = kernel.name;
        choice = variant + " rows=" + std::to_string(row_block);
        outputs_ = problem_.out_channels / problem_.groups * row_block;
        channels_ = problem_.in_channels / problem_.groups;
        // About 256 terms before a partial sum joins the total: the error of long sums grows with the root of this.
        tap_block_ = ceil_div(geometry_.taps(), ceil_div(geometry_.taps(), 256));
        channel_block_ = std::max<int64_t>(1, 256 / geometry_.taps());
    }

    /// Decides the blocking within the limit and lays out the workspace.
    Status block(size_t workspace_limit) {
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        Blocking b = preferred();
        lay_out(b);
        while (workspace_bytes > workspace_limit) {
            // In the order of what it costs: a smaller strip repeats its halo.
            if (b.groups > 1) {
                b.groups = (b.groups + 1) / 2;
            } else if (b.strip > 4) {
                b.strip = (b.strip + 1) / 2;
            } else if (b.oc_block > m_) {
                b.oc_block = std::max<int64_t>(m_, b.oc_block / 2 / m_ * m_);
            } else if (b.strip > 1) {
                b.strip--;
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        serial_seconds = seconds(b);
        serial_workspace_bytes = workspace_bytes;
        const Blocking serial = b;
        split_for_threads(b);
        lay_out(b);
        if (workspace_bytes > workspace_limit) {
            b = serial;
            lay_out(b);
        }
        b.slots = affordable_slots(threads_, tasks(blocking_), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(b);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks(blocking_));
        // A kernel call indexes its strip with 32 bits.
        if (input_.value().scratch_floats(channels_ * b.groups, readable()) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes of input, more than a kernel call can reach");
        }
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        layout = "direct m" + std::to_string(m_) + " rows" + std::to_string(geometry_.row_block);
        packed_bytes = packer_.packed_bytes();
        details = "strips of " + std::to_string(b.strip * geometry_.row_block) + " output rows, " + (geometry_.row_block > 1 ? std::to_string(geometry_.row_block) + " of them together in a register tile, " : "") + std::to_string(b.oc_block) + " output channels a call, " + std::to_string(b.groups) + " of " + std::to_string(problem_.groups) + " groups a task, " + std::to_string(tasks(blocking_)) + " tasks, " + std::to_string(b.slots) + " at a time; " + std::to_string(geometry_.phases()) + " phases, pitch " + std::to_string(geometry_.pitch) + " for " + std::to_string(geometry_.out_width) + " columns";
        return Status();
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return packer_.pack(filters, floats_at(packed, 0), execution, threads_);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const PaddedBias bias = bias_.fill(t.bias, workspace);
        return parallel_for(execution, blocking_.slots, tasks(blocking_), [&](int64_t index, int slot, KernelContext &context) {
            return task(t, floats_at(packed, 0), bias, workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_, index, context);
        });
    }

private:
    int64_t strips(const Blocking &b) const {
        return ceil_div(geometry_.out_height, b.strip);
    }
    int64_t tasks(const Blocking &b) const {
        return problem_.batch * ceil_div(problem_.groups, b.groups) * strips(b) * b.oc_parts;
    }
    /// Elements of a channel's strip that a kernel call may touch.
    int64_t readable() const {
        return round_up(geometry_.flat_pixels(blocking_.strip), columns_) + offset_max_;
    }

    Blocking preferred() const {
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        const double depth = static_cast<double>(channels_ * geometry_.taps());
        const int64_t padded = round_up(outputs_, m_);
        Blocking b;
        b.slots = 1;
        b.groups = 1;
        b.oc_parts = 1;
        b.oc_block = std::clamp<int64_t>(static_cast<int64_t>(l2 / 2 / depth) / m_ * m_, m_, padded);
        const auto strip_floats = [&](int64_t strip) {
            return static_cast<double>(channels_ * geometry_.phases()) * static_cast<double>(geometry_.plane_elements(strip));
        };
        int64_t strip = 1;
        while (strip < geometry_.out_height && strip_floats(strip + 1) <= l2 / 3 && static_cast<double>(b.oc_block * geometry_.flat_pixels(strip + 1)) <= l2 / 4) {
            strip++;
        }
        // Among strips nearly as high, the one that wastes the fewest tiles on its last columns.
        int64_t best = strip, best_tiles = tiles(strip);
        for (int64_t s = strip; s >= std::max<int64_t>(1, strip * 6 / 10); s--) {
            if (tiles(s) < best_tiles) {
                best = s;
                best_tiles = tiles(s);
            }
        }
        b.strip = best;
        while (b.groups < problem_.groups && (b.groups + 1) * strip_floats(b.strip) <= l2 / 4 && static_cast<double>((b.groups + 1) * padded * geometry_.flat_pixels(b.strip)) <= l2 / 4) {
            b.groups++;
        }
        return b;
    }

    /// Register tiles over all strips of this height.
    int64_t tiles(int64_t strip) const {
        return geometry_.out_height / strip * strip_tiles(strip) + strip_tiles(geometry_.out_height % strip);
    }
    int64_t strip_tiles(int64_t rows) const {
        return rows > 0 ? ceil_div(geometry_.flat_pixels(rows), columns_) : 0;
    }

    /// Tasks with which the threads are expected to end first, if the work is worth a wake-up.
    void split_for_threads(Blocking &b) const {
        if (threads_ <= 1 || problem_.flops() < 2e6) {
            return;
        }
        while (tasks(b) < 4 * threads_ && b.groups > 1) {
            b.groups = (b.groups + 1) / 2;
        }
        b = divided(b, threads_, tasks(b) / strips(b), geometry_.out_height, geometry_.out_height, ceil_div(outputs_, m_),
                    [&](const Blocking &c) { return seconds(c); }, [&](const Blocking &, int64_t rows) { return strip_tiles(rows); });
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        offsets_ = geometry_.offsets(b.strip);
        offset_max_ = *std::max_element(offsets_.begin(), offsets_.end());
        input_.emplace(geometry_, b.strip);
        Arena arena;
        bias_ = BiasLayout(arena, problem_, geometry_.row_block, round_up(outputs_, m_));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        strip_offset_ = slot.reserve_floats(input_->scratch_floats(channels_ * b.groups, readable()));
        flat_ = round_up(geometry_.flat_pixels(b.strip), columns_);
        flat_ = scatters_pixels(problem_) ? scattered_pitch(flat_) : flat_;
        flat_offset_ = slot.reserve_floats(static_cast<double>(flat_) * static_cast<double>(std::min(b.oc_block, outputs_)) * static_cast<double>(b.groups));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * b.slots);
        workspace_bytes = arena.bytes();
    }

    /// What one thread is expected to take.
    double seconds(const Blocking &b) const {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double images = static_cast<double>(p.batch);
        const double steps = images * static_cast<double>(p.groups) * static_cast<double>(tiles(b.strip)) * static_cast<double>(ceil_div(outputs_, m_)) * static_cast<double>(channels_ * geometry_.taps());
        const double halo = static_cast<double>(geometry_.plane_rows(b.strip)) / static_cast<double>(b.strip);
        const double copied = 3 * 4.0 * images * static_cast<double>(p.in_channels * geometry_.phases()) * static_cast<double>(geometry_.pitch * geometry_.out_height) * halo * static_cast<double>(b.oc_parts);
        double moved = 0.0, nhwc = 0.0;
        if (gathers_pixels(p)) {
            nhwc += gather_seconds(copied / 12.0);
        } else if (!geometry_.in_place_shape) {
            moved += copied;
        } else {
            moved += 4.0 * static_cast<double>(p.input_elements()) * static_cast<double>(b.oc_parts - 1);
        }
        if (scatters_pixels(p)) {
            const int64_t channels = outputs_ / geometry_.row_block;
            nhwc += scatter_seconds(p, channels == 1 ? b.groups : std::min(b.oc_block / geometry_.row_block, channels));
        } else if (geometry_.pitch != geometry_.out_width || p.residual || geometry_.row_block > 1) {
            moved += 2 * 4.0 * static_cast<double>(p.output_elements());
        }
        const double filters = packer_.packed_floats() * 4.0 * (packer_.packed_floats() * 4.0 > static_cast<double>(machine().l2_bytes) ? images * static_cast<double>(strips(b)) : 1.0);
        const int64_t of_a_part = ceil_div(ceil_div(outputs_, m_), b.oc_parts) * m_;
        const double calls = static_cast<double>(tasks(b)) * (3.0 + 2.0 * static_cast<double>(ceil_div(of_a_part, b.oc_block)));
        return steps * model.tile_cycles(static_cast<int>(m_), static_cast<int>(n_)) / model.hertz + moved / model.copy_bytes_per_second + nhwc + filters / model.stream_bytes_per_second + calls * model.call_seconds + 1e-6;
    }

    bool task(const ForwardTensors &t, const float *packed, const PaddedBias &bias, std::byte *scratch, int64_t index, KernelContext &context) const {
        const int64_t part = index % blocking_.oc_parts;
        index /= blocking_.oc_parts;
        const int64_t first_row = index % strips(blocking_) * blocking_.strip;
        index /= strips(blocking_);
        const int64_t runs = ceil_div(problem_.groups, blocking_.groups);
        const int64_t g = index % runs * blocking_.groups;
        const int64_t image = index / runs;
        const int64_t groups = std::min(blocking_.groups, problem_.groups - g);
        const int64_t rows = std::min(blocking_.strip, geometry_.out_height - first_row);

        FlatStrip x;
        if (!input_->prepare(t.input, image, g * channels_, groups * channels_, first_row, rows, readable(), floats_at(scratch, strip_offset_), x, context)) {
            return false;
        }
        const int64_t blocks = ceil_div(outputs_, m_);
        const int64_t begin = blocks * part / blocking_.oc_parts * m_;
        const int64_t end = std::min(outputs_, blocks * (part + 1) / blocking_.oc_parts * m_);
        for (int64_t k = begin; k < end; k += blocking_.oc_block) {
            if (!outputs(t, packed, bias, x, image, g, groups, first_row, rows, k, std::min(blocking_.oc_block, end - k), floats_at(scratch, flat_offset_), context)) {
                return false;
            }
        }
        return true;
    }

    /// Output channels [k, k + count) of `groups` groups from g on; with row blocks, k and count run through channel * rows.
    bool outputs(const ForwardTensors &t, const float *packed, const PaddedBias &bias, const FlatStrip &x, int64_t image, int64_t g, int64_t groups, int64_t first_row, int64_t rows, int64_t k, int64_t count, float *flat, KernelContext &context) const {
        const int64_t taps = geometry_.taps();
        const int64_t padded = round_up(outputs_, m_);
        const int64_t group_block = padded * channels_ * taps;
        const int64_t pixels = geometry_.flat_pixels(rows);
        const auto blocks = static_cast<int32_t>(ceil_div(taps, tap_block_) * ceil_div(channels_, channel_block_));
        const KernelBuffer<float, 5> filters(packed + g * group_block + k * channels_ * taps, {{m_, 1}, {taps, m_}, {channels_, m_ * taps}, {ceil_div(count, m_), m_ * taps * channels_}, {groups, group_block}});
        const Floats<3> input(x.data, {{readable(), 1}, {channels_, x.channel_stride}, {groups, x.channel_stride * channels_}});
        const Ints<1> offsets(offsets_.data(), {{taps, 1}});

        const int64_t *s = t.output.s;
        const int64_t block = geometry_.row_block;
        float *y = t.output.data + image * s[0] + (g * outputs_ + k) / block * s[1] + first_row * block * s[2];
        const Floats<3> dense(y, {{pixels, 1}, {count, s[1]}, {groups, s[1] * outputs_}});
        const Floats<2> biases(bias.of(g, k), {{round_up(count, m_), 1}, {groups, padded}});
        const bool in_place = s[3] == 1 && block == 1 && geometry_.pitch == geometry_.out_width && (s[2] == geometry_.out_width || rows == 1) && t.residual.data == nullptr && dense.fits();
        if (in_place) {
            return call(kernel_, context, filters, input, offsets, static_cast<int32_t>(offset_max_), biases, static_cast<int32_t>(channel_block_), static_cast<int32_t>(tap_block_), blocks, post_.kind, post_.lo, post_.hi, dense);
        }
        const Floats<3> out(flat, {{pixels, 1}, {count, flat_}, {groups, flat_ * count}});
        if (!call(kernel_, context, filters, input, offsets, static_cast<int32_t>(offset_max_), biases, static_cast<int32_t>(channel_block_), static_cast<int32_t>(tap_block_), blocks, int32_t{0}, 0.0f, 0.0f, out)) {
            return false;
        }
        // One crop for the channels of a group, or, where each group has only one, for all groups.
        const int64_t channels = count / block;
        const bool across = channels == 1;
        const int64_t planes = across ? groups : channels;
        const int64_t group_channels = outputs_ / block;
        for (int64_t i = 0; i < (across ? 1 : groups); i++) {
            for (int64_t row = 0; row < block; row++) {
                // Every block-th output row, from first_row * block + row on.
                const int64_t begin = first_row * block + row;
                const int64_t height = std::min(rows, ceil_div(problem_.out_height() - begin, block));
                if (height <= 0) {
                    break;
                }
                const int64_t plane = (g + i) * group_channels + k / block;
                const int64_t step = across ? group_channels : 1;  // planes of y between those of the crop
                const PlanesIn from = {flat + (i * count + row) * flat_, geometry_.out_width, height, planes, geometry_.pitch, flat_ * block};
                const PlanesOut to = {t.output.data + image * s[0] + plane * s[1] + begin * s[2], geometry_.out_width, height, planes, s[2] * block, s[1] * step, s[3]};
                PlanesIn residual = {nullptr, 0, 0, 0, 0, 0};
                if (t.residual.data != nullptr) {
                    const int64_t *r = t.residual.s;
                    residual = {t.residual.data + image * r[0] + plane * r[1] + begin * r[2], geometry_.out_width, height, planes, r[2] * block, r[1] * step, r[3]};
                }
                if (!crop_.run(from, to, bias.none(), residual, post_, context)) {
                    return false;
                }
            }
        }
        return true;
    }

    const Conv2dProblem problem_;
    const StripGeometry geometry_;
    const Variant &kernel_;
    const int64_t m_, n_, columns_;
    const CropStage crop_;
    const KernelPostOp post_;
    const FilterPacker packer_;
    const int threads_;
    int64_t outputs_, channels_, channel_block_, tap_block_;  ///< of a group; outputs_ counts rows of a row block as channels
    std::optional<StripInput> input_;
    Blocking blocking_{};
    std::vector<int32_t> offsets_;
    int64_t offset_max_ = 0;
    int64_t flat_ = 0;  ///< floats of one output channel's strip in scratch
    BiasLayout bias_;
    size_t slots_offset_ = 0, slot_bytes_ = 0, strip_offset_ = 0, flat_offset_ = 0;
};

/// Lanes along pixels.
Result<std::unique_ptr<AlgorithmPlan>> plan_direct_pixels(const PlanRequest &request) {
    const int64_t outputs = request.problem.out_channels / request.problem.groups;
    Result<std::unique_ptr<AlgorithmPlan>> depthwise = plan_direct_depthwise(request);
    if (!request.options.variant.empty() && (forced_variant(request.options, "conv_depthwise").ok() || forced_variant(request.options, "conv_depthwise_masked").ok() || forced_variant(request.options, "conv_depthwise_small").ok() || forced_variant(request.options, "conv_depthwise_nhwc").ok())) {
        return depthwise;
    }
    Result<std::unique_ptr<AlgorithmPlan>> flat = best_variant<DirectPlan>(request, "conv_direct", [&](const Variant &kernel, const auto &consider) {
        const int64_t m = kernel.parameter("m", 1);
        // Row blocks fill the rows of a register tile that the output channels leave empty.
        for (int64_t row_block = 1; row_block <= m && (row_block == 1 || outputs * row_block <= m); row_block++) {
            if (m % row_block == 0 && request.problem.stride_h <= (int64_t{1} << 30) / row_block) {
                consider(std::make_unique<DirectPlan>(request, kernel, row_block));
            }
        }
    });
    return depthwise.ok() && (!flat.ok() || (*depthwise)->ranked_seconds < (*flat)->ranked_seconds) ? std::move(depthwise) : std::move(flat);
}

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_direct(const PlanRequest &request) {
    // A variant may force either form.
    if (forced_variant(request.options, "conv_direct_oc").ok() && !request.options.variant.empty()) {
        return plan_direct_oc(request);
    }
    Result<std::unique_ptr<AlgorithmPlan>> pixels = plan_direct_pixels(request);
    if (!request.options.variant.empty()) {
        return pixels;
    }
    Result<std::unique_ptr<AlgorithmPlan>> channels = plan_direct_oc(request);
    const bool better = channels.ok() && (!pixels.ok() || (*channels)->ranked_seconds < (*pixels)->ranked_seconds);
    return better ? std::move(channels) : std::move(pixels);
}

}  // namespace fourfold
