// direct, lanes along output channels: each task sums its output pixels for one panel of K output channels after the other
// (conv_direct_oc) and transposes them to planes (unblock_channels). Small images, any stride and dilation: no lane waits for
// a row's end, nothing is decimated. Images without padding are read where they lie.
#include <algorithm>
#include <cmath>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "parallel.h"
#include "strip_input.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kLanes = 16;      ///< planes of an unblock_channels call
constexpr int64_t kTermBlock = 512;  ///< terms before a partial sum joins the total: the error grows with the root of this

/// What a task covers and how much of it is in flight at once.
struct Blocking {
    int64_t images;    ///< images of a task; over 1 only where strip is a whole image
    int64_t strip;     ///< output rows of a task
    int64_t channels;  ///< input channels summed before the next panel: their filters and x share L2
    int64_t oc_parts;  ///< tasks that share a strip's output channels
    int slots;         ///< tasks at the same time
};

/// Where the pixels of a task lie: an image, or its padded copy.
struct Source {
    const float *data;
    int64_t image, channel, row, column;  ///< strides
};

class DirectOcPlan final : public AlgorithmPlan {
public:
    DirectOcPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), kernel_(kernel), unblock_(*find_variant("unblock_channels")), pad_(PadStage::find(problem_)), post_(kernel_post_op(problem_)), r_(kernel.parameter("r", 1)), width_(kLanes * kernel.parameter("v", 1)), packer_(StripGeometry(problem_), static_cast<int>(width_)), threads_(request.options.threads) {
        variant = kernel.name;
        const Conv2dProblem &p = problem_;
        outputs_ = p.out_channels / p.groups;
        channels_ = p.in_channels / p.groups;
        panels_ = ceil_div(outputs_, width_);
        taps_ = p.filter_height * p.filter_width;
        out_height_ = p.out_height();
        out_width_ = p.out_width();
        columns_read_ = (out_width_ - 1) * p.stride_w + (p.filter_width - 1) * p.dilation_w + 1;
        padded_ = p.pad_top != 0 || p.pad_bottom != 0 || p.pad_left != 0 || p.pad_right != 0;
    }

    /// Decides the blocking within the limit and lays out the workspace.
    Status block(size_t workspace_limit) {
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        Blocking best{};
        serial_seconds = -1.0;
        size_t least = std::numeric_limits<size_t>::max();
        const auto consider = [&](int64_t images, int64_t strip) {
            const Blocking b = {images, strip, channels_in_cache(images, strip), 1, 1};
            lay_out(b);
            least = std::min(least, workspace_bytes);
            if (workspace_bytes > workspace_limit || out_of_reach(b)) {
                return;
            }
            const double seconds = predict(b);
            if (serial_seconds < 0.0 || seconds < serial_seconds) {
                serial_seconds = seconds;
                best = b;
            }
        };
        for (int64_t images = 2; images <= std::min<int64_t>(problem_.batch, 64) && images * out_height_ * out_width_ <= 1024; images *= 2) {
            consider(images, out_height_);
        }
        for (int64_t strips = 1, last = 0; strips <= out_height_; strips++) {
            const int64_t strip = ceil_div(out_height_, strips);
            if (strip != last) {
                consider(1, strip);
            }
            last = strip;
        }
        if (serial_seconds < 0.0) {
            workspace_bytes = least;
            return least > workspace_limit ? workspace_exhausted(least, workspace_limit) : Status(StatusCode::kUnsupported, "one output row reads over 2^31 bytes of input, more than a kernel call can reach");
        }
        lay_out(best);
        serial_workspace_bytes = workspace_bytes;
        split_for_threads(best);
        lay_out(best);
        best.slots = static_cast<int>(std::min<double>({double(threads_), double(tasks()), 1.0 + double(workspace_limit - std::min(workspace_limit, workspace_bytes)) / double(slot_bytes_)}));
        lay_out(best);
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        layout = "direct m" + std::to_string(width_) + " rows1";
        packed_bytes = packer_.packed_bytes();
        details = (best.images > 1 ? std::to_string(best.images) + " images" : "strips of " + std::to_string(best.strip) + " output rows") + " a task, " + (padded_ ? "padded, " : "read in place, ") + std::to_string(best.channels) + " of " + std::to_string(channels_) + " input channels at once, " + std::to_string(tasks()) + " tasks, " + std::to_string(best.slots) + " at a time";
        return Status();
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return packer_.pack(filters, floats_at(packed, 0), execution, threads_);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const PaddedBias bias = bias_.fill(t.bias, workspace);
        const Source x = source(t.input);
        fill_tables(x, workspace);
        return parallel_for(execution, blocking_.slots, tasks(), [&](int64_t index, int slot, KernelContext &context) {
            return task(t, x, floats_at(packed, 0), bias, workspace, static_cast<size_t>(slot), index, context);
        });
    }

