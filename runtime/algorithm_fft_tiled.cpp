// fft_tiled (overlap-save): the image is cut into overlapping t x t tiles, each transformed, multiplied per frequency with
// the filters' spectra summed over channels (a complex GEMM), and transformed back; t - f + 1 rows and columns of a tile are
// valid. The transforms are generated (generators/tile_forward.cpp), 16 channels to a vector.
//
// Work goes block by block of tile rows, so that a block's spectra stay in the caches, in three phases of parallel tasks:
//
//     tile row x 16 channels   pad -> block_channels -> tile_forward -> X[f][tile][part][channel]
//     runs of frequencies      tile_product                          -> Y[f][tile][part][output]
//     tile row x 16 outputs    tile_inverse -> unblock_channels (bias, residual, post-op) -> y
//
// Stride and dilation by decimation (geometry.h): the phases are further channels.
// Without channels to sum over, algorithm_fft_tiled_planes.cpp is the other way to plan.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "geometry.h"
#include "kernel.h"
#include "stages.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kLanes = 16;  ///< channels to a vector in the tile stages

/// The stages of one tile size.
struct TileKernels {
    const Variant *forward;
    const Variant *inverse;
    int64_t t;
};

/// The tile sizes of a rung of the ladder.
std::vector<TileKernels> tile_sizes(Isa isa) {
    std::vector<TileKernels> list;
    for (const Variant &forward : registry()) {
        if (forward.isa != isa || std::strcmp(forward.stage, "tile_forward") != 0) {
            continue;
        }
        for (const Variant &inverse : registry()) {
            if (inverse.isa == isa && std::strcmp(inverse.stage, "tile_inverse") == 0 && std::strcmp(inverse.parameters, forward.parameters) == 0) {
                list.push_back({&forward, &inverse, forward.parameter("t", 0)});
            }
        }
    }
    return list;
}

