// direct, lanes along output channels: each task sums its output pixels for one panel of K output channels after the other
// (conv_direct_oc) and transposes them to planes (unblock_channels). Small images, any stride and dilation: no lane waits for
// a row's end, nothing is decimated. Images without padding are read where they lie; where zero padding is, pixels that share
// the taps that it leaves are brought together in register tiles, which sum those taps only.
//
// Or, in NCHW, images are copied to vectors of 16 channels first (block_channels). A pixel's line of memory then serves 16 terms, not
// one, and what few filters stay in L1 meet all pixels before the next do: of planes a tile of 6 pixels asks L2 for two lines with
// every term, filters and x, which takes longer than its 12 FMAs of 8 lanes.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "parallel.h"
#include "strip_input.h"
#include "thread_split.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kLanes = 16;      ///< planes of an unblock_channels call
constexpr int64_t kTermBlock = 256;  ///< terms before a partial sum joins the total: the error grows with the root of this
constexpr double kCacheShare = 0.75;  ///< of L2, for what is read again
constexpr int64_t kMaxSorted = 1 << 14;  ///< pixels of a task that are sorted by their taps; larger images have few borders
constexpr int64_t kMostPixels = 1 << 16;  ///< of a strip of rows

/// What a task covers and how much of it is in flight at once.
struct Blocking {
    int64_t images;    ///< images of a task; over 1 only where strip is a whole image
    int64_t strip;     ///< output rows of a task
    int64_t channels;  ///< input channels summed before the next panel: their filters and x share L2
    int64_t oc_parts;  ///< tasks that share a strip's output channels
    int slots;         ///< tasks at the same time
    bool blocked;      ///< x is copied to vectors of 16 channels
};

/// Where the pixels of a task lie: an image, or its copy.
struct Source {
    const float *data;
    int64_t image;
    int64_t lanes, block;               ///< neighbouring channels, and the distance between blocks of so many
    int64_t row, column;                ///< distances between taps one apart
    int64_t output_row, output_column;  ///< and between those that neighbouring outputs read first

    int64_t channel(int64_t c) const {
        return c / lanes * block + c % lanes;
    }
};

/// Pixels that a kernel call sums together: the same taps for all.
struct PixelGroup {
    int64_t begin, count;    ///< in the order of summing
    int64_t position;        ///< of the first in the table of positions, where each group fills whole register tiles
    int64_t term;            ///< of the first in the table of terms
    int64_t taps;            ///< terms of a channel
};

/// How a task goes through its pixels.
struct PixelOrder {
    std::vector<PixelGroup> groups;
    std::vector<int32_t> pixels;     ///< image * height * width + row * width + column, in the order of summing; empty: as they lie
    std::vector<uint64_t> masks;     ///< of each group, a bit for each tap
    int64_t tile_taps = 0;           ///< taps of all register tiles
};