private:
    int64_t strips() const {
        return ceil_div(out_height_, blocking_.strip);
    }
    int64_t tasks() const {
        return ceil_div(problem_.batch, blocking_.images) * problem_.groups * strips() * blocking_.oc_parts;
    }
    int64_t rows_read(int64_t strip) const {
        return (strip - 1) * problem_.stride_h + (problem_.filter_height - 1) * problem_.dilation_h + 1;
    }
    int64_t pixels(const Blocking &b) const {
        return b.images * b.strip * out_width_;
    }
    /// Floats between the channels of a padded copy. A multiple of 4 KiB would have them fight for the same few lines of L1.
    int64_t plane(int64_t strip) const {
        const int64_t elements = rows_read(strip) * columns_read_;
        return elements % 1024 == 0 ? elements + 16 : elements;
    }

    /// As many input channels as leave a panel's filters and their x in L2, in equal parts.
    int64_t channels_in_cache(int64_t images, int64_t strip) const {
        const double l2 = 0.75 * static_cast<double>(machine().l2_bytes) / sizeof(float);
        const double one = static_cast<double>(width_ * taps_) + static_cast<double>(images) * static_cast<double>(plane(strip));
        const auto fitting = static_cast<int64_t>(std::clamp(l2 / one, 1.0, static_cast<double>(channels_)));
        return ceil_div(channels_, ceil_div(channels_, fitting));
    }

    bool out_of_reach(const Blocking &b) const {
        return static_cast<double>(b.images * b.channels) * static_cast<double>(plane(b.strip)) > double(1 << 29) || static_cast<double>(pixels(b)) * static_cast<double>(width_) > double(1 << 29);
    }

    /// Enough tasks for all threads to finish together, if the work is worth a wake-up.
    void split_for_threads(Blocking &b) const {
        if (threads_ <= 1 || problem_.flops() < 2e6) {
            return;
        }
        const int64_t wanted = 4 * threads_;
        const auto count = [&] {
            return ceil_div(problem_.batch, b.images) * problem_.groups * ceil_div(out_height_, b.strip) * b.oc_parts;
        };
        while (count() < wanted && b.images > 1) {
            b.images = (b.images + 1) / 2;
        }
        b.oc_parts = std::min(panels_, ceil_div(wanted, count()));
        while (count() < wanted && b.images == 1 && b.strip * out_width_ >= 4 * r_ && b.strip >= 2 * problem_.filter_height) {
            b.strip = (b.strip + 1) / 2;
        }
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        bias_ = BiasLayout(arena, problem_, 1, panels_ * width_);
        offsets_offset_ = arena.reserve_floats(static_cast<double>(b.channels * taps_));
        positions_ = round_up(pixels(b), r_);
        positions_offset_ = arena.reserve_floats(2.0 * static_cast<double>(positions_));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        // Also where no padding asks for it: strides of the caller's may be beyond a kernel call's reach.
        x_offset_ = slot.reserve_floats(static_cast<double>(b.images * b.channels) * static_cast<double>(plane(b.strip)));
        // unblock_channels reads whole runs of 16 columns.
        panel_ = (pixels(b) + kLanes) * width_;
        sums_offset_ = slot.reserve_floats(static_cast<double>(panel_) * static_cast<double>(b.channels < channels_ ? panels_ : 1));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * b.slots);
        workspace_bytes = arena.bytes();
    }

    double predict(const Blocking &b) const {
        const CostModel model(kernel_.isa);
        const Conv2dProblem &p = problem_;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups);
        const double visits = static_cast<double>(p.batch / b.images), rest_images = static_cast<double>(p.batch % b.images);
        const double full = static_cast<double>(out_height_ / b.strip), rest_rows = static_cast<double>(out_height_ % b.strip);
        const auto tiles = [&](double rows, double count) {
            return std::ceil(rows * count * static_cast<double>(out_width_) / static_cast<double>(r_));
        };
        const double strip_tiles = full * tiles(static_cast<double>(b.strip), static_cast<double>(b.images)) + (rest_rows > 0 ? tiles(rest_rows, 1.0) : 0.0);
        const double all_tiles = visits * strip_tiles + (rest_images > 0 ? tiles(static_cast<double>(out_height_), rest_images) : 0.0);
        const double steps = groups * all_tiles * static_cast<double>(panels_ * channels_ * taps_);
        const int vectors = static_cast<int>(width_) / model.lanes;
        const double passes = std::ceil(images / static_cast<double>(b.images)) * static_cast<double>(ceil_div(out_height_, b.strip));
        const double chunks = static_cast<double>(ceil_div(channels_, b.channels));
        const double results = 4.0 * images * groups * static_cast<double>(panels_ * width_) * static_cast<double>(out_height_ * out_width_);
        double moved = 2.0 * results + (p.residual ? results : 0.0) + (chunks - 1.0) * results;
        if (padded_) {
            moved += 3 * 4.0 * passes * static_cast<double>(b.images * p.in_channels) * static_cast<double>(plane(b.strip));
        }
        const double filters = packer_.packed_floats() * 4.0 * (packer_.packed_floats() * 4.0 > 0.5 * static_cast<double>(machine().l2_bytes) ? passes : 1.0);
        const double calls = passes * groups * chunks * (static_cast<double>(padded_ ? b.images : 0) + static_cast<double>(panels_)) + images * static_cast<double>(ceil_div(p.out_channels, kLanes) * ceil_div(out_height_, b.strip));
        return steps * model.tile_cycles(static_cast<int>(r_), vectors) / model.hertz + moved / model.copy_bytes_per_second + filters / kStreamBytesPerSecond + calls * model.call_seconds + 1e-6;
    }

    /// The caller's images where they can be read in place, otherwise the form of the padded copies, without data.
    Source source(const StridedIn &input) const {
        const int64_t *s = input.s;
        const double last = static_cast<double>(blocking_.images - 1) * static_cast<double>(s[0]) + static_cast<double>(blocking_.channels - 1) * static_cast<double>(s[1]) + static_cast<double>(rows_read(blocking_.strip) - 1) * static_cast<double>(s[2]) + static_cast<double>(columns_read_);
        if (!padded_ && last < double(1 << 29)) {
            return {input.data, s[0], s[1], s[2], s[3]};
        }
        const int64_t channel = plane(blocking_.strip);
        return {nullptr, blocking_.channels * channel, channel, columns_read_, 1};
    }

    /// What the kernel reads x by: of each term its distance from the pixel's position, channel by channel; of each pixel its
    /// position, for whole tasks and, behind it, for the last one, which must not read on where the image ends.
    void fill_tables(const Source &x, std::byte *workspace) const {
        const Conv2dProblem &p = problem_;
        int32_t *offset = ints_at(workspace, offsets_offset_);
        for (int64_t c = 0; c < blocking_.channels; c++) {
            for (int64_t i = 0; i < p.filter_height; i++) {
                for (int64_t j = 0; j < p.filter_width; j++) {
                    *offset++ = static_cast<int32_t>(c * x.channel + i * p.dilation_h * x.row + j * p.dilation_w * x.column);
                }
            }
        }
        int32_t *position = ints_at(workspace, positions_offset_);
        const auto fill = [&](int64_t images, int64_t rows) {
            int32_t *end = position + positions_;
            for (int64_t n = 0; n < images; n++) {
                for (int64_t i = 0; i < rows; i++) {
                    for (int64_t j = 0; j < out_width_; j++) {
                        *position++ = static_cast<int32_t>(n * x.image + i * p.stride_h * x.row + j * p.stride_w * x.column);
                    }
                }
            }
            std::fill(position, end, 0);
            position = end;
        };
        fill(blocking_.images, blocking_.strip);
        fill(blocking_.images > 1 ? p.batch % blocking_.images : 1, blocking_.images > 1 ? blocking_.strip : out_height_ % blocking_.strip);
    }

    /// The part of the output that a task computes.
    struct Piece {
        int64_t image, images, g, first_row, rows;
    };

    bool task(const ForwardTensors &t, const Source &whole, const float *packed, const PaddedBias &bias, std::byte *workspace, size_t slot, int64_t index, KernelContext &context) const {
        const int64_t part = index % blocking_.oc_parts;
        index /= blocking_.oc_parts;
        Piece piece{};
        piece.first_row = index % strips() * blocking_.strip;
        piece.rows = std::min(blocking_.strip, out_height_ - piece.first_row);
        index /= strips();
        piece.g = index % problem_.groups;
        piece.image = index / problem_.groups * blocking_.images;
        piece.images = std::min(blocking_.images, problem_.batch - piece.image);
        const int64_t begin = panels_ * part / blocking_.oc_parts, end = panels_ * (part + 1) / blocking_.oc_parts;

        std::byte *scratch = workspace + slots_offset_ + slot * slot_bytes_;
        float *sums = floats_at(scratch, sums_offset_);
        const bool shortened = piece.images < blocking_.images || piece.rows < blocking_.strip;
        const int64_t count = piece.images * piece.rows * out_width_;
        const Ints<1> positions(ints_at(workspace, positions_offset_) + (shortened ? positions_ : 0), {{round_up(count, r_), 1}});
        for (int64_t c = 0; c < channels_; c += blocking_.channels) {
            const int64_t channels = std::min(blocking_.channels, channels_ - c), terms = channels * taps_;
            Source x = whole;
            if (!prepare(t.input, piece, c, channels, floats_at(scratch, x_offset_), x, context)) {
                return false;
            }
            const int64_t position_max = (piece.images - 1) * x.image + (piece.rows - 1) * problem_.stride_h * x.row + (out_width_ - 1) * problem_.stride_w * x.column;
            const int64_t offset_max = (channels - 1) * x.channel + (problem_.filter_height - 1) * problem_.dilation_h * x.row + (problem_.filter_width - 1) * problem_.dilation_w * x.column;
            const Floats<1> input(x.data, {{position_max + offset_max + 1, 1}});
            const Ints<1> offsets(ints_at(workspace, offsets_offset_), {{terms, 1}});
            for (int64_t panel = begin; panel < end; panel++) {
                float *sum = sums + (blocking_.channels < channels_ ? panel * panel_ : 0);
                const Floats<2> filters(packed + ((piece.g * panels_ + panel) * channels_ + c) * taps_ * width_, {{width_, 1}, {terms, width_}});
                const Floats<2> out(sum, {{width_, 1}, {count, width_}});
                // The bias first, later what the channels before have summed.
                const Floats<2> initial(c == 0 ? bias.of(piece.g, panel * width_) : sum, {{width_, 1}, {count, c == 0 ? 0 : width_}});
                if (!call(kernel_, context, filters, input, positions, static_cast<int32_t>(position_max), offsets, static_cast<int32_t>(offset_max), initial, static_cast<int32_t>(kTermBlock), int32_t{0}, 0.0f, 0.0f, out)) {
                    return false;
                }
                if (c + channels == channels_ && !finish(t, piece, sum, panel * width_, bias, context)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// Input channels [c, c + channels) of the piece: where they are, or copied with their padding.
    bool prepare(const StridedIn &input, const Piece &piece, int64_t c, int64_t channels, float *scratch, Source &x, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t *s = input.s;
        const float *image = input.data + piece.image * s[0] + (piece.g * channels_ + c) * s[1];
        if (x.data != nullptr) {
            x.data = image + piece.first_row * p.stride_h * s[2];
            return true;
        }
        for (int64_t n = 0; n < piece.images; n++) {
            const PlanesIn in = {image + n * s[0], p.in_width, p.in_height, channels, s[2], s[1]};
            const PlanesOut out = {scratch + n * x.image, columns_read_, rows_read(piece.rows), channels, x.row, x.channel};
            if (!pad_.run(in, out, 1, 1, -p.pad_left, piece.first_row * p.stride_h - p.pad_top, context)) {
                return false;
            }
        }
        x.data = scratch;
        return true;
    }

    /// Transposes the sums of output channels [k, k + K) to planes, with residual and post-op.
    bool finish(const ForwardTensors &t, const Piece &piece, const float *sum, int64_t k, const PaddedBias &bias, KernelContext &context) const {
        const int64_t *s = t.output.s, *r = t.residual.s;
        const bool add = t.residual.data != nullptr;
        // Output rows and planes too far apart for 32-bit indices are finished in smaller pieces.
        constexpr int64_t reach = int64_t{1} << 28;
        const int64_t row_step = std::max(s[2], add ? r[2] : 0), plane_step = std::max(s[1], add ? r[1] : 0);
        // Dense rows are one long row: no run of 16 columns is cut short at their ends.
        const bool flat = s[2] == out_width_ && (!add || r[2] == out_width_);
        const int64_t width = flat ? piece.rows * out_width_ : out_width_;
        const int64_t rows = flat ? 1 : piece.rows;
        const int64_t band = flat ? 1 : std::clamp<int64_t>(reach / row_step, 1, rows);
        for (int64_t n = 0; n < piece.images; n++) {
            const float *image = sum + n * piece.rows * out_width_ * width_;
            for (int64_t lane = 0, count; lane < std::min(width_, outputs_ - k); lane += count) {
                const int64_t in_block = kLanes - lane % kLanes;
                count = std::min({in_block, outputs_ - k - lane, std::max<int64_t>(1, reach / plane_step)});
                const int64_t channel = piece.g * outputs_ + k + lane;
                const Floats<1> none(bias.none(), {{count, 1}});
                for (int64_t y = 0; y < rows; y += band) {
                    const int64_t now = std::min(band, rows - y);
                    const Floats<3> in(image + y * out_width_ * width_ + lane, {{kLanes, 1}, {round_up(width, kLanes), width_}, {now, out_width_ * width_}});
                    float *target = t.output.data + (piece.image + n) * s[0] + channel * s[1] + (piece.first_row + y) * s[2];
                    const Floats<3> out(target, {{width, 1}, {now, s[2]}, {count, s[1]}});
                    const Floats<3> residual(add ? t.residual.data + (piece.image + n) * r[0] + channel * r[1] + (piece.first_row + y) * r[2] : target, {{width, 1}, {now, add ? r[2] : s[2]}, {count, add ? r[1] : s[1]}});
                    if (!call(unblock_, context, in, none, residual, static_cast<int32_t>(add), post_.kind, post_.lo, post_.hi, out)) {
                        return false;
                    }
                }
            }
        }
        return true;
    }

    static int32_t *ints_at(std::byte *base, size_t offset) {
        return reinterpret_cast<int32_t *>(base + offset);
    }

    /// Filters beyond L2 are read in order, by a kernel that leaves the loads idle: measured 30e9, not the model's 12e9.
    static constexpr double kStreamBytesPerSecond = 30e9;

    const Conv2dProblem problem_;
    const Variant &kernel_, &unblock_;
    const PadStage pad_;
    const KernelPostOp post_;
    const int64_t r_, width_;  ///< pixels and output channels of a register tile
    const FilterPacker packer_;
    const int threads_;
    int64_t outputs_, channels_, panels_, taps_;  ///< of a group
    int64_t out_height_, out_width_, columns_read_;
    bool padded_;
    Blocking blocking_{};
    int64_t positions_ = 0;  ///< entries of a table of positions
    int64_t panel_ = 0;      ///< floats of a panel's sums
    BiasLayout bias_;
    size_t offsets_offset_ = 0, positions_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, x_offset_ = 0, sums_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_direct_oc(const PlanRequest &request) {
    return best_variant<DirectOcPlan>(request, "conv_direct_oc", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DirectOcPlan>(request, kernel));
    });
}

}  // namespace fourfold
