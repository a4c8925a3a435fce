// fft_tiled where no sum over channels follows: depthwise filters, and images of one channel. Every output plane is one input
// plane with one filter, so a tile is transformed, multiplied by the filter's spectrum and transformed back without leaving
// the caches (generators/lane_rows_forward.cpp, lane_columns.cpp, lane_rows_inverse.cpp).
//
// 16 tiles are done at a time, one to a vector lane, in one of two ways:
//
//     channels as lanes   the same tile of 16 channels, each lane with its own filter        (depthwise)
//     tiles as lanes      16 tiles of one channel, of any row and image, all with one filter (images)
//
// Rows and columns choose their lengths apart. An axis is either cut into overlapping tiles, of which n - f + 1 points are
// valid, or lies in one transform whole, whose wrap-around supplies the zeros of the padding.
//
// A task is one group of 16 tiles from input to output, in scratch memory of its own: no task waits for another, and an image
// of any size needs the memory of a few tiles.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "geometry.h"
#include "lane_transforms.h"
#include "stages.h"
#include "tile_search.h"

namespace fourfold {
namespace {

/// Everything that decides the cost.
struct LaneTiling {
    LaneKernels rows_kernels, columns_kernels;
    TileAxis rows, columns;  ///< the axes: `rows` runs down the image
    bool channel_lanes;