class FftTiledPlan final : public AlgorithmPlan {
public:
    FftTiledPlan(const PlanRequest &request, const Variant &product, const TileKernels &tile)
        : problem_(request.problem), product_(product), tile_(tile), pad_(PadStage::find(problem_)), place_(*find_variant("place_filters")), block_(*find_variant("block_channels")), unblock_(*find_variant("unblock_channels")), pack_(*find_variant("pack_tile_filters")), post_(kernel_post_op(problem_)), rows_(tap_positions(problem_.filter_height, problem_.dilation_h, 0), problem_.stride_h), columns_(tap_positions(problem_.filter_width, problem_.dilation_w, 0), problem_.stride_w), threads_(request.options.threads), t_(tile.t), r_(product.parameter("r", 1)), width_(kLanes * product.parameter("v", 1)) {
        variant = product.name;
        const Conv2dProblem &p = problem_;
        step_h_ = t_ - rows_.shift_max;
        step_w_ = t_ - columns_.shift_max;
        real_channels_ = p.in_channels / p.groups;
        phases_ = static_cast<int64_t>(rows_.phases.size() * columns_.phases.size());
        channels_ = real_channels_ * phases_;
        outputs_ = p.out_channels / p.groups;
        channel_blocks_ = ceil_div(channels_, kLanes);
        output_blocks_ = ceil_div(outputs_, width_);
        frequencies_ = t_ * (t_ / 2 + 1);
        tiles_w_ = ceil_div(p.out_width(), std::max<int64_t>(1, step_w_));
        tiles_h_ = ceil_div(p.out_height(), std::max<int64_t>(1, step_h_));
        strip_width_ = round_up((tiles_w_ - 1) * step_w_ + t_, kLanes);
        out_width_ = round_up(tiles_w_ * step_w_, kLanes);
        const auto as_is = [](int64_t shift) { return shift; };
        row_places_ = rows_.filter_places(p.filter_mode, as_is);
        column_places_ = columns_.filter_places(p.filter_mode, as_is);
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (step_h_ < 1 || step_w_ < 1) {
            return Status(StatusCode::kUnsupported, "the filter spans " + std::to_string(rows_.shift_max + 1) + "x" + std::to_string(columns_.shift_max + 1) + " after decimation; the tile is " + std::to_string(t_) + "x" + std::to_string(t_));
        }
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        packed_bytes = 0;
        const double packed = static_cast<double>(p.groups * frequencies_) * static_cast<double>(output_blocks_ * width_) * static_cast<double>(channels_) * 2.0 * sizeof(float);
        if (packed > 1e15) {
            return Status(StatusCode::kResourceExhausted, "the filter spectra would need over 10^15 bytes");
        }
        packed_bytes = static_cast<size_t>(packed);
        // A block's spectra should stay in L2, but each block reads all filter spectra once: the larger those are, the more
        // tiles should share them.
        const double per_row = spectra_floats(1) * sizeof(float);
        const double l2 = static_cast<double>(machine().l2_bytes), l3 = static_cast<double>(machine().l3_bytes);
        const double budget = std::clamp(packed / static_cast<double>(p.groups) / 2, 1.5 * l2, std::max(1.5 * l2, l3 / 3));
        tile_rows_ = std::clamp<int64_t>(static_cast<int64_t>(budget / per_row), 1, p.batch * tiles_h_);
        tile_rows_ = ceil_div(p.batch * tiles_h_, ceil_div(p.batch * tiles_h_, tile_rows_));
        slots_ = 1;
        lay_out();
        while (workspace_bytes > workspace_limit) {
            if (tile_rows_ == 1) {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            tile_rows_ = (tile_rows_ + 1) / 2;
            lay_out();
        }
        if (static_cast<double>(x_frequency_) * static_cast<double>(frequencies_) > double(1 << 29) || static_cast<double>(y_frequency_) * static_cast<double>(frequencies_) > double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "the spectra of one row of tiles are 2^31 bytes or more, beyond a kernel call's reach");
        }
        if (output_blocks_ * channels_ * 2 * width_ >= (int64_t{1} << 29)) {
            return Status(StatusCode::kUnsupported, "the filter spectra of one frequency are 2^31 bytes or more, beyond a kernel call's reach");
        }
        serial_workspace_bytes = workspace_bytes;
        const int64_t tasks = tile_rows_ * std::max(channel_blocks_, ceil_div(outputs_, kLanes));
        const size_t affordable = 1 + (workspace_limit - workspace_bytes) / slot_bytes_;
        slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(tasks), affordable}));
        lay_out();
        const size_t pack_tasks = static_cast<size_t>(p.groups * output_blocks_ * channel_blocks_);
        pack_slots_ = static_cast<int64_t>(std::min({static_cast<size_t>(threads_), pack_tasks, std::max<size_t>(1, workspace_limit / pack_slot_bytes_)}));
        pack_workspace_bytes = pack_slot_bytes_ * static_cast<size_t>(pack_slots_);
        layout = "fft_tiled t" + std::to_string(t_) + " k" + std::to_string(width_);
        details = "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(step_h_) + "x" + std::to_string(step_w_) + ", " + std::to_string(p.batch * tiles_h_) + " rows of " + std::to_string(tiles_w_) + " tiles, " + std::to_string(tile_rows_) + " rows at a time, " + std::to_string(phases_) + " phases";
        predict();
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(t_) * static_cast<double>(t_)));
        return parallel_for(execution, static_cast<int>(pack_slots_), p.groups * output_blocks_ * channel_blocks_, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t cb = index % channel_blocks_;
            const int64_t kb = index / channel_blocks_ % output_blocks_;
            const int64_t g = index / channel_blocks_ / output_blocks_;
            std::byte *base = workspace + static_cast<size_t>(slot) * pack_slot_bytes_;
            give_heap(context, base, pack_heap_offset_);
            float *planes = floats_at(base, pack_planes_offset_);
            float *blocked = floats_at(base, pack_blocked_offset_);
            float *spectra = floats_at(base, pack_spectra_offset_);
            const int64_t first = cb * kLanes, count = std::min(kLanes, channels_ - first);
            const int64_t outputs = std::min(width_, outputs_ - kb * width_);
            const int64_t pitch = round_up(t_, kLanes), plane = t_ * pitch + kLanes;
            const int64_t frequency = width_ * 2 * kLanes;
            for (int64_t k = 0; k < outputs; k++) {
                const float *filter = w.data + (g * outputs_ + kb * width_ + k) * w.s[0];
                for (int64_t v = first; v < first + count;) {
                    // A run of real channels of one phase.
                    const int64_t phase = v / real_channels_, c = v % real_channels_;
                    const int64_t run = std::min(first + count - v, real_channels_ - c);
                    const int64_t phase_columns = static_cast<int64_t>(columns_.phases.size());
                    const Floats<3> from(filter + c * w.s[1], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {run, w.s[1]}});
                    const Ints<1> rows(row_places_.data() + phase / phase_columns * p.filter_height, {{p.filter_height, 1}});
                    const Ints<1> cols(column_places_.data() + phase % phase_columns * p.filter_width, {{p.filter_width, 1}});
                    const Floats<3> to(planes + (v - first) * plane, {{pitch, 1}, {t_, pitch}, {run, plane}});
                    if (!call(place_, context, from, rows, cols, to)) {
                        return false;
                    }
                    v += run;
                }
                const Floats<3> flat(planes, {{pitch, 1}, {t_, pitch}, {count, plane}});
                const Floats<3> channels(blocked, {{kLanes, 1}, {pitch, kLanes}, {t_, pitch * kLanes}});
                const Floats<5> tile(blocked, {{kLanes, 1}, {t_, kLanes}, {1, t_ * kLanes}, {t_, pitch * kLanes}, {1, t_ * pitch * kLanes}});
                const Floats<6> out(spectra + k * 2 * kLanes, {{kLanes, 1}, {1, kLanes}, {2, kLanes}, {1, 2 * kLanes}, {t_, frequency}, {t_ / 2 + 1, frequency * t_}});
                if (!call(block_, context, flat, channels) || !call(*tile_.forward, context, tile, out)) {
                    return false;
                }
            }
            const int64_t step = output_blocks_ * channels_ * 2 * width_;
            float *target = floats_at(packed, 0) + g * frequencies_ * step + (kb * channels_ + first) * 2 * width_;
            const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 28) / step, 1, frequencies_);
            for (int64_t f = 0; f < frequencies_; f += at_once) {
                const int64_t n = std::min(at_once, frequencies_ - f);
                const Floats<4> from(spectra + f * frequency, {{count, 1}, {2, kLanes}, {outputs, 2 * kLanes}, {n, frequency}});
                const Floats<5> to(target + f * step, {{width_, 1}, {2, width_}, {count, 2 * width_}, {1, channels_ * 2 * width_}, {n, step}});
                if (!call(pack_, context, from, scale, to)) {
                    return false;
                }
            }
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        float *bias = floats_at(workspace, bias_offset_);
        const int64_t padded = output_blocks_ * width_;
        std::fill_n(bias, p.groups * padded, 0.0f);
        for (int64_t g = 0; t.bias != nullptr && g < p.groups; g++) {
            std::copy_n(t.bias + g * outputs_, outputs_, bias + g * padded);
        }
        const int64_t all = p.batch * tiles_h_;
        for (int64_t g = 0; g < p.groups; g++) {
            for (int64_t first = 0; first < all; first += tile_rows_) {
                const int64_t rows = std::min(tile_rows_, all - first);
                Status status = transform_inputs(t, workspace, execution, g, first, rows);
                if (status.ok()) {
                    status = multiply(packed, workspace, execution, g, rows);
                }
                if (status.ok()) {
                    status = transform_outputs(t, workspace, bias + g * padded, execution, g, first, rows);
                }
                if (!status.ok()) {
                    return status;
                }
            }
        }
        return Status();
    }