class DirectOcPlan final : public AlgorithmPlan {
public:
    DirectOcPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), kernel_(kernel), block_(*find_variant("block_channels", "layout=nchw")), unblock_(*find_variant("unblock_channels", layout_parameter(problem_.layout))), pad_(PadStage::find(problem_)), post_(kernel_post_op(problem_)), r_(kernel.parameter("r", 1)), width_(kLanes * kernel.parameter("v", 1)), packer_(StripGeometry(problem_), static_cast<int>(width_)), threads_(request.options.threads) {
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
        // Measured on AVX2 only. AVX-512's tiles of 10 x 2 and 6 x 4 ask less of L2 for each FMA.
        may_block_ = p.layout == Layout::kNchw && pad_.constant && channels_ >= kLanes && kernel.isa == Isa::kAvx2;
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
        const auto consider_form = [&](int64_t images, int64_t strip, bool blocked) {
            Blocking b = {images, strip, 0, 1, 1, blocked};
            b.channels = channels_in_cache(b);
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
        const auto consider = [&](int64_t images, int64_t strip) {
            consider_form(images, strip, false);
            if (may_block_) {
                consider_form(images, strip, true);
            }
        };
        for (int64_t images = 2; images <= std::min<int64_t>(problem_.batch, 64) && images * out_height_ * out_width_ <= 1024; images *= 2) {
            consider(images, out_height_);
        }
        for (int64_t strips = 1, last = 0; strips <= out_height_; strips++) {
            const int64_t strip = ceil_div(out_height_, strips);
            // A strip's pixels have a table, which is filled by planning or by each call.
            if (strip != last && (strip == 1 || strip * out_width_ <= kMostPixels)) {
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
        const Blocking serial = best;
        split_for_threads(best);
        lay_out(best);
        if (workspace_bytes > workspace_limit) {
            best = serial;  // a rest of rows has tables of its own
            lay_out(best);
        }
        best.slots = affordable_slots(threads_, tasks(blocking_), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out(best);
        // A copy's form is known here, an image's strides only at the call.
        for (Kind &kind : kinds_) {
            kind.positions.resize(static_cast<size_t>(table_positions(kind.order)));
            kind.terms.resize(static_cast<size_t>(2 * table_terms(kind.order, best.channels)));
            fill_tables(kind.order, copies(), kind.rows, kind.positions.data(), kind.terms.data());
        }
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks(blocking_));
        layout = "direct m" + std::to_string(width_) + " rows1";
        packed_bytes = packer_.packed_bytes();
        details = (best.images > 1 ? std::to_string(best.images) + " images" : "strips of " + std::to_string(best.strip) + " output rows") + " a task, " + (best.blocked ? "copied to vectors of channels, " : padded_ ? "padded, " : "read in place, ") + std::to_string(kinds_[0].order.groups.size()) + " groups of pixels, " + std::to_string(best.channels) + " of " + std::to_string(channels_) + " input channels at once, " + std::to_string(tasks(blocking_)) + " tasks, " + std::to_string(best.slots) + " at a time";
        return Status();
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return packer_.pack(filters, floats_at(packed, 0), execution, threads_);
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const PaddedBias bias = bias_.fill(t.bias, workspace);
        const bool in_place = reads_in_place(t.input);
        if (in_place) {
            const int64_t *s = t.input.s;
            for (const Kind &kind : kinds_) {
                fill_tables(kind.order, in_place_at(t.input.data, s), kind.rows, ints_at(workspace, kind.positions_offset), ints_at(workspace, kind.terms_offset));
            }
        }
        return parallel_for(execution, blocking_.slots, tasks(blocking_), [&](int64_t index, int slot, KernelContext &context) {
            return task(t, in_place, floats_at(packed, 0), bias, workspace, static_cast<size_t>(slot), index, context);
        });
    }

private:
    int64_t strips(const Blocking &b) const {
        return ceil_div(out_height_, b.strip);
    }
    int64_t tasks(const Blocking &b) const {
        return ceil_div(problem_.batch, b.images) * problem_.groups * strips(b) * b.oc_parts;
    }
    int64_t rows_read(int64_t strip) const {
        return (strip - 1) * problem_.stride_h + (problem_.filter_height - 1) * problem_.dilation_h + 1;
    }
    int64_t pixels(const Blocking &b) const {
        return b.images * b.strip * out_width_;
    }
    /// Input rows between those that a copy holds: with blocks, rows that no tap reads are left out.
    int64_t row_step(const Blocking &b) const {
        return b.blocked && problem_.filter_height == 1 ? problem_.stride_h : 1;
    }
    int64_t rows_copied(const Blocking &b, int64_t rows) const {
        return (rows_read(rows) - 1) / row_step(b) + 1;
    }
    /// Floats between the channels of a copy, or a sixteenth of those between blocks. Planes a multiple of 4 KiB apart would fight for
    /// the same few lines of L1.
    int64_t plane(const Blocking &b) const {
        const int64_t elements = rows_copied(b, b.strip) * columns_read_;
        return !b.blocked && elements % 1024 == 0 ? elements + 16 : elements;
    }
    /// Floats of an image's copy, `channels` channels of it.
    int64_t copied_image(const Blocking &b, int64_t channels) const {
        return (b.blocked ? round_up(channels, kLanes) : channels) * plane(b);
    }

    /// Floats of a channel that a strip reads: with strides, not all rows of an image in place.
    double touched(const Blocking &b) const {
        return padded_ || b.blocked ? static_cast<double>(plane(b)) : static_cast<double>(std::min(rows_read(b.strip), b.strip * problem_.filter_height) * columns_read_);
    }

    /// As many input channels as leave a panel's filters and their x in L2, in equal parts, of whole blocks where there are any.
    int64_t channels_in_cache(const Blocking &b) const {
        const double l2 = kCacheShare * static_cast<double>(machine().l2_bytes) / sizeof(float);
        const double one = static_cast<double>(width_ * taps_) + static_cast<double>(b.images) * touched(b);
        const auto fitting = static_cast<int64_t>(std::clamp(l2 / one, 1.0, static_cast<double>(channels_)));
        const int64_t part = ceil_div(channels_, ceil_div(channels_, fitting));
        return b.blocked ? std::min(channels_, round_up(part, kLanes)) : part;
    }

    /// Channels whose filters meet all pixels of a task before the next channels' do: those of a partial sum, 16 KiB a block of 16
    /// outputs, which stay in L1.
    int64_t channels_at_once(const Blocking &b) const {
        return b.blocked ? std::clamp<int64_t>(kTermBlock / taps_, 1, b.channels) : b.channels;
    }

    bool out_of_reach(const Blocking &b) const {
        return static_cast<double>(b.images) * static_cast<double>(copied_image(b, b.channels)) > double(1 << 29) || static_cast<double>(pixels(b)) * static_cast<double>(width_) > double(1 << 29);
    }

    /// Tasks with which the threads are expected to end first, if the work is worth a wake-up.
    void split_for_threads(Blocking &b) const {
        if (threads_ <= 1 || problem_.flops() < 2e6) {
            return;
        }
        while (tasks(b) < 4 * threads_ && b.images > 1) {
            b.images = (b.images + 1) / 2;
        }
        b = divided(b, threads_, tasks(b) / strips(b), out_height_, b.images > 1 ? strips(b) : out_height_, panels_,
                    [&](const Blocking &c) { return predict(c); }, [&](const Blocking &c, int64_t rows) { return ceil_div(c.images * rows * out_width_, r_); });
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        bias_ = BiasLayout(arena, problem_, 1, panels_ * width_);
        kinds_.clear();
        const auto add = [&](int64_t images, int64_t rows) {
            if (images * rows > 0) {
                Kind kind{images, rows, order(images, rows), {}, {}};
                kind.positions_offset = arena.reserve_floats(static_cast<double>(table_positions(kind.order)));
                kind.terms_offset = arena.reserve_floats(2.0 * static_cast<double>(table_terms(kind.order, b.channels)));
                kinds_.push_back(std::move(kind));
            }
        };
        add(b.images, b.strip);
        add(b.images > 1 ? problem_.batch % b.images : 1, b.images > 1 ? b.strip : out_height_ % b.strip);
        const bool sorted = std::any_of(kinds_.begin(), kinds_.end(), [](const Kind &kind) { return !kind.order.pixels.empty(); });
        slots_offset_ = arena.reserve(0);
        Arena slot;
        // Also where no padding asks for it: strides of the caller's may be beyond a kernel call's reach.
        x_offset_ = slot.reserve_floats(static_cast<double>(b.images) * static_cast<double>(copied_image(b, b.channels)));
        // unblock_channels reads whole runs of 16 columns.
        panel_ = (pixels(b) + kLanes) * width_;
        sums_offset_ = slot.reserve_floats(static_cast<double>(panel_) * static_cast<double>(b.channels < channels_ ? panels_ : 1));
        sorted_offset_ = slot.reserve_floats(sorted ? static_cast<double>(panel_) : 0.0);
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
            if (static_cast<int64_t>(rows) == out_height_) {
                return static_cast<double>(order(static_cast<int64_t>(count), out_height_).tile_taps);
            }
            return std::ceil(rows * count * static_cast<double>(out_width_) / static_cast<double>(r_)) * static_cast<double>(taps_);
        };
        const double strip_steps = full * tiles(static_cast<double>(b.strip), static_cast<double>(b.images)) + (rest_rows > 0 ? tiles(rest_rows, 1.0) : 0.0);
        const double all_steps = visits * strip_steps + (rest_images > 0 ? tiles(static_cast<double>(out_height_), rest_images) : 0.0);
        const double steps = groups * all_steps * static_cast<double>(panels_ * channels_);
        const int vectors = static_cast<int>(width_) / model.lanes;
        const double passes = std::ceil(images / static_cast<double>(b.images)) * static_cast<double>(ceil_div(out_height_, b.strip));
        const double chunks = static_cast<double>(ceil_div(channels_, b.channels));
        const double results = 4.0 * images * groups * static_cast<double>(panels_ * width_) * static_cast<double>(out_height_ * out_width_);
        double moved = 2.0 * results + (p.residual ? results : 0.0) + (chunks - 1.0) * results;
        if (padded_ || b.blocked) {
            moved += 3 * 4.0 * passes * groups * static_cast<double>(b.images) * static_cast<double>(copied_image(b, channels_) * b.oc_parts);
        } else {
            moved += 4.0 * static_cast<double>(p.input_elements()) * static_cast<double>(b.oc_parts - 1);
        }
        // All filters stay in L2 from strip to strip if they fit in beside a strip's x; threads that share one strip read a part each.
        const double sharing = static_cast<double>(passes == 1.0 ? std::min<int64_t>(b.oc_parts, threads_) : 1);
        const double resident = packer_.packed_floats() / groups / sharing + static_cast<double>(b.images * b.channels) * touched(b);
        const double filters = packer_.packed_floats() * 4.0 * (resident > kCacheShare * static_cast<double>(machine().l2_bytes) / sizeof(float) ? passes : 1.0);
        const double step_cycles = kernel_.isa == Isa::kAvx2 ? step_cycles_of(model, vectors, b) : plain_step_cycles(model, vectors);
        const double at_once = std::ceil(static_cast<double>(b.channels) / static_cast<double>(channels_at_once(b)));
        const double copies = padded_ ? static_cast<double>(b.images) : 0.0;
        const double calls = passes * groups * chunks * ((b.blocked ? static_cast<double>(b.images * ceil_div(b.channels, kLanes)) : copies) + at_once * static_cast<double>(panels_)) + images * static_cast<double>(ceil_div(p.out_channels, kLanes) * ceil_div(out_height_, b.strip));
        return steps * step_cycles / model.hertz + moved / model.copy_bytes_per_second + filters / kStreamBytesPerSecond + calls * model.call_seconds + 1e-6;
    }

    /// Cycles of a term of a register tile: its filters and, for a run of pixels, a line of x come from L2, not quite hidden behind the
    /// arithmetic.
    double plain_step_cycles(const CostModel &model, int vectors) const {
        return model.tile_cycles(static_cast<int>(r_), vectors) + 0.3 * static_cast<double>(width_ / kLanes + 1);
    }

    /// The same of AVX2, whose registers are fewer and ask L2 for more: a term's filters, where not the same few meet all tiles, and its part of
    /// the lines that a run of pixels reads.
    double step_cycles_of(const CostModel &model, int vectors, const Blocking &b) const {
        const Conv2dProblem &p = problem_;
        const double columns = static_cast<double>((r_ - 1) * p.stride_w + (p.filter_width - 1) * p.dilation_w + 1);
        const double row_lines = b.blocked ? std::min(columns, static_cast<double>(r_ * p.filter_width)) / static_cast<double>(kLanes) : std::min(1.0 + (columns - 1.0) / static_cast<double>(kLanes), static_cast<double>(r_));
        const double lines = row_lines * static_cast<double>(p.filter_height) / static_cast<double>(taps_);
        const double asked = 64.0 * (lines + (b.blocked ? 0.0 : static_cast<double>(width_ / kLanes)));
        // Every partial sum is added to what memory has: a load, an addition and a store a vector, an estimate.
        const double joins = b.blocked ? 3.0 * static_cast<double>(r_) * vectors / static_cast<double>(channels_at_once(b) * taps_) : 0.0;
        return std::max(model.tile_cycles(static_cast<int>(r_), vectors), asked / kL2BytesPerCycle) + joins;
    }

    /// Groups of pixels of `images` images or of one strip. Under zero padding a whole image's pixels are sorted by the taps that
    /// read the image at all; what does not fill a register tile joins pixels with more taps, whose further taps read zeros.
    PixelOrder order(int64_t images, int64_t rows) const {
        const Conv2dProblem &p = problem_;
        const int64_t count = images * rows * out_width_;
        PixelOrder result;
        result.groups = {{0, count, 0, 0, taps_}};
        result.masks = {~uint64_t{0}};
        result.tile_taps = ceil_div(count, r_) * taps_;
        if (!padded_ || !pad_.zeros || taps_ > 64 || rows < out_height_ || count > kMaxSorted) {
            return result;
        }
        // A tap reads the image where its row does and its column does.
        const auto inside = [&](int64_t outputs, int64_t stride, int64_t dilation, int64_t pad, int64_t size, const auto &index) {
            std::vector<uint64_t> masks(static_cast<size_t>(outputs), 0);
            for (int64_t i = 0; i < outputs; i++) {
                for (int64_t t = 0; t < taps_; t++) {
                    const int64_t at = i * stride + index(t) * dilation - pad;
                    masks[static_cast<size_t>(i)] |= uint64_t{at >= 0 && at < size} << t;
                }
            }
            return masks;
        };
        const auto row_masks = inside(out_height_, p.stride_h, p.dilation_h, p.pad_top, p.in_height, [&](int64_t t) { return t / p.filter_width; });
        const auto column_masks = inside(out_width_, p.stride_w, p.dilation_w, p.pad_left, p.in_width, [&](int64_t t) { return t % p.filter_width; });
        std::map<uint64_t, std::vector<int32_t>> by_mask;
        for (int64_t i = 0; i < images * rows; i++) {
            for (int64_t j = 0; j < out_width_; j++) {
                by_mask[row_masks[static_cast<size_t>(i % rows)] & column_masks[static_cast<size_t>(j)]].push_back(static_cast<int32_t>(i * out_width_ + j));
            }
        }
        const auto taps_of = [](uint64_t mask) { return static_cast<int64_t>(__builtin_popcountll(mask)); };
        uint64_t all = 0;
        std::vector<uint64_t> masks;
        for (const auto &[mask, pixels] : by_mask) {
            all |= mask;
            masks.push_back(mask);
        }
        if (all == 0) {
            return result;
        }
        by_mask[all];
        std::sort(masks.begin(), masks.end(), [&](uint64_t a, uint64_t b) { return std::pair(taps_of(a), a) < std::pair(taps_of(b), b); });
        const auto left_over = [&](uint64_t mask) { return static_cast<int64_t>(by_mask[mask].size()) % r_; };
        for (uint64_t mask : masks) {
            // A pixel without any tap has no terms to call the kernel for.
            while (mask != all && (mask == 0 ? !by_mask[mask].empty() : left_over(mask) > 0)) {
                uint64_t to = all;
                for (uint64_t other : masks) {
                    const bool more = (other & mask) == mask && other != mask && left_over(other) > 0;
                    if (more && (taps_of(other) < taps_of(to) || (taps_of(other) == taps_of(to) && left_over(other) > left_over(to)))) {
                        to = other;
                    }
                }
                by_mask[to].push_back(by_mask[mask].back());
                by_mask[mask].pop_back();
            }
        }
        PixelOrder sorted;
        PixelGroup group{};
        for (const auto &[mask, pixels] : by_mask) {
            if (pixels.empty()) {
                continue;
            }
            group.count = static_cast<int64_t>(pixels.size());
            group.taps = taps_of(mask);
            sorted.groups.push_back(group);
            sorted.masks.push_back(mask);
            sorted.pixels.insert(sorted.pixels.end(), pixels.begin(), pixels.end());
            sorted.tile_taps += ceil_div(group.count, r_) * group.taps;
            group.begin += group.count;
            group.position += round_up(group.count, r_);
            group.term += group.taps * blocking_.channels;
        }
        // Sorting costs a copy of the sums and a call for each group.
        return static_cast<double>(sorted.tile_taps) < 0.98 * static_cast<double>(result.tile_taps) ? sorted : result;
    }

    bool reads_in_place(const StridedIn &input) const {
        const int64_t *s = input.s;
        const double last = static_cast<double>(blocking_.images - 1) * static_cast<double>(s[0]) + static_cast<double>(blocking_.channels - 1) * static_cast<double>(s[1]) + static_cast<double>(rows_read(blocking_.strip) - 1) * static_cast<double>(s[2]) + static_cast<double>(columns_read_) * static_cast<double>(s[3]);
        return !padded_ && !blocking_.blocked && last < double(1 << 29);
    }

    /// A Source whose rows and columns all lie there, with strides s.
    Source in_place_at(const float *data, const int64_t *s) const {
        return {data, s[0], 1, s[1], s[2], s[3], problem_.stride_h * s[2], problem_.stride_w * s[3]};
    }

    /// The form of the copies, without data.
    Source copies() const {
        const int64_t channel = plane(blocking_), channels = blocking_.channels, image = copied_image(blocking_, channels);
        if (blocking_.blocked) {
            const int64_t row = columns_read_ * kLanes;
            return {nullptr, image, kLanes, channel * kLanes, row, kLanes, problem_.stride_h / row_step(blocking_) * row, problem_.stride_w * kLanes};
        }
        const int64_t planes[4] = {image, channel, columns_read_, 1}, pixels[4] = {image, 1, columns_read_ * channels, channels};
        return in_place_at(nullptr, copies_pixels() ? pixels : planes);
    }

    /// Pixel by pixel, as NHWC has them.
    bool copies_pixels() const {
        return problem_.layout == Layout::kNhwc && pad_.constant;
    }

    static int64_t table_terms(const PixelOrder &order, int64_t channels) {
        return order.groups.back().term + order.groups.back().taps * channels;
    }
    int64_t table_positions(const PixelOrder &order) const {
        return order.groups.back().position + round_up(order.groups.back().count, r_);
    }

    /// What the kernel reads x by. Of each group's terms, channel by channel: the distance from the pixel's position, and the
    /// filter. Of each pixel its position; the rest of a register tile reads what the last pixel does.
    void fill_tables(const PixelOrder &order, const Source &x, int64_t rows, int32_t *position, int32_t *term) const {
        const Conv2dProblem &p = problem_;
        for (size_t i = 0; i < order.groups.size(); i++) {
            const PixelGroup &group = order.groups[i];
            for (int64_t c = 0; c < blocking_.channels; c++) {
                for (int64_t t = 0; t < taps_; t++) {
                    if (t >= 64 || (order.masks[i] >> t & 1) != 0) {
                        *term++ = static_cast<int32_t>(x.channel(c) + t / p.filter_width * p.dilation_h * x.row + t % p.filter_width * p.dilation_w * x.column);
                        *term++ = static_cast<int32_t>(c * taps_ + t);
                    }
                }
            }
            const auto row_at = [&](int64_t row) { return row / rows * x.image + row % rows * x.output_row; };
            if (order.pixels.empty()) {
                // Without a division for each pixel: that was most of the time of planning an image.
                int64_t row = group.begin / out_width_, column = group.begin % out_width_, begin = row_at(row);
                for (int64_t j = 0; j < group.count; j++) {
                    *position++ = static_cast<int32_t>(begin + column * x.output_column);
                    if (++column == out_width_) {
                        column = 0;
                        begin = row_at(++row);
                    }
                }
            } else {
                for (int64_t j = group.begin; j < group.begin + group.count; j++) {
                    const int64_t pixel = order.pixels[static_cast<size_t>(j)];
                    *position++ = static_cast<int32_t>(row_at(pixel / out_width_) + pixel % out_width_ * x.output_column);
                }
            }
            const int64_t rest = round_up(group.count, r_) - group.count;
            std::fill(position, position + rest, *(position - 1));
            position += rest;
        }
    }

    /// A kind of task: as many pixels as fit, or the rest.
    struct Kind {
        int64_t images, rows;
        PixelOrder order;
        std::vector<int32_t> positions, terms;  ///< for copies
        size_t positions_offset = 0, terms_offset = 0;  ///< for images in place, in the workspace
    };

    /// The part of the output that a task computes.
    struct Piece {
        int64_t image, images, g, first_row, rows;
    };

    bool task(const ForwardTensors &t, bool in_place, const float *packed, const PaddedBias &bias, std::byte *workspace, size_t slot, int64_t index, KernelContext &context) const {
        const int64_t part = index % blocking_.oc_parts;
        index /= blocking_.oc_parts;
        Piece piece{};
        piece.first_row = index % strips(blocking_) * blocking_.strip;
        piece.rows = std::min(blocking_.strip, out_height_ - piece.first_row);
        index /= strips(blocking_);
        piece.g = index % problem_.groups;
        piece.image = index / problem_.groups * blocking_.images;
        piece.images = std::min(blocking_.images, problem_.batch - piece.image);
        const int64_t begin = panels_ * part / blocking_.oc_parts, end = panels_ * (part + 1) / blocking_.oc_parts;

        std::byte *scratch = workspace + slots_offset_ + slot * slot_bytes_;
        float *sums = floats_at(scratch, sums_offset_);
        const bool rest = piece.images < blocking_.images || piece.rows < blocking_.strip;
        const Kind &kind = kinds_[rest ? 1 : 0];
        const int32_t *positions = in_place ? ints_at(workspace, kind.positions_offset) : kind.positions.data();
        const int32_t *terms = in_place ? ints_at(workspace, kind.terms_offset) : kind.terms.data();
        for (int64_t c = 0; c < channels_; c += blocking_.channels) {
            const int64_t channels = std::min(blocking_.channels, channels_ - c);
            Source x{};
            if (!prepare(t.input, in_place, piece, c, channels, floats_at(scratch, x_offset_), x, context)) {
                return false;
            }
            const int64_t position_max = (piece.images - 1) * x.image + (piece.rows - 1) * x.output_row + (out_width_ - 1) * x.output_column;
            const int64_t distance_max = x.channel(channels - 1) + (problem_.filter_height - 1) * problem_.dilation_h * x.row + (problem_.filter_width - 1) * problem_.dilation_w * x.column;
            const Floats<1> input(x.data, {{position_max + distance_max + 1, 1}});
            const bool straight = stores_straight(t, kind, piece);
            for (int64_t panel = begin; panel < end; panel++) {
                float *sum = sums + (blocking_.channels < channels_ ? panel * panel_ : 0);
                const Floats<2> filters(packed + ((piece.g * panels_ + panel) * channels_ + c) * taps_ * width_, {{width_, 1}, {channels * taps_, width_}});
                const int64_t at_once = channels_at_once(blocking_);
                for (int64_t part_begin = 0; part_begin < channels; part_begin += at_once) {
                    const int64_t of_part = std::min(at_once, channels - part_begin);
                    for (const PixelGroup &group : kind.order.groups) {
                        float *target = sum + group.begin * width_;
                        const Ints<1> at(positions + group.position, {{round_up(group.count, r_), 1}});
                        const Ints<2> list(terms + 2 * (group.term + part_begin * group.taps), {{2, 1}, {of_part * group.taps, 2}});
                        if (straight) {
                            const int64_t k = panel * width_;
                            const int64_t *s = t.output.s;
                            const Floats<2> pixels(t.output.data + piece.image * s[0] + (piece.g * outputs_ + k) * s[1] + piece.first_row * s[2], {{std::min(width_, outputs_ - k), 1}, {group.count, s[3]}});
                            const Floats<2> biases(bias.of(piece.g, k), {{width_, 1}, {group.count, 0}});
                            if (!call(kernel_, context, filters, input, at, static_cast<int32_t>(position_max), list, static_cast<int32_t>(distance_max), biases, term_block(group), post_.kind, post_.lo, post_.hi, pixels)) {
                                return false;
                            }
                            continue;
                        }
                        const Floats<2> out(target, {{width_, 1}, {group.count, width_}});
                        // The bias first, later what the channels before have summed.
                        const bool first = c + part_begin == 0;
                        const Floats<2> initial(first ? bias.of(piece.g, panel * width_) : target, {{width_, 1}, {group.count, first ? 0 : width_}});
                        if (!call(kernel_, context, filters, input, at, static_cast<int32_t>(position_max), list, static_cast<int32_t>(distance_max), initial, term_block(group), int32_t{0}, 0.0f, 0.0f, out)) {
                            return false;
                        }
                    }
                }
                if (straight || c + channels < channels_) {
                    continue;
                }
                if (!kind.order.pixels.empty()) {
                    float *natural = floats_at(scratch, sorted_offset_);
                    for (size_t i = 0; i < kind.order.pixels.size(); i++) {
                        std::memcpy(natural + kind.order.pixels[i] * width_, sum + static_cast<int64_t>(i) * width_, static_cast<size_t>(width_) * sizeof(float));
                    }
                    sum = natural;
                }
                if (!finish(t, piece, sum, panel * width_, bias, context)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// The same channels make a partial sum in every group, so that the sorting changes no bit.
    int32_t term_block(const PixelGroup &group) const {
        return static_cast<int32_t>(taps_ > kTermBlock ? kTermBlock : std::max<int64_t>(1, kTermBlock / taps_ * group.taps));
    }

    /// Whether the kernel can finish the piece in the caller's tensor: NHWC pixels in the order of summing, one call each.
    bool stores_straight(const ForwardTensors &t, const Kind &kind, const Piece &piece) const {
        const int64_t *s = t.output.s;
        const bool adjacent = s[2] == out_width_ * s[3] && (piece.images == 1 || s[0] == out_height_ * s[2]);
        return problem_.layout == Layout::kNhwc && adjacent && blocking_.channels == channels_ && kind.order.pixels.empty() && t.residual.data == nullptr && static_cast<double>(pixels(blocking_)) * static_cast<double>(s[3]) < double(1 << 28);
    }

    /// Input channels [c, c + channels) of the piece: where they are, or copied with their padding.
    bool prepare(const StridedIn &input, bool in_place, const Piece &piece, int64_t c, int64_t channels, float *scratch, Source &x, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t *s = input.s;
        const float *image = input.data + piece.image * s[0] + (piece.g * channels_ + c) * s[1];
        if (in_place) {
            x = in_place_at(image + piece.first_row * p.stride_h * s[2], s);
            return true;
        }
        x = copies();
        for (int64_t n = 0; n < piece.images; n++) {
            if (blocking_.blocked) {
                if (!copy_blocks(image + n * s[0], s, piece.first_row * p.stride_h - p.pad_top, rows_copied(blocking_, piece.rows), channels, x, scratch + n * x.image, context)) {
                    return false;
                }
                continue;
            }
            if (copies_pixels()) {
                copy_pixels(image + n * s[0], s[2], s[3], piece.first_row * p.stride_h - p.pad_top, rows_read(piece.rows), channels, x, scratch + n * x.image);
                continue;
            }
            const PlanesIn in = {image + n * s[0], p.in_width, p.in_height, channels, s[2], s[1], s[3]};
            const PlanesOut out = {scratch + n * x.image, columns_read_, rows_read(piece.rows), channels, x.row, x.block};
            if (!pad_.run(in, out, 1, 1, -p.pad_left, piece.first_row * p.stride_h - p.pad_top, context)) {
                return false;
            }
        }
        x.data = scratch;
        return true;
    }

    /// `rows` rows of planes from row `top` on, row_step apart, with their padding, to vectors of 16 channels.
    bool copy_blocks(const float *image, const int64_t *s, int64_t top, int64_t rows, int64_t channels, const Source &x, float *scratch, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t step = row_step(blocking_);
        // Inside the image: columns [x0, x1), rows [y0, y1).
        const int64_t x0 = std::min(p.pad_left, columns_read_), x1 = std::clamp(p.in_width + p.pad_left, x0, columns_read_);
        const int64_t y0 = top >= 0 ? 0 : std::min(ceil_div(-top, step), rows), y1 = top >= p.in_height ? y0 : std::clamp(ceil_div(p.in_height - top, step), y0, rows);
        // Dense rows are one long row: the transposition takes 8 columns at a time, the last ones of a row again.
        const bool flat = x0 == 0 && x1 == columns_read_ && s[2] * step == columns_read_;
        const int64_t width = flat ? (y1 - y0) * columns_read_ : x1 - x0, height = flat ? 1 : y1 - y0;
        for (int64_t c = 0; c < channels; c += kLanes) {
            const int64_t count = std::min(kLanes, channels - c);
            float *block = scratch + c / kLanes * x.block;
            std::fill(block, block + y0 * x.row, pad_.value);
            std::fill(block + y1 * x.row, block + rows * x.row, pad_.value);
            for (int64_t y = y0; y < y1 && !flat; y++) {
                std::fill(block + y * x.row, block + y * x.row + x0 * kLanes, pad_.value);
                std::fill(block + y * x.row + x1 * kLanes, block + (y + 1) * x.row, pad_.value);
            }
            if (x1 == x0 || y1 == y0) {
                continue;
            }
            const float *from = image + c * s[1] + (top + y0 * step) * s[2] + (x0 - p.pad_left) * s[3];
            float *to = block + y0 * x.row + x0 * kLanes;
            const Floats<3> planes(from, {{width, 1}, {height, s[2] * step}, {count, s[1]}});
            if (s[3] == 1 && width >= 8 && planes.fits()) {
                if (!call(block_, context, planes, Floats<3>(to, {{kLanes, 1}, {width, kLanes}, {height, x.row}}))) {
                    return false;
                }
                continue;
            }
            for (int64_t y = 0; y < y1 - y0; y++) {
                for (int64_t j = 0; j < x1 - x0; j++) {
                    for (int64_t l = 0; l < count; l++) {
                        to[y * x.row + j * kLanes + l] = from[l * s[1] + y * step * s[2] + j * s[3]];
                    }
                }
            }
        }
        return true;
    }

    /// `rows` rows of an NHWC image from row `top` on, with their padding.
    void copy_pixels(const float *image, int64_t row_stride, int64_t column_stride, int64_t top, int64_t rows, int64_t channels, const Source &x, float *scratch) const {
        const Conv2dProblem &p = problem_;
        for (int64_t i = 0; i < rows; i++) {
            const bool row_inside = top + i >= 0 && top + i < p.in_height;
            for (int64_t j = 0; j < columns_read_; j++) {
                const int64_t column = j - p.pad_left;
                float *target = scratch + i * x.row + j * x.column;
                if (row_inside && column >= 0 && column < p.in_width) {
                    std::memcpy(target, image + (top + i) * row_stride + column * column_stride, static_cast<size_t>(channels) * sizeof(float));
                } else {
                    std::fill_n(target, channels, pad_.value);
                }
            }
        }
    }

    /// Transposes the sums of output channels [k, k + K) to planes, or copies them to NHWC, with residual and post-op.
    bool finish(const ForwardTensors &t, const Piece &piece, const float *sum, int64_t k, const PaddedBias &bias, KernelContext &context) const {
        const int64_t *s = t.output.s, *r = t.residual.s;
        const bool add = t.residual.data != nullptr;
        // Output rows and planes too far apart for 32-bit indices are finished in smaller pieces.
        constexpr int64_t reach = int64_t{1} << 28;
        const int64_t row_step = std::max({s[2], s[3], add ? r[2] : 0, add ? r[3] : 0}), plane_step = std::max(s[1], add ? r[1] : 0);
        // Dense rows are one long row: no run of 16 columns is cut short at their ends.
        const bool near = piece.rows * out_width_ * std::max(s[3], add ? r[3] : 0) <= reach;
        const bool flat = near && s[2] == out_width_ * s[3] && (!add || r[2] == out_width_ * r[3]);
        const int64_t width = flat ? piece.rows * out_width_ : out_width_;
        const int64_t rows = flat ? 1 : piece.rows;
        const int64_t band = std::clamp<int64_t>(reach / row_step, 1, rows);
        const int64_t lanes = std::min(width_, outputs_ - k);
        // One call for all blocks of 16 planes: what the stage takes for rows are the blocks.
        const int64_t whole = flat && reach / plane_step >= width_ ? lanes / kLanes : 0;
        for (int64_t n = 0; n < piece.images; n++) {
            const float *image = sum + n * piece.rows * out_width_ * width_;
            const auto finish_at = [&](int64_t lane, int64_t y, int64_t count, int64_t repeat, int64_t in_step, int64_t planes_step, int64_t rows_step) {
                const int64_t channel = piece.g * outputs_ + k + lane;
                const Floats<3> in(image + y * out_width_ * width_ + lane, {{kLanes, 1}, {round_up(width, kLanes), width_}, {repeat, in_step}});
                float *target = t.output.data + (piece.image + n) * s[0] + channel * s[1] + (piece.first_row + y) * s[2];
                const Floats<3> out(target, {{width, s[3]}, {repeat, planes_step * s[1] + rows_step * s[2]}, {count, s[1]}});
                const Floats<3> residual(add ? t.residual.data + (piece.image + n) * r[0] + channel * r[1] + (piece.first_row + y) * r[2] : target, {{width, add ? r[3] : s[3]}, {repeat, add ? planes_step * r[1] + rows_step * r[2] : planes_step * s[1] + rows_step * s[2]}, {count, add ? r[1] : s[1]}});
                return call(unblock_, context, in, Floats<1>(bias.none(), {{count, 1}}), residual, static_cast<int32_t>(add), post_.kind, post_.lo, post_.hi, out);
            };
            if (whole > 0 && !finish_at(0, 0, kLanes, whole, kLanes, kLanes, 0)) {
                return false;
            }
            for (int64_t lane = whole * kLanes, count; lane < lanes; lane += count) {
                count = std::min({kLanes - lane % kLanes, lanes - lane, std::max<int64_t>(1, reach / plane_step)});
                for (int64_t y = 0; y < rows; y += band) {
                    if (!finish_at(lane, y, count, std::min(band, rows - y), out_width_ * width_, 0, 1)) {
                        return false;
                    }
                }
            }
        }
        return true;
    }

    static const int32_t *ints_at(const std::byte *base, size_t offset) {
        return reinterpret_cast<const int32_t *>(base + offset);
    }
    static int32_t *ints_at(std::byte *base, size_t offset) {
        return reinterpret_cast<int32_t *>(base + offset);
    }

    /// Filters beyond L2 are read in order, by a kernel that leaves the loads idle: measured 30e9, not the model's 12e9.
    static constexpr double kStreamBytesPerSecond = 30e9;
    /// What a kernel gets of L2's 32 beside its arithmetic (Zen 4, AVX2, planes: 9.4 cycles a term of 512 -> 2048 at 7x7, 6.7 of 3x3 with
    /// stride 2, 10.0 of 1x1 with stride 2; `schedules/cpu/conv_direct_oc.cpp`).
    static constexpr double kL2BytesPerCycle = 16.0;

    const Conv2dProblem problem_;
    const Variant &kernel_, &block_, &unblock_;
    const PadStage pad_;
    const KernelPostOp post_;
    const int64_t r_, width_;  ///< pixels and output channels of a register tile
    const FilterPacker packer_;
    const int threads_;
    int64_t outputs_, channels_, panels_, taps_;  ///< of a group
    int64_t out_height_, out_width_, columns_read_;
    bool padded_, may_block_;
    Blocking blocking_{};
    std::vector<Kind> kinds_;
    int64_t panel_ = 0;      ///< floats of a panel's sums
    BiasLayout bias_;
    size_t slots_offset_ = 0, slot_bytes_ = 0, x_offset_ = 0, sums_offset_ = 0, sorted_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_direct_oc(const PlanRequest &request) {
    return best_variant<DirectOcPlan>(request, "conv_direct_oc", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DirectOcPlan>(request, kernel));
    });
}

}  // namespace fourfold