    LaneTiling(const LaneKernels &for_rows, const LaneKernels &for_columns, TileAxis vertical, TileAxis horizontal, bool channels)
        : rows_kernels(for_rows), columns_kernels(for_columns), rows(vertical), columns(horizontal), channel_lanes(channels) {
    }
    int64_t half() const {
        return columns.n / 2 + 1;
    }
    int64_t groups(const Conv2dProblem &p) const {
        const int64_t tiles = rows.tiles * columns.tiles;
        return channel_lanes ? ceil_div(p.in_channels, kLanes) * p.batch * tiles : p.in_channels * ceil_div(p.batch * tiles, kLanes);
    }
    /// One line more than a column needs: columns a power of two apart would share few lines of L1.
    int64_t column_pitch() const {
        return rows.n * 2 * kLanes + kLanes;
    }
    /// As a plan's choice: "lane_columns_avx512_n60_lanes rows=60w columns=96", w for whole axes in one transform.
    std::string choice() const {
        return std::string(product()->name) + " rows=" + rows.name() + " columns=" + columns.name();
    }
    const Variant *product() const {
        return channel_lanes ? rows_kernels.columns_lanes : rows_kernels.columns_one;
    }
    double spectrum_floats() const {
        return static_cast<double>(half()) * static_cast<double>(column_pitch());
    }
    int64_t width() const {
        return std::max(columns.read, kRowBlock);
    }
    int64_t scratch_pitch() const {
        return round_up(width(), kLanes);
    }
    double packed_floats(const Conv2dProblem &p) const {
        const double one = 2.0 * static_cast<double>(half()) * static_cast<double>(rows.n);
        const int64_t filters = channel_lanes ? round_up(p.in_channels, kLanes) * (p.out_channels / p.in_channels) : p.out_channels;
        return one * static_cast<double>(filters);
    }
    double seconds(const Conv2dProblem &p, const CostModel &model) const;
    double besides(const Conv2dProblem &p, const CostModel &model) const;
};

/// Counted operations, 2.5 N log2 N for a real transform and 5 for a complex one, at 2.8 a cycle and vector where a length is
/// 2^k*odd with 2^k <= 8, and fewer where transforms of 16 points spill; measured on Zen 5, AVX-512.
double LaneTiling::seconds(const Conv2dProblem &p, const CostModel &model) const {
    const double vectors = static_cast<double>(kLanes) / model.lanes;
    const auto cycles = [](double counted, int64_t n) { return counted * static_cast<double>(n) * std::log2(static_cast<double>(n)) / (n % 16 == 0 ? 2.3 : 2.8); };
    const double outputs = static_cast<double>(p.out_channels / p.in_channels);
    const double read = static_cast<double>(rows.read), kept = static_cast<double>(rows.step);
    const double forward = read * cycles(2.5, columns.n) + 2.0 * read * static_cast<double>(columns.read);
    const double multiply = static_cast<double>(half()) * cycles(10.0, rows.n) + 2.0 * spectrum_floats() / kLanes;
    const double inverse = kept * cycles(2.5, columns.n) + 2.5 * kept * static_cast<double>(columns.step);
    double seconds = vectors * (forward + outputs * (multiply + inverse)) / model.hertz;
    // Spectra that do not stay in L2 travel four times.
    const double bytes = 4.0 * spectrum_floats() * (outputs > 1 ? 2 : 1);
    if (bytes > 0.6 * static_cast<double>(machine().l2_bytes)) {
        seconds += 4.0 * outputs * bytes / 50e9;
    }
    if (channel_lanes) {
        seconds += 4.0 * spectrum_floats() * outputs / 40e9;  // filters
    }
    seconds += (5.0 + 3.0 * outputs) * model.call_seconds;
    // The other algorithms' predictions are 1.3 to 3 times what they measure; without most of that, small filters that
    // direct does sooner would come here.
    return 1.7 * static_cast<double>(groups(p)) * seconds + besides(p, model);
}

/// What small images take besides transforms. 256x256 with 7x7, Zen 4: 88 calls that unblock, and by reflection 0.048 ms of padding, of 0.21.
double LaneTiling::besides(const Conv2dProblem &p, const CostModel &model) const {
    double seconds = 0.0;
    if (!channel_lanes) {
        // A row of tiles is about two runs of equal tiles, each in bands of rows.
        const int64_t runs = rows.tiles * std::min<int64_t>(columns.tiles, 2);
        seconds += static_cast<double>(p.batch * p.out_channels * runs * ceil_div(rows.step, kBand)) * model.call_seconds;
    }
    const bool pads = p.pad_top != 0 || p.pad_bottom != 0 || p.pad_left != 0 || p.pad_right != 0;
    if (pads && p.padding_mode != PaddingMode::kZeros && p.padding_mode != PaddingMode::kConstant) {
        // A group is copied, pixel by pixel from its place, when one of its tiles reaches beyond the image.
        int64_t top = 0, bottom = 0, left = 0, right = 0;
        rows.inside(top, bottom);
        columns.inside(left, right);
        const double inner_rows = static_cast<double>(bottom - top) / static_cast<double>(rows.tiles);
        const double edges = channel_lanes ? static_cast<double>(columns.tiles - (right - left)) : 2.0 * kLanes;
        const double copied = 1.0 - inner_rows * std::max(0.0, 1.0 - edges / static_cast<double>(columns.tiles));
        seconds += copied * static_cast<double>(groups(p) * kLanes) * (static_cast<double>(rows.read * columns.read) * 0.6e-9 + model.call_seconds);
    }
    return seconds;
}

class FftPlanesPlan final : public AlgorithmPlan {
public:
    FftPlanesPlan(const PlanRequest &request, const LaneTiling &tiling)
        : problem_(request.problem), tiling_(tiling), rows_(tiling.rows), columns_(tiling.columns), rows_forward_(*tiling.columns_kernels.rows_forward), rows_inverse_(*tiling.columns_kernels.rows_inverse), multiply_(*tiling.product()), transform_(*tiling.rows_kernels.columns_none), pad_(PadStage::find(problem_)), place_(*find_variant("place_filters")), unblock_(*find_variant("unblock_channels", "layout=nchw")), post_(kernel_post_op(problem_)), threads_(request.options.threads), half_(tiling.half()), column_pitch_(tiling.column_pitch()) {
        const Conv2dProblem &p = problem_;
        variant = multiply_.name;
        pack_rate = 3e9;
        choice = tiling.choice();
        outputs_ = p.out_channels / p.in_channels;
        groups_ = tiling_.groups(p);
        rows_.inside(inside_top_, inside_bottom_);
        columns_.inside(inside_left_, inside_right_);
        row_places_ = AxisTaps(tap_positions(p.filter_height, p.dilation_h, 0), 1).filter_places(p.filter_mode, [&](int64_t shift) { return rows_.place(shift); });
        column_places_ = AxisTaps(tap_positions(p.filter_width, p.dilation_w, 0), 1).filter_places(p.filter_mode, [&](int64_t shift) { return columns_.place(shift); });
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        const double packed = tiling_.packed_floats(p) * sizeof(float);
        if (packed > 1e15) {
            return Status(StatusCode::kResourceExhausted, "the filter spectra would need over 10^15 bytes");
        }
        packed_bytes = static_cast<size_t>(round_up(static_cast<int64_t>(packed), static_cast<int64_t>(kAlignment)));
        Arena slot;
        const double spectrum = tiling_.spectrum_floats();
        spectrum_offset_ = slot.reserve_floats(spectrum);
        product_offset_ = outputs_ > 1 ? slot.reserve_floats(spectrum) : spectrum_offset_;
        // Padded tiles are read before the output rows are written. A piece from lane i on is read 16 wide.
        const double scratch = static_cast<double>(kLanes * rows_.read * tiling_.scratch_pitch());
        const double blocked = static_cast<double>(rows_.step * columns_.n * kLanes + 2 * kLanes * kLanes);
        tiles_offset_ = slot.reserve_floats(std::max(scratch, outputs_ > 1 ? 0 : blocked));
        blocked_offset_ = outputs_ > 1 ? slot.reserve_floats(blocked) : tiles_offset_;
        heap_offset_ = slot.reserve(static_cast<double>(heap_bytes()));
        slot_bytes_ = slot.bytes();
        serial_workspace_bytes = workspace_bytes = slot_bytes_;
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(groups_), workspace_limit / slot_bytes_}));
        workspace_bytes = slot_bytes_ * static_cast<size_t>(slots_);