private:
    int64_t padded_channels() const {
        return channel_blocks_ * kLanes;
    }
    int64_t padded_outputs() const {
        return output_blocks_ * width_;
    }
    /// What the tile transforms put between their two passes.
    size_t heap_bytes() const {
        return static_cast<size_t>(t_ * (t_ + 2) * kLanes) * sizeof(float) + 4 * kAlignment;
    }
    void give_heap(KernelContext &context, std::byte *base, size_t offset) const {
        context.heap = base + offset;
        context.heap_bytes = heap_bytes();
    }
    /// Tiles of a block, in whole register tiles.
    int64_t block_tiles(int64_t rows) const {
        return round_up(rows * tiles_w_, r_);
    }
    /// Floats of both spectra for so many rows of tiles.
    double spectra_floats(int64_t rows) const {
        return static_cast<double>(frequencies_) * 2.0 * static_cast<double>(block_tiles(rows)) * static_cast<double>(padded_channels() + padded_outputs());
    }

    void lay_out() {
        const int64_t tiles = block_tiles(tile_rows_);
        // One line more than the tiles need: frequencies a power of two apart would share few lines of L1.
        x_frequency_ = tiles * 2 * padded_channels() + kLanes;
        y_frequency_ = tiles * 2 * padded_outputs() + kLanes;
        Arena arena;
        bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.groups * padded_outputs()));
        x_offset_ = arena.reserve_floats(static_cast<double>(frequencies_) * static_cast<double>(x_frequency_));
        y_offset_ = arena.reserve_floats(static_cast<double>(frequencies_) * static_cast<double>(y_frequency_));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        flat_plane_ = t_ * strip_width_ + kLanes;
        flat_offset_ = slot.reserve_floats(static_cast<double>(kLanes * flat_plane_));
        blocked_offset_ = slot.reserve_floats(static_cast<double>(std::max(t_ * strip_width_, t_ * out_width_) * kLanes) + static_cast<double>(kLanes));  // a piece from channel i on is read 16 wide
        heap_offset_ = slot.reserve(static_cast<double>(heap_bytes()));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();

        Arena pack;
        const int64_t pitch = round_up(t_, kLanes);
        pack_planes_offset_ = pack.reserve_floats(static_cast<double>(kLanes * (t_ * pitch + kLanes)));
        pack_blocked_offset_ = pack.reserve_floats(static_cast<double>(t_ * pitch * kLanes));
        pack_spectra_offset_ = pack.reserve_floats(static_cast<double>(frequencies_ * width_ * 2 * kLanes));
        pack_heap_offset_ = pack.reserve(static_cast<double>(heap_bytes()));
        pack_slot_bytes_ = pack.bytes();
    }

    void predict() {
        const CostModel model(product_.isa);
        const Conv2dProblem &p = problem_;
        const double groups = static_cast<double>(p.groups);
        const double tiles = static_cast<double>(p.batch * tiles_h_ * tiles_w_);
        const double vectors = static_cast<double>(kLanes) / model.lanes;
        // Transforms: about four counted operations (2.5 N log2 N) a cycle and vector; straight-line, but full of spills.
        const double points = static_cast<double>(t_ * t_);
        const double transform = 2.5 * points * std::log2(points) * vectors / 4.0 / model.hertz;
        const double transforms = groups * tiles * static_cast<double>(channel_blocks_ + padded_outputs() / kLanes) * transform;
        const double blocks = static_cast<double>(ceil_div(p.batch * tiles_h_, tile_rows_));
        const double useful = points / 2 + 2;
        const double steps = groups * blocks * static_cast<double>(block_tiles(tile_rows_) / r_ * output_blocks_) * static_cast<double>(channels_) * useful;
        const double multiply = steps * 4.0 * static_cast<double>(r_ * width_ / kLanes) * vectors / 2.0 / 0.85 / model.hertz;
        const double filters = static_cast<double>(packed_bytes) * blocks / model.stream_bytes_per_second / 2;
        const double moved = 4.0 * groups * tiles * 2.0 * static_cast<double>(step_h_ + t_) * static_cast<double>(step_w_) * static_cast<double>(channel_blocks_ * kLanes + padded_outputs()) / 2;
        const double spectra = groups * blocks * spectra_floats(tile_rows_) * 4.0 * 2 / 40e9;
        const double calls = groups * blocks * static_cast<double>(tile_rows_ * (3 * channel_blocks_ + 2 * padded_outputs() / kLanes) + 16);
        const double serial = transforms + multiply + filters + moved / 30e9 + spectra + calls * model.call_seconds;
        serial_seconds = serial + 2e-6;
        predicted_seconds = serial / CostModel::parallel(threads_, 2 * tile_rows_) + 2e-6;
    }

    Status transform_inputs(const ForwardTensors &t, std::byte *workspace, const Execution &execution, int64_t g, int64_t first, int64_t rows) const {
        const Conv2dProblem &p = problem_;
        const int64_t phase_columns = static_cast<int64_t>(columns_.phases.size());
        return parallel_for(execution, slots_, rows * channel_blocks_, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t cb = index % channel_blocks_, row = index / channel_blocks_;
            const int64_t image = (first + row) / tiles_h_, top = (first + row) % tiles_h_ * step_h_;
            std::byte *base = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            give_heap(context, base, heap_offset_);
            float *flat = floats_at(base, flat_offset_);
            float *blocked = floats_at(base, blocked_offset_);
            const int64_t begin = cb * kLanes, count = std::min(kLanes, channels_ - begin);
            for (int64_t v = begin; v < begin + count;) {
                const int64_t phase = v / real_channels_, c = v % real_channels_;
                const int64_t run = std::min(begin + count - v, real_channels_ - c);
                const PlanesIn in = {t.input.data + image * t.input.s[0] + (g * real_channels_ + c) * t.input.s[1], p.in_width, p.in_height, run, t.input.s[2], t.input.s[1]};
                const PlanesOut out = {flat + (v - begin) * flat_plane_, strip_width_, t_, run, strip_width_, flat_plane_};
                if (!pad_.run_within(in, out, p.out_width() + columns_.reach[phase % phase_columns], p.out_height() - top + rows_.reach[phase / phase_columns], p.stride_w, p.stride_h, columns_.phases[phase % phase_columns] - p.pad_left, top * p.stride_h + rows_.phases[phase / phase_columns] - p.pad_top, context)) {
                    return false;
                }
                v += run;
            }
            const Floats<3> planes(flat, {{strip_width_, 1}, {t_, strip_width_}, {count, flat_plane_}});
            const Floats<3> channels(blocked, {{kLanes, 1}, {strip_width_, kLanes}, {t_, strip_width_ * kLanes}});
            const Floats<5> tiles(blocked, {{kLanes, 1}, {t_, kLanes}, {tiles_w_, step_w_ * kLanes}, {t_, strip_width_ * kLanes}, {1, t_ * strip_width_ * kLanes}});
            const int64_t part = padded_channels();
            const Floats<6> spectra(floats_at(workspace, x_offset_) + row * tiles_w_ * 2 * part + begin, {{kLanes, 1}, {1, kLanes}, {2, part}, {tiles_w_, 2 * part}, {t_, x_frequency_}, {t_ / 2 + 1, x_frequency_ * t_}});
            return call(block_, context, planes, channels) && call(*tile_.forward, context, tiles, spectra);
        });
    }

    Status multiply(const std::byte *packed, std::byte *workspace, const Execution &execution, int64_t g, int64_t rows) const {
        // Of the Hermitian columns kx = 0 and t/2 the inverse reads ky <= t/2 only.
        const int64_t half = t_ / 2 + 1;
        const int64_t useful = 2 * half + (t_ / 2 - 1) * t_;
        const int64_t parts = std::min<int64_t>(useful, 8 * threads_);
        const int64_t tiles = block_tiles(rows);
        const int64_t step = output_blocks_ * channels_ * 2 * width_;
        const float *filters = floats_at(packed, 0) + g * frequencies_ * step;
        float *x = floats_at(workspace, x_offset_);
        float *y = floats_at(workspace, y_offset_);
        return parallel_for(execution, threads_, parts, [&](int64_t index, int, KernelContext &context) {
            int64_t at = useful * index / parts;
            const int64_t end = useful * (index + 1) / parts;
            while (at < end) {
                // Useful frequencies lie in three runs: [0, half), [t, t*t/2), [t*t/2, t*t/2 + half).
                const bool head = at < half, tail = at >= useful - half;
                const int64_t f = head ? at : tail ? t_ * t_ / 2 + at - (useful - half) : t_ + at - half;
                const int64_t run_end = head ? half : tail ? useful : useful - half;
                // 32-bit indices into the filters.
                const int64_t n = std::min({end - at, run_end - at, std::max<int64_t>(1, (int64_t{1} << 28) / step)});
                // Tiles that only fill up the register tile: their products are never read, but old denormals would be slow.
                for (int64_t i = f; i < f + n; i++) {
                    std::fill(x + i * x_frequency_ + rows * tiles_w_ * 2 * padded_channels(), x + i * x_frequency_ + tiles * 2 * padded_channels(), 0.0f);
                }
                const Floats<4> in(x + f * x_frequency_, {{channels_, 1}, {2, padded_channels()}, {tiles, 2 * padded_channels()}, {n, x_frequency_}});
                const Floats<5> w(filters + f * step, {{width_, 1}, {2, width_}, {channels_, 2 * width_}, {output_blocks_, channels_ * 2 * width_}, {n, step}});
                const Floats<4> out(y + f * y_frequency_, {{padded_outputs(), 1}, {2, padded_outputs()}, {tiles, 2 * padded_outputs()}, {n, y_frequency_}});
                if (!call(product_, context, in, w, out)) {
                    return false;
                }
                at += n;
            }
            return true;
        });
    }

    Status transform_outputs(const ForwardTensors &t, std::byte *workspace, const float *bias, const Execution &execution, int64_t g, int64_t first, int64_t rows) const {
        const Conv2dProblem &p = problem_;
        const int64_t blocks = ceil_div(outputs_, kLanes);
        return parallel_for(execution, slots_, rows * blocks, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t kb = index % blocks, row = index / blocks;
            const int64_t image = (first + row) / tiles_h_, top = (first + row) % tiles_h_ * step_h_;
            const int64_t height = std::min(step_h_, p.out_height() - top), width = p.out_width();
            std::byte *base = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            give_heap(context, base, heap_offset_);
            float *blocked = floats_at(base, blocked_offset_);
            const int64_t part = padded_outputs();
            const Floats<6> spectra(floats_at(workspace, y_offset_) + row * tiles_w_ * 2 * part + kb * kLanes, {{kLanes, 1}, {1, kLanes}, {2, part}, {tiles_w_, 2 * part}, {t_, y_frequency_}, {t_ / 2 + 1, y_frequency_ * t_}});
            const Floats<5> tiles(blocked, {{kLanes, 1}, {step_w_, kLanes}, {tiles_w_, step_w_ * kLanes}, {height, out_width_ * kLanes}, {1, t_ * out_width_ * kLanes}});
            if (!call(*tile_.inverse, context, spectra, tiles)) {
                return false;
            }
            const int64_t k = kb * kLanes, count = std::min(kLanes, outputs_ - k);
            const int64_t channel = g * outputs_ + k;
            // Output rows and planes too far apart for 32-bit indices are finished in smaller pieces.
            const int64_t *s = t.output.s, *r = t.residual.s;
            const bool add = t.residual.data != nullptr;
            constexpr int64_t reach = int64_t{1} << 28;
            const int64_t row_step = std::max(s[2], add ? r[2] : 0), plane_step = std::max(s[1], add ? r[1] : 0);
            const int64_t band = std::clamp<int64_t>(reach / row_step, 1, height);
            const int64_t at_once = count == 1 ? 1 : std::clamp<int64_t>(reach / plane_step, 1, count);
            for (int64_t i = 0; i < count; i += at_once) {
                for (int64_t y = 0; y < height; y += band) {
                    const int64_t planes = std::min(at_once, count - i), rows_now = std::min(band, height - y);
                    const Floats<3> source(blocked + y * out_width_ * kLanes + i, {{kLanes, 1}, {out_width_, kLanes}, {rows_now, out_width_ * kLanes}});
                    float *target = t.output.data + image * s[0] + (channel + i) * s[1] + (top + y) * s[2];
                    const Floats<3> out(target, {{width, 1}, {rows_now, s[2]}, {planes, s[1]}});
                    const Floats<3> residual(add ? t.residual.data + image * r[0] + (channel + i) * r[1] + (top + y) * r[2] : target, {{width, 1}, {rows_now, add ? r[2] : s[2]}, {planes, add ? r[1] : s[1]}});
                    const Floats<1> biases(bias + k + i, {{planes, 1}});
                    if (!call(unblock_, context, source, biases, residual, static_cast<int32_t>(add), post_.kind, post_.lo, post_.hi, out)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }

    const Conv2dProblem problem_;
    const Variant &product_;
    const TileKernels tile_;
    const PadStage pad_;
    const Variant &place_, &block_, &unblock_, &pack_;
    const KernelPostOp post_;
    const AxisTaps rows_, columns_;
    const int threads_;
    const int64_t t_, r_, width_;  ///< tile size; tiles and output channels of the product's register tile
    int64_t step_h_, step_w_;      ///< valid rows and columns of a tile
    int64_t real_channels_, phases_, channels_, outputs_;  ///< of a group; channels_ counts phases
    int64_t channel_blocks_, output_blocks_, frequencies_, tiles_h_, tiles_w_, strip_width_, out_width_;
    std::vector<int32_t> row_places_, column_places_;
    int64_t tile_rows_ = 1, x_frequency_ = 0, y_frequency_ = 0, flat_plane_ = 0;
    int slots_ = 1;
    int64_t pack_slots_ = 1;
    size_t bias_offset_ = 0, x_offset_ = 0, y_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, flat_offset_ = 0, blocked_offset_ = 0, heap_offset_ = 0;
    size_t pack_planes_offset_ = 0, pack_blocked_offset_ = 0, pack_spectra_offset_ = 0, pack_heap_offset_ = 0, pack_slot_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled(const PlanRequest &request) {
    std::vector<TileKernels> sizes = tile_sizes(best_isa());
    PlanRequest unforced = request;
    // A variant may force the tile size (tile_forward_...), the product, or transforms without a sum (lane_columns_...).
    for (const Variant &v : registry()) {
        if (request.options.variant != v.name) {
            continue;
        }
        if (std::strcmp(v.stage, "lane_columns") == 0) {
            return plan_fft_tiled_planes(request);
        }
        if (std::strcmp(v.stage, "tile_forward") == 0 && v.isa >= best_isa()) {
            sizes = tile_sizes(v.isa);
            sizes.erase(std::remove_if(sizes.begin(), sizes.end(), [&](const TileKernels &size) { return size.forward != &v; }), sizes.end());
            unforced.options.variant.clear();
        }
    }
    Result<std::unique_ptr<AlgorithmPlan>> plan = best_variant<FftTiledPlan>(unforced, "tile_product", [&](const Variant &product, const auto &consider) {
        for (const TileKernels &size : sizes) {
            consider(std::make_unique<FftTiledPlan>(unforced, product, size));
        }
    });
    if (!request.options.variant.empty()) {
        if (plan.ok()) {
            (*plan)->variant = request.options.variant;
        }
        return plan;
    }
    Result<std::unique_ptr<AlgorithmPlan>> planes = plan_fft_tiled_planes(request);
    const bool better = planes.ok() ? !plan.ok() || (*planes)->serial_seconds < (*plan)->serial_seconds : !plan.ok() && planes.status().code() == StatusCode::kResourceExhausted;
    return better ? std::move(planes) : std::move(plan);
}

}  // namespace fourfold