        Arena pack;
        pack_planes_offset_ = pack.reserve_floats(static_cast<double>(kLanes * rows_.n * columns_.n));
        pack_spectrum_offset_ = pack.reserve_floats(spectrum);
        pack_heap_offset_ = pack.reserve(static_cast<double>(heap_bytes()));
        pack_slot_bytes_ = pack.bytes();
        const auto pack_tasks = static_cast<size_t>(filter_blocks());
        pack_slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), pack_tasks, std::max<size_t>(1, workspace_limit / pack_slot_bytes_)}));
        pack_workspace_bytes = pack_slot_bytes_ * static_cast<size_t>(pack_slots_);

        layout = "fft_tiled planes " + rows_.name() + " " + columns_.name() + (tiling_.channel_lanes ? " lanes" : " one");
        details = "tiles of " + std::to_string(rows_.n) + "x" + std::to_string(columns_.n) + " that advance by " + std::to_string(rows_.step) + "x" + std::to_string(columns_.step) + ", " + std::to_string(rows_.tiles) + "x" + std::to_string(columns_.tiles) + " to a plane, 16 " + (tiling_.channel_lanes ? "channels" : "tiles") + " at a time";
        const CostModel model(multiply_.isa);
        const double serial = tiling_.seconds(p, model);
        serial_seconds = serial + 2e-6;
        predicted_seconds = serial / CostModel::parallel(threads_, groups_) + 2e-6;
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(rows_.n) * static_cast<double>(columns_.n)));
        return parallel_for(execution, pack_slots_, filter_blocks(), [&](int64_t index, int slot, KernelContext &context) {
            std::byte *base = workspace + static_cast<size_t>(slot) * pack_slot_bytes_;
            give_heap(context, base, pack_heap_offset_);
            float *planes = floats_at(base, pack_planes_offset_);
            float *spectrum = floats_at(base, pack_spectrum_offset_);
            // Of channels as lanes: output index % outputs of each of 16 channels. Else 16 consecutive outputs.
            const int64_t first = tiling_.channel_lanes ? index / outputs_ * kLanes * outputs_ + index % outputs_ : index * kLanes;
            const int64_t step = tiling_.channel_lanes ? outputs_ : 1;
            const int64_t count = std::min(kLanes, ceil_div(p.out_channels - first, step));
            const int64_t pitch = columns_.n, plane = rows_.n * pitch;
            const Ints<1> places_h(row_places_.data(), {{p.filter_height, 1}});
            const Ints<1> places_w(column_places_.data(), {{p.filter_width, 1}});
            // Filters may lie far apart: one call each.
            for (int64_t l = 0; l < count; l++) {
                const Floats<3> from(w.data + (first + l * step) * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, 0}});
                const Floats<3> to(planes + l * plane, {{pitch, 1}, {rows_.n, pitch}, {1, plane}});
                if (!call(place_, context, from, places_h, places_w, to)) {
                    return false;
                }
            }
            int32_t at[kLanes];
            for (int64_t l = 0; l < kLanes; l++) {
                at[l] = static_cast<int32_t>(l < count ? l * plane : 0);
            }
            const Floats<1> in(planes, {{kLanes * plane, 1}});
            const Ints<1> lanes(at, {{kLanes, 1}});
            if (!call(rows_forward_, context, in, lanes, static_cast<int32_t>(pitch), static_cast<int32_t>(pitch), rows_view(spectrum, rows_.n))) {
                return false;
            }
            if (tiling_.channel_lanes) {
                const int64_t dense = rows_.n * 2 * kLanes;
                const Floats<4> out(floats_at(packed, 0) + index * half_ * dense, {{kLanes, 1}, {2, kLanes}, {rows_.n, 2 * kLanes}, {half_, dense}});
                return call(transform_, context, columns_view(spectrum), columns_view(spectrum), scale, out);
            }
            if (!call(transform_, context, columns_view(spectrum), columns_view(spectrum), scale, columns_view(spectrum))) {
                return false;
            }
            const int64_t column = rows_.n * 2;
            for (int64_t l = 0; l < count; l++) {
                float *to = floats_at(packed, 0) + (first + l) * half_ * column;
                for (int64_t kx = 0; kx < half_; kx++) {
                    for (int64_t i = 0; i < column; i++) {
                        to[kx * column + i] = spectrum[kx * column_pitch_ + i * kLanes + l];
                    }
                }
            }
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return parallel_for(execution, slots_, groups_, [&](int64_t index, int slot, KernelContext &context) {
            std::byte *base = workspace + static_cast<size_t>(slot) * slot_bytes_;
            give_heap(context, base, heap_offset_);
            Lane lanes[kLanes];
            const int64_t count = group(index, lanes);
            if (!transform_input(t.input, lanes, count, base, context)) {
                return false;
            }
            const float *filters = floats_at(packed, 0);
            for (int64_t j = 0; j < outputs_; j++) {
                const int64_t one = half_ * rows_.n * 2;
                const int64_t c = lanes[0].channel, vector = tiling_.channel_lanes ? kLanes : 1;
                const float *w = filters + (tiling_.channel_lanes ? c / kLanes * outputs_ + j : c * outputs_ + j) * one * vector;
                const Floats<4> spectra(w, {{vector, 1}, {2, vector}, {rows_.n, 2 * vector}, {half_, rows_.n * 2 * vector}});
                float *product = floats_at(base, product_offset_);
                float *blocked = floats_at(base, blocked_offset_);
                int64_t valid = 0;
                for (int64_t l = 0; l < count; l++) {
                    valid = std::max(valid, rows_.skipped(lanes[l].ty) + rows_.count(lanes[l].ty));
                }
                const Floats<3> rows(blocked, {{kLanes, 1}, {columns_.n, kLanes}, {valid, columns_.n * kLanes}});
                if (!call(multiply_, context, columns_view(floats_at(base, spectrum_offset_)), spectra, 1.0f, columns_view(product)) ||
                    !call(rows_inverse_, context, rows_view(product, valid), rows) || !finish(t, lanes, count, j, blocked, context)) {
                    return false;
                }
            }
            return true;
        });
    }

private:
    /// A tile of a plane.
    struct Lane {
        int64_t image, channel, ty, tx;
    };

    /// What long transforms put between their passes.
    size_t heap_bytes() const {
        return static_cast<size_t>(2 * std::max(rows_.n, columns_.n) * 2 * kLanes) * sizeof(float) + 4 * kAlignment;
    }
    void give_heap(KernelContext &context, std::byte *base, size_t offset) const {
        context.heap = base + offset;
        context.heap_bytes = heap_bytes();
    }
    int64_t filter_blocks() const {
        return tiling_.channel_lanes ? ceil_div(problem_.in_channels, kLanes) * outputs_ : ceil_div(problem_.out_channels, kLanes);
    }
    Floats<4> rows_view(float *spectrum, int64_t rows) const {
        return Floats<4>(spectrum, {{kLanes, 1}, {2, kLanes}, {half_, column_pitch_}, {rows, 2 * kLanes}});
    }
    Floats<4> columns_view(float *spectrum) const {
        return Floats<4>(spectrum, {{kLanes, 1}, {2, kLanes}, {rows_.n, 2 * kLanes}, {half_, column_pitch_}});
    }

    /// The tiles of a group; how many there are.
    int64_t group(int64_t index, Lane (&lanes)[kLanes]) const {
        const Conv2dProblem &p = problem_;
        const int64_t tiles = rows_.tiles * columns_.tiles;
        if (tiling_.channel_lanes) {
            const int64_t tile = index % tiles, image = index / tiles % p.batch, first = index / tiles / p.batch * kLanes;
            const int64_t count = std::min(kLanes, p.in_channels - first);
            for (int64_t l = 0; l < count; l++) {
                lanes[l] = {image, first + l, tile / columns_.tiles, tile % columns_.tiles};
            }
            return count;
        }
        const int64_t per_channel = ceil_div(p.batch * tiles, kLanes);
        const int64_t channel = index / per_channel, first = index % per_channel * kLanes;
        const int64_t count = std::min(kLanes, p.batch * tiles - first);
        for (int64_t l = 0; l < count; l++) {
            lanes[l] = numbered(first + l);
            lanes[l].channel = channel;
        }
        return count;
    }
    /// Tiles of all images, those first that read the image only.
    Lane numbered(int64_t i) const {
        const int64_t height = inside_bottom_ - inside_top_, width = inside_right_ - inside_left_, inside = height * width;
        if (i < problem_.batch * inside) {
            return {i / inside, 0, inside_top_ + i % inside / width, inside_left_ + i % inside % width};
        }
        i -= problem_.batch * inside;
        const int64_t edge = rows_.tiles * columns_.tiles - inside;
        const int64_t image = i / edge, whole_rows = width > 0 ? rows_.tiles - height : rows_.tiles;
        i %= edge;
        if (i < whole_rows * columns_.tiles) {
            const int64_t row = i / columns_.tiles;
            return {image, 0, width > 0 && row >= inside_top_ ? row + height : row, i % columns_.tiles};
        }
        i -= whole_rows * columns_.tiles;
        const int64_t beside = columns_.tiles - width, column = i % beside;
        return {image, 0, inside_top_ + i / beside, column < inside_left_ ? column : column + width};
    }

    /// Spectra of the rows of a group's tiles, read where they lie if all of them lie in the image.
    bool transform_input(const StridedIn &input, const Lane *lanes, int64_t count, std::byte *base, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const auto plane = [&](const Lane &lane) { return input.data + lane.image * input.s[0] + lane.channel * input.s[1]; };
        float *spectrum = floats_at(base, spectrum_offset_);
        for (int64_t kx = 0; kx < half_ && rows_.read < rows_.n; kx++) {
            std::fill_n(spectrum + kx * column_pitch_ + rows_.read * 2 * kLanes, (rows_.n - rows_.read) * 2 * kLanes, 0.0f);
        }
        int32_t at[kLanes] = {};
        const float *from = nullptr;
        int64_t pitch = input.s[2], width = columns_.read, span = 0;
        if (width >= kRowBlock && std::all_of(lanes, lanes + count, [&](const Lane &lane) { return is_inside(lane); })) {
            const float *begin = nullptr, *end = nullptr;
            const float *tiles[kLanes];
            for (int64_t l = 0; l < count; l++) {
                tiles[l] = plane(lanes[l]) + rows_.origin(lanes[l].ty) * pitch + columns_.origin(lanes[l].tx);
                begin = l == 0 ? tiles[l] : std::min(begin, tiles[l]);
                end = l == 0 ? tiles[l] : std::max(end, tiles[l]);
            }
            span = end - begin + (rows_.read - 1) * pitch + width;
            if (span <= kReach) {
                from = begin;
                for (int64_t l = 0; l < kLanes; l++) {
                    at[l] = static_cast<int32_t>(tiles[l < count ? l : 0] - begin);
                }
            }
        }
        const bool in_place = from != nullptr;
        if (!in_place) {
            float *scratch = floats_at(base, tiles_offset_);
            width = tiling_.width();
            pitch = tiling_.scratch_pitch();
            const int64_t tile = rows_.read * pitch;
            // Channels of one tile are padded in one call.
            const int64_t at_once = tiling_.channel_lanes ? count : 1;
            for (int64_t l = 0; l < count; l += at_once) {
                const PlanesIn in = {plane(lanes[l]), p.in_width, p.in_height, at_once, input.s[2], input.s[1]};
                const PlanesOut out = {scratch + l * tile, width, rows_.read, at_once, pitch, tile};
                if (!pad_.run_within(in, out, columns_.read, rows_.read, 1, 1, columns_.origin(lanes[l].tx), rows_.origin(lanes[l].ty), context)) {
                    return false;
                }
            }
            for (int64_t l = 0; l < kLanes; l++) {
                at[l] = static_cast<int32_t>(l < count ? l * tile : 0);
            }
            from = scratch;
            span = kLanes * tile;
        }
        const Ints<1> offsets(at, {{kLanes, 1}});
        const int64_t band = in_place ? kBand : rows_.read;
        for (int64_t y = 0; y < rows_.read; y += band) {
            const int64_t height = std::min(band, rows_.read - y);
            if (in_place) {
                // Rows of the first band all at once, then those of the band after this one.
                const int64_t next = y == 0 ? 0 : y + band, end = std::min(y + 2 * band, rows_.read);
                for (int64_t l = 0; l < count; l++) {
                    prefetch<0>(from + at[l] + next * pitch, width, end - next, pitch);
                }
            }
            const Floats<1> pixels(from + y * pitch, {{span - y * pitch, 1}});
            const Floats<4> out(spectrum + y * 2 * kLanes, {{kLanes, 1}, {2, kLanes}, {half_, column_pitch_}, {height, 2 * kLanes}});
            if (!call(rows_forward_, context, pixels, offsets, static_cast<int32_t>(pitch), static_cast<int32_t>(width), out)) {
                return false;
            }
        }
        return true;
    }
    bool is_inside(const Lane &lane) const {
        return lane.ty >= inside_top_ && lane.ty < inside_bottom_ && lane.tx >= inside_left_ && lane.tx < inside_right_;
    }

    /// Valid rows of a group to output j of each lane's channel, run by run of lanes that lie at equal distances.
    bool finish(const ForwardTensors &t, const Lane *lanes, int64_t count, int64_t j, const float *blocked, KernelContext &context) const {
        const int64_t *s = t.output.s, *r = t.residual.s;
        const bool add = t.residual.data != nullptr;
        const int64_t lane_row = columns_.n * kLanes;
        for (int64_t l = 0, run; l < count; l += run) {
            const Lane &a = lanes[l];
            const int64_t width = columns_.count(a.tx), height = rows_.count(a.ty);
            const bool channels = tiling_.channel_lanes;
            run = 1;
            while (l + run < count && (channels || continues(a, lanes[l + run], run))) {
                run++;
            }
            const int64_t step = channels ? s[1] * outputs_ : columns_.step, residual_step = channels ? r[1] * outputs_ : columns_.step;
            float bias[kLanes];
            for (int64_t i = 0; i < run; i++) {
                bias[i] = t.bias == nullptr ? 0.0f : t.bias[lanes[l + i].channel * outputs_ + j];
            }
            // Rows and planes too far apart for 32-bit indices are finished in smaller pieces.
            const int64_t band = std::clamp<int64_t>(kReach / std::max(s[2], add ? r[2] : 0), 1, std::min(height, kBand));
            const int64_t at_once = run == 1 ? 1 : std::clamp<int64_t>(kReach / std::max(step, add ? residual_step : 0), 1, run);
            const int64_t channel = a.channel * outputs_ + j, left = a.tx * columns_.step, top = a.ty * rows_.step;
            const float *from = blocked + rows_.skipped(a.ty) * lane_row + columns_.skipped(a.tx) * kLanes + l;
            float *to = t.output.data + a.image * s[0] + channel * s[1] + top * s[2] + left;
            const float *plus = add ? t.residual.data + a.image * r[0] + channel * r[1] + top * r[2] + left : to;
            for (int64_t i = 0; i < run; i += at_once) {
                const int64_t planes = std::min(at_once, run - i);
                for (int64_t y = 0; y < height; y += band) {
                    const int64_t rows = std::min(band, height - y);
                    const int64_t next = y == 0 ? 0 : y + band, end = std::min(y + 2 * band, height);
                    for (int64_t plane = i; plane < i + planes; plane++) {
                        prefetch<1>(to + plane * step + next * s[2], width, end - next, s[2]);
                    }
                    const Floats<3> source(from + y * lane_row + i, {{kLanes, 1}, {round_up(width, kLanes), kLanes}, {rows, lane_row}});
                    const Floats<3> out(to + y * s[2] + i * step, {{width, 1}, {rows, s[2]}, {planes, step}});
                    const Floats<3> residual(plus + (add ? y * r[2] + i * residual_step : y * s[2] + i * step), {{width, 1}, {rows, add ? r[2] : s[2]}, {planes, add ? residual_step : step}});
                    const Floats<1> biases(bias + i, {{planes, 1}});
                    if (!call(unblock_, context, source, biases, residual, static_cast<int32_t>(add), post_.kind, post_.lo, post_.hi, out)) {
                        return false;
                    }
                }
            }
        }
        return true;
    }
    /// Whether tile b continues the run of full tiles that a begins.
    bool continues(const Lane &a, const Lane &b, int64_t run) const {
        return b.image == a.image && b.ty == a.ty && b.tx == a.tx + run && columns_.count(b.tx) == columns_.count(a.tx) && columns_.skipped(b.tx) == columns_.skipped(a.tx);
    }

    const Conv2dProblem problem_;
    const LaneTiling tiling_;
    const TileAxis rows_, columns_;
    const Variant &rows_forward_, &rows_inverse_, &multiply_, &transform_;
    const PadStage pad_;
    const Variant &place_, &unblock_;
    const KernelPostOp post_;
    const int threads_;
    const int64_t half_, column_pitch_;  ///< frequencies of a row; floats between columns of a spectrum
    int64_t outputs_ = 1, groups_ = 0;   ///< outputs of an input channel; groups of 16 tiles
    int64_t inside_top_ = 0, inside_bottom_ = 0, inside_left_ = 0, inside_right_ = 0;
    std::vector<int32_t> row_places_, column_places_;
    int slots_ = 1, pack_slots_ = 1;
    size_t slot_bytes_ = 0, spectrum_offset_ = 0, product_offset_ = 0, tiles_offset_ = 0, blocked_offset_ = 0, heap_offset_ = 0;
    size_t pack_slot_bytes_ = 0, pack_heap_offset_ = 0, pack_planes_offset_ = 0, pack_spectrum_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled_planes(const PlanRequest &request) {
    if (Status status = lane_transforms_take(request.problem); !status.ok()) {
        return status;
    }
    const Result<NamedProduct> named = named_product(request, "lane_columns");
    if (!named) {
        return named.status();
    }
    return best_tiling<FftPlanesPlan, LaneTiling>(request, *named, "lane_columns", lane_lengths(named->isa), [](const LaneKernels &down, const LaneKernels &across, const TileAxis &rows, const TileAxis &columns, std::vector<LaneTiling> &list) {
        for (const bool channel_lanes : {false, true}) {
            list.emplace_back(down, across, rows, columns, channel_lanes);
        }
    });
}

}  // namespace fourfold
