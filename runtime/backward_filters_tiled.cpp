// bwd-filters by transforms of tiles: gy cut into tiles of `step` rows and columns, x into the t x t tiles that they meet; per point
// of the transforms their products summed over all tiles; and one inverse transform for each pair of channels.
//
// fft_tiled: zeros fill up gy's tiles to t x t, and of the inverse the first f x f are the filter's gradient:
//
//     gw[u] = sum_p gy[p] x[p + u] = inverse( sum_tile X[tile] * conj(GY[tile]) )[u],   u + p < t
//
// winograd: the forward y = A^T [(G w G^T) . (B^T x B)] A is linear in w, and this its adjoint:
//
//     gw = G^T [ sum_tile (B^T x B) . (A gy A^T) ] G
//
// Work goes through blocks of input channels, whose sums stay in the caches, and within them through blocks of tile rows:
//
//     tile row x 16 channels   channel_blocks -> tile_forward | winograd_forward              -> X[f][tile][part][channel]
//     tile row x 16 outputs    pad -> block_channels -> tile_forward | winograd_gradient      -> GY[f][output block][tile][part][output]
//     runs of points           tile_correlation | winograd_correlation                        -> sums[f][channel][part][output]
//     at the end               tile_inverse | winograd_filters_gradient                       -> gw
//
// Stride and dilation by decimation (channel_blocks.h): phases are further channels, lattices further tiles.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "backward_filters.h"
#include "beyond_l2.h"
#include "channel_blocks.h"
#include "cost_model.h"
#include "kernel.h"
#include "tiled_plan.h"

namespace fourfold {
namespace {

constexpr int64_t kLanes = ChannelBlocks::kLanes;
constexpr int64_t kTaps = 3;     ///< rows and columns of winograd's filter
constexpr int64_t kColumns = 8;  ///< block_channels takes at least so many
constexpr int64_t kTiles = 256;  ///< that a product adds up in one accumulator: bounds the error of long sums

class TiledBackwardFilters final : public BackwardFiltersPlan {
public:
    /// Complex tiles are fft_tiled's, real ones winograd's.
    TiledBackwardFilters(const PlanRequest &request, const Variant &product, const TileTransform &tile)
        : BackwardFiltersPlan(request), product_(product), tile_(tile), blocks_(problem_), transpose_(*find_variant("block_channels", "layout=nchw")), unblock_(*find_variant("unblock_channels", "layout=nchw")), copy_(PadStage::find_zeros(problem_)), is_winograd_(tile.parts == 1), gradient_(is_winograd_ ? *find_variant("winograd_gradient", tile.forward->parameters) : *tile.forward), inverse_(is_winograd_ ? *find_variant("winograd_filters_gradient", tile.forward->parameters) : *tile.inverse), t_(tile.t), gradient_tile_(is_winograd_ ? t_ - kTaps + 1 : t_), parts_(tile.parts), r_(product.parameter("r", 1)), width_(kLanes * product.parameter("v", 1)), useful_(is_winograd_ ? std::vector<PointRun>{{0, t_ * t_}} : hermitian_points(t_)), inverses_(is_winograd_ ? 16 : 4) {
        const Conv2dProblem &p = problem_;
        variant = product.name;
        choice = std::string(tile.forward->name) + " " + product.name;
        layout = is_winograd_ ? "winograd" : "fft_tiled";
        step_h_ = t_ - blocks_.rows().shift_max;
        step_w_ = t_ - blocks_.columns().shift_max;
        channels_ = blocks_.channels();
        outputs_ = p.out_channels / p.groups;
        lattices_h_ = std::min(blocks_.lattice_h(), p.out_height());
        lattices_w_ = std::min(blocks_.lattice_w(), p.out_width());
        points_ = t_ * tile.columns;
        tiles_w_ = ceil_div(ceil_div(p.out_width(), blocks_.lattice_w()), std::max<int64_t>(1, step_w_));
        tiles_h_ = ceil_div(ceil_div(p.out_height(), blocks_.lattice_h()), std::max<int64_t>(1, step_h_));
        row_tiles_ = tiles_w_ * lattices_w_;
        rows_ = p.batch * tiles_h_ * lattices_h_;
        strip_width_ = round_up(((tiles_w_ - 1) * step_w_ + t_) * blocks_.lattice_w(), kLanes);
    }

    Status block(size_t workspace_limit) {
        if (is_winograd_ && (problem_.filter_height != kTaps || problem_.filter_width != kTaps)) {
            return Status(StatusCode::kUnsupported, "the filter is " + std::to_string(problem_.filter_height) + "x" + std::to_string(problem_.filter_width) + "; only 3x3 is transformed");
        }
        if (is_winograd_ && blocks_.phases() != 1) {
            return Status(StatusCode::kUnsupported, "the stride is " + std::to_string(problem_.stride_h) + "x" + std::to_string(problem_.stride_w) + "; its phases have filters smaller than 3x3");
        }
        if (step_h_ < 1 || step_w_ < 1) {
            return Status(StatusCode::kUnsupported, "the filter spans " + std::to_string(blocks_.rows().shift_max + 1) + "x" + std::to_string(blocks_.columns().shift_max + 1) + " after decimation; the tile is " + std::to_string(t_) + "x" + std::to_string(t_));
        }
        if (Status status = planes_within_reach(problem_); !status.ok()) {
            return status;
        }
        // The sums of a block of channels are read and written once for each block of tiles: about a third of L3 for the
        // first, as much again for the second.
        const double budget = std::max(4.0 * static_cast<double>(machine().l2_bytes), static_cast<double>(machine().l3_bytes) / 4);
        const double sum_bytes = static_cast<double>(points_ * parts_ * padded_outputs()) * sizeof(float);
        block_channels_ = std::clamp<int64_t>(static_cast<int64_t>(budget / sum_bytes) / kLanes * kLanes, kLanes, round_up(channels_, kLanes));
        block_channels_ = round_up(ceil_div(channels_, ceil_div(channels_, block_channels_)), kLanes);
        const double row_bytes = static_cast<double>(points_ * parts_ * row_tiles_) * static_cast<double>(block_channels_ + padded_outputs()) * sizeof(float);
        // Where the sums stay in L2, so do the transforms of as many rows; else more rows, for the sums' sake. Emerald Rapids,
        // 2 MB of L2, a quarter of its 260 MB L3 | 4 MB | 2 MB of transforms at once, milliseconds: VGG-16's 1_2 25 | 16 | 12,
        // with sums of 9 MB ResNet-50's 4_3x3 b8 9.6 | 5.5 (8 MB) | 8.4.
        const double l2 = static_cast<double>(machine().l2_bytes), sums = sum_bytes * static_cast<double>(block_channels_);
        const double at_once = sums <= l2 / 2 ? l2 : 4 * l2;
        tile_rows_ = std::clamp<int64_t>(static_cast<int64_t>(at_once / row_bytes), 1, rows_);
        tile_rows_ = ceil_div(rows_, ceil_div(rows_, tile_rows_));
        slots_ = 1;
        lay_out();
        while (workspace_bytes > workspace_limit) {
            if (tile_rows_ > 1) {
                tile_rows_ = (tile_rows_ + 1) / 2;
            } else if (block_channels_ > kLanes) {
                block_channels_ = round_up(block_channels_ / 2, kLanes);
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out();
        }
        const double reach = double(1 << 29);
        const double points = static_cast<double>(points_);
        if (static_cast<double>(x_point_) * points > reach || static_cast<double>(g_point_) * points > reach || static_cast<double>(sum_point_) * points > reach) {
            return Status(StatusCode::kUnsupported, "the transforms of one row of tiles are 2^31 bytes or more, beyond a kernel call's reach");
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        slots_ = static_cast<int>(std::min<size_t>(static_cast<size_t>(threads_), 1 + (workspace_limit - workspace_bytes) / slot_bytes_));
        lay_out();
        details = "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(step_h_) + "x" + std::to_string(step_w_) + ", " + std::to_string(rows_) + " rows of " + std::to_string(row_tiles_) + " tiles, " + std::to_string(tile_rows_) + " rows and " + std::to_string(std::min(block_channels_, channels_)) + " of " + std::to_string(channels_) + " channels at a time, " + std::to_string(blocks_.phases()) + " phases";
        return Status();
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        Status status;
        for (int64_t g = 0; g < problem_.groups; g++) {
            for (int64_t c = 0; c < channels_; c += block_channels_) {
                const int64_t count = std::min(block_channels_, channels_ - c);
                int64_t done = 0;
                for (int64_t first = 0; first < rows_ && status.ok(); first += tile_rows_) {
                    const int64_t rows = std::min(tile_rows_, rows_ - first);
                    status = transform_inputs(t, workspace, execution, g, c, count, first, rows);
                    if (status.ok()) {
                        status = transform_gradients(t, workspace, execution, g, first, rows);
                    }
                    if (status.ok()) {
                        status = multiply(workspace, execution, count, rows, done);
                        done += products(rows);
                    }
                }
                if (status.ok() && RunningSums::is_long(done)) {
                    status = finish_sums(workspace, execution, count, done);
                }
                if (status.ok()) {
                    status = transform_sums(t, workspace, execution, g, c, count);
                }
                if (!status.ok()) {
                    return status;
                }
            }
        }
        return bias_gradient(problem_, t.grad_output, t.grad_bias, threads_, execution);
    }

private:
    int64_t padded_outputs() const {
        return round_up(outputs_, width_);
    }
    /// Of some rows of tiles, and of all.
    int64_t products(int64_t rows) const {
        return ceil_div(rows * row_tiles_, kTiles);
    }
    int64_t all_products() const {
        return rows_ / tile_rows_ * products(tile_rows_) + products(rows_ % tile_rows_);
    }
    /// Sums of a point.
    int64_t sum_floats(int64_t channels) const {
        return round_up(channels, r_) * parts_ * padded_outputs();
    }
    size_t heap_bytes() const {
        return tile_heap_bytes(t_);
    }
    std::byte *slot_memory(std::byte *workspace, int slot, KernelContext &context) const {
        std::byte *base = slot_at(workspace, slot);
        context.heap = base + heap_offset_;
        context.heap_bytes = heap_bytes();
        return base;
    }
    /// Where a row of tiles lies: its first output row is `top`, the others follow lattice_h apart.
    struct RowOfTiles {
        int64_t image, top;
    };
    RowOfTiles row_of_tiles(int64_t index) const {
        const int64_t a = index % lattices_h_, band = index / lattices_h_ % tiles_h_;
        return {index / lattices_h_ / tiles_h_, band * step_h_ * blocks_.lattice_h() + a};
    }
    int64_t inverse_rows() const {
        return blocks_.rows().shift_max + 1;
    }
    int64_t inverse_columns() const {
        return blocks_.columns().shift_max + 1;
    }
    int64_t gradient_plane() const {
        return gradient_tile_ * gradient_tile_ * row_tiles_ + kLanes;
    }

    void lay_out() {
        const int64_t tiles = tile_rows_ * row_tiles_;
        // One line more than needed: points a power of two apart would share few lines of L1.
        x_point_ = tiles * parts_ * block_channels_ + kLanes;
        g_point_ = tiles * parts_ * padded_outputs() + kLanes;
        sum_point_ = sum_floats(block_channels_) + kLanes;
        Arena arena;
        x_offset_ = arena.reserve_floats(static_cast<double>(points_) * static_cast<double>(x_point_));
        g_offset_ = arena.reserve_floats(static_cast<double>(points_) * static_cast<double>(g_point_));
        sums_offset_ = arena.reserve_floats(static_cast<double>(points_) * static_cast<double>(sum_point_));
        totals_offset_ = arena.reserve(RunningSums::total_bytes(all_products(), static_cast<double>(points_) * static_cast<double>(sum_floats(block_channels_))));
        Arena slot;
        flat_offset_ = slot.reserve_floats(static_cast<double>(std::max(ChannelBlocks::scratch_floats(t_, strip_width_), kLanes * gradient_plane())));
        blocked_offset_ = slot.reserve_floats(static_cast<double>(kLanes * std::max({t_ * strip_width_, kColumns, gradient_tile_ * gradient_tile_ * row_tiles_, inverse_rows() * inverse_columns() * inverses_})));
        heap_offset_ = slot.reserve(static_cast<double>(heap_bytes()));
        lay_out_slots(arena, slot, slots_);
    }

    void predict() {
        const CostModel model(product_.isa);
        const double groups = static_cast<double>(problem_.groups), tiles = static_cast<double>(rows_ * row_tiles_);
        const double vectors = static_cast<double>(kLanes) / model.lanes;
        // As in the forward plans: of a DFT about four counted operations a cycle and vector; Winograd's are bound by loads and stores.
        const double points = static_cast<double>(t_ * t_);
        const double transform = (is_winograd_ ? points * (t_ > 6 ? 4.2 : 2.8) : 2.5 * points * std::log2(points) / 4.0 / fft_tile_speed(tile_)) * vectors / model.hertz;
        const double chunks = static_cast<double>(ceil_div(channels_, block_channels_));
        const double input_blocks = static_cast<double>(ceil_div(channels_, kLanes)), output_blocks = static_cast<double>(ceil_div(outputs_, kLanes));
        const double gradients = tiles * output_blocks * chunks, inputs = tiles * input_blocks, inverses = static_cast<double>(channels_) * output_blocks;
        const double steps = tiles * static_cast<double>(ceil_div(channels_, r_)) * static_cast<double>(padded_outputs() / width_) * static_cast<double>(count_points(useful_));
        const double multiply = steps * (is_winograd_ ? 1.0 : 4.0) * static_cast<double>(r_ * width_ / kLanes) * vectors / 2.0 / 0.8 / model.hertz;
        const double blocks = static_cast<double>(ceil_div(rows_, tile_rows_));
        const double block_bytes = 4.0 * static_cast<double>(points_) * static_cast<double>(x_point_ + g_point_ + sum_point_);
        const bool near = block_bytes < 1.5 * static_cast<double>(machine().l2_bytes);
        // Transforms are written and read once, sums read, added to and written for each block of tiles.
        const double transformed = 2 * 4.0 * static_cast<double>(points_ * parts_) * tiles * kLanes * (input_blocks + output_blocks * chunks) / (near ? 90e9 : 30e9);
        const double summed = 2 * 4.0 * static_cast<double>(points_ * parts_) * blocks * static_cast<double>(channels_ * padded_outputs()) / (near ? 90e9 : beyond_l2(machine().l3_bytes).sums_bytes_per_second);
        const double moved = 3 * 4.0 * kLanes * (inputs * static_cast<double>(step_w_ * t_) + gradients * points) + 4.0 * (is_winograd_ ? 4 : 16) * static_cast<double>(problem_.filter_elements()) / groups;  // winograd's filters are transposed, others written one by one
        const double calls = gradients + static_cast<double>(rows_) * (2 * input_blocks + 2 * output_blocks * chunks) + inverses / static_cast<double>(inverses_);
        // Measured, all of it overlaps to about three quarters of the sum (2026-11-20, Zen 5, against direct and im2col).
        serial_seconds = 0.75 * groups * (transform * (gradients + inputs + inverses) + multiply + transformed + summed + moved / model.copy_bytes_per_second + calls * model.call_seconds) + 2e-6;
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, 2 * tile_rows_);
    }

    Status transform_inputs(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution, int64_t g, int64_t channel, int64_t channels, int64_t first, int64_t rows) const {
        const int64_t blocks = ceil_div(channels, kLanes);
        return parallel_for(execution, slots_, rows * blocks, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t begin = index % blocks * kLanes, row = index / blocks;
            const RowOfTiles at = row_of_tiles(first + row);
            std::byte *base = slot_memory(workspace, slot, context);
            float *blocked = floats_at(base, blocked_offset_);
            if (!blocks_.load(t.input, at.image, g, channel + begin, std::min(kLanes, channels - begin), at.top, t_, strip_width_, blocked, floats_at(base, flat_offset_), context)) {
                return false;
            }
            const int64_t part = block_channels_, lattice = blocks_.lattice_w();
            for (int64_t a = 0; a < lattices_w_; a++) {
                const Floats<5> tiles(blocked + a * kLanes, {{kLanes, 1}, {t_, lattice * kLanes}, {tiles_w_, step_w_ * lattice * kLanes}, {t_, strip_width_ * kLanes}, {1, t_ * strip_width_ * kLanes}});
                const Floats<6> spectra(floats_at(workspace, x_offset_) + (row * row_tiles_ + a * tiles_w_) * parts_ * part + begin, {{kLanes, 1}, {1, kLanes}, {parts_, part}, {tiles_w_, parts_ * part}, {t_, x_point_}, {tile_.columns, x_point_ * t_}});
                if (!call(*tile_.forward, context, tiles, spectra)) {
                    return false;
                }
            }
            return true;
        });
    }

    Status transform_gradients(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution, int64_t g, int64_t first, int64_t rows) const {
        const int64_t blocks = ceil_div(outputs_, kLanes), all = padded_outputs() / kLanes;
        return parallel_for(execution, slots_, rows * all, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t kb = index % all, row = index / all;
            // Whole register tiles of outputs: those that do not exist are zero.
            const int64_t tiles = tile_rows_ * row_tiles_;
            float *spectra = floats_at(workspace, g_offset_) + kb * kLanes / width_ * tiles * parts_ * width_ + row * row_tiles_ * parts_ * width_ + kb * kLanes % width_;
            if (kb >= blocks) {
                for (int64_t f = 0; f < points_; f++) {
                    for (int64_t i = 0; i < parts_ * row_tiles_; i++) {
                        std::fill_n(spectra + f * g_point_ + i * width_, kLanes, 0.0f);
                    }
                }
                return true;
            }
            std::byte *base = slot_memory(workspace, slot, context);
            float *flat = floats_at(base, flat_offset_), *blocked = floats_at(base, blocked_offset_);
            const int64_t count = std::min(kLanes, outputs_ - kb * kLanes), row_width = gradient_tile_ * row_tiles_;
            if (!load_gradient(t.grad_output, row_of_tiles(first + row), g * outputs_ + kb * kLanes, count, flat, context)) {
                return false;
            }
            // Rows follow each other: one long row, of at least the columns that the kernel takes at once.
            const int64_t length = std::max(kColumns, gradient_tile_ * row_width);
            const Floats<3> planes(flat, {{length, 1}, {1, length}, {count, gradient_plane()}});
            const Floats<3> channels(blocked, {{kLanes, 1}, {length, kLanes}, {1, length * kLanes}});
            const Floats<5> in(blocked, {{kLanes, 1}, {gradient_tile_, kLanes}, {row_tiles_, gradient_tile_ * kLanes}, {gradient_tile_, row_width * kLanes}, {1, gradient_tile_ * row_width * kLanes}});
            const Floats<6> out(spectra, {{kLanes, 1}, {1, kLanes}, {parts_, width_}, {row_tiles_, parts_ * width_}, {t_, g_point_}, {tile_.columns, g_point_ * t_}});
            return call(transpose_, context, planes, channels) && call(gradient_, context, in, out);
        });
    }

    /// The tiles of a row side by side, each with zeros after its step rows and columns.
    bool load_gradient(const StridedIn &gy, const RowOfTiles &at, int64_t channel, int64_t count, float *flat, KernelContext &context) const {
        const int64_t lattice_h = blocks_.lattice_h(), lattice_w = blocks_.lattice_w();
        const float *plane = gy.data + at.image * gy.s[0] + channel * gy.s[1];
        const int64_t height = std::min(step_h_, ceil_div(problem_.out_height() - at.top, lattice_h));
        // Tiles without zeros between them are copied all at once.
        const int64_t run = gradient_tile_ == step_w_ ? tiles_w_ : 1;
        for (int64_t tile = 0; tile < row_tiles_; tile += run) {
            const int64_t left = tile / tiles_w_ + tile % tiles_w_ * step_w_ * lattice_w;
            const int64_t width = std::min(run * step_w_, ceil_div(problem_.out_width() - left, lattice_w));
            const bool any = height > 0 && width > 0;
            // Without an element of its own a tile reads one from outside.
            const PlanesIn in = {any ? plane + at.top * gy.s[2] + left * gy.s[3] : plane, any ? (width - 1) * lattice_w + 1 : 1, any ? (height - 1) * lattice_h + 1 : 1, count, gy.s[2], gy.s[1], gy.s[3]};
            const PlanesOut out = {flat + tile * gradient_tile_, run * gradient_tile_, gradient_tile_, count, gradient_tile_ * row_tiles_, gradient_plane()};
            if (!copy_.run(in, out, lattice_w, lattice_h, any ? 0 : 1, 0, context)) {
                return false;
            }
        }
        return true;
    }

    /// body(f, n, context) for runs of points.
    template<typename Body>
    Status for_points(const Execution &execution, const Body &body) const {
        const int64_t useful = count_points(useful_), parts = std::min<int64_t>(useful, 8 * threads_);
        return parallel_for(execution, threads_, parts, [&](int64_t index, int, KernelContext &context) {
            return for_each_piece(useful_, useful * index / parts, useful * (index + 1) / parts, [&](int64_t f, int64_t n) { return body(f, n, context); });
        });
    }

    /// `done`: products already in the sums.
    Status multiply(std::byte *workspace, const Execution &execution, int64_t channels, int64_t rows, int64_t done) const {
        const int64_t tiles = rows * row_tiles_, all = tile_rows_ * row_tiles_;
        const float *x = floats_at(workspace, x_offset_), *gy = floats_at(workspace, g_offset_);
        float *sums = floats_at(workspace, sums_offset_);
        return for_points(execution, [&](int64_t f, int64_t n, KernelContext &context) {
            const Floats<4> out(sums + f * sum_point_, {{padded_outputs(), 1}, {parts_, padded_outputs()}, {round_up(channels, r_), parts_ * padded_outputs()}, {n, sum_point_}});
            RunningSums running = running_sums(workspace, channels, f, n, done);
            for (int64_t first = 0; first < tiles; first += kTiles) {
                const int64_t count = std::min(kTiles, tiles - first);
                const Floats<4> in(x + f * x_point_ + first * parts_ * block_channels_, {{round_up(channels, r_), 1}, {parts_, block_channels_}, {count, parts_ * block_channels_}, {n, x_point_}});
                const Floats<5> g(gy + f * g_point_ + first * parts_ * width_, {{width_, 1}, {parts_, width_}, {count, parts_ * width_}, {padded_outputs() / width_, all * parts_ * width_}, {n, g_point_}});
                if (!call(product_, context, in, g, out, static_cast<int32_t>(running.next()), out)) {
                    return false;
                }
            }
            return true;
        });
    }

    /// Those of n points from f on, in which `done` products are.
    RunningSums running_sums(std::byte *workspace, int64_t channels, int64_t f, int64_t n, int64_t done) const {
        const int64_t length = sum_floats(channels);
        return {floats_at(workspace, sums_offset_) + f * sum_point_, n, length, sum_point_, reinterpret_cast<double *>(workspace + totals_offset_) + f * length, done};
    }

    Status finish_sums(std::byte *workspace, const Execution &execution, int64_t channels, int64_t done) const {
        return for_points(execution, [&](int64_t f, int64_t n, KernelContext &) {
            running_sums(workspace, channels, f, n, done).finish();
            return true;
        });
    }

    Status transform_sums(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution, int64_t g, int64_t channel, int64_t channels) const {
        const int64_t blocks = ceil_div(outputs_, kLanes);
        return parallel_for(execution, slots_, ceil_div(channels, inverses_) * blocks, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t kb = index % blocks, first = index / blocks * inverses_, count = std::min(inverses_, channels - first);
            float *blocked = floats_at(slot_memory(workspace, slot, context), blocked_offset_);
            const int64_t part = padded_outputs(), columns = inverse_columns(), filter = inverse_rows() * columns * kLanes;
            const Floats<6> sums(floats_at(workspace, sums_offset_) + first * parts_ * part + kb * kLanes, {{kLanes, 1}, {1, kLanes}, {parts_, part}, {count, parts_ * part}, {t_, sum_point_}, {tile_.columns, sum_point_ * t_}});
            const Floats<5> filters(blocked, {{kLanes, 1}, {columns, kLanes}, {count, filter}, {inverse_rows(), columns * kLanes}, {1, count * filter}});
            if (!call(inverse_, context, sums, filters)) {
                return false;
            }
            const int64_t k = g * outputs_ + kb * kLanes, outputs = std::min(kLanes, outputs_ - kb * kLanes);
            if (is_winograd_ && problem_.filter_mode == FilterMode::kCorrelation && is_dense(problem_, t.grad_filters)) {
                // Channels and taps follow each other there as here: a transposition.
                static constexpr float kZeros[kLanes] = {};
                const StridedOut &w = t.grad_filters;
                float *target = w.data + k * w.s[0] + (channel + first) * w.s[1];
                const int64_t length = count * kTaps * kTaps;
                const int64_t readable = round_up(length, kLanes);  // whole vectors are read
                const Floats<3> source(blocked, {{kLanes, 1}, {readable, kLanes}, {1, readable * kLanes}});
                const Floats<3> out(target, {{length, 1}, {1, length}, {outputs, w.s[0]}});
                const Floats<1> biases(kZeros, {{outputs, 1}});
                constexpr float infinity = std::numeric_limits<float>::infinity();
                return out.fits() ? call(unblock_, context, source, biases, out, int32_t{0}, int32_t{0}, -infinity, infinity, out) : store(w, blocked, filter, columns * kLanes, channel + first, count, k, outputs);
            }
            return store(t.grad_filters, blocked, filter, columns * kLanes, channel + first, count, k, outputs);
        });
    }

    /// The taps of some virtual channels for some outputs, from vectors of outputs: filters `filter` floats apart, rows `pitch`.
    bool store(const StridedOut &w, const float *from, int64_t filter, int64_t pitch, int64_t channel, int64_t count, int64_t k, int64_t outputs) const {
        const Conv2dProblem &p = problem_;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const float scale = is_winograd_ ? 1.0f : static_cast<float>(1.0 / static_cast<double>(t_ * t_));
        const int64_t real = p.in_channels / p.groups, phase_columns = static_cast<int64_t>(blocks_.columns().phases.size());
        for (int64_t i = 0; i < count; i++) {
            const int64_t phase = (channel + i) / real;
            // Outputs outside: taps of a filter are near each other, filters are not.
            for (int64_t lane = 0; lane < outputs; lane++) {
                const float *values = from + i * filter + lane;
                float *to = w.data + (k + lane) * w.s[0] + (channel + i) % real * w.s[1];
                for (int64_t r = 0; r < p.filter_height; r++) {
                    if (blocks_.rows().phase[r] != phase / phase_columns) {
                        continue;
                    }
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        if (blocks_.columns().phase[s] != phase % phase_columns) {
                            continue;
                        }
                        to[(flip ? p.filter_height - 1 - r : r) * w.s[2] + (flip ? p.filter_width - 1 - s : s) * w.s[3]] = scale * values[blocks_.rows().shift[r] * pitch + blocks_.columns().shift[s] * kLanes];
                    }
                }
            }
        }
        return true;
    }

    const Variant &product_;
    const TileTransform tile_;
    const ChannelBlocks blocks_;
    const Variant &transpose_, &unblock_;
    const PadStage copy_;
    const bool is_winograd_;
    const Variant &gradient_, &inverse_;  ///< transforms of gy's tiles and of the sums
    const int64_t t_, gradient_tile_;     ///< rows and columns of a transform, and of what is read of gy for one
    const int64_t parts_;                 ///< of a number: 2 for complex ones
    const int64_t r_, width_;             ///< channels and outputs of the product's register tile
    const std::vector<PointRun> useful_;
    const int64_t inverses_;  ///< channels whose inverse transforms are one task
    int64_t step_h_, step_w_;  ///< rows and columns of gy in a tile
    int64_t lattices_h_, lattices_w_;
    int64_t channels_, outputs_;  ///< of a group; channels_ counts phases
    int64_t points_, tiles_h_, tiles_w_, row_tiles_, rows_, strip_width_;
    int64_t block_channels_ = 0, tile_rows_ = 1, x_point_ = 0, g_point_ = 0, sum_point_ = 0;
    int slots_ = 1;
    size_t x_offset_ = 0, g_offset_ = 0, totals_offset_ = 0, flat_offset_ = 0, blocked_offset_ = 0, heap_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_fft_tiled(const PlanRequest &request) {
    const auto tiles = [&] { return best_tiled_plan<TiledBackwardFilters>(request, "tile_forward", "tile_correlation", fft_tile_sizes); };
    if (!request.options.variant.empty()) {
        return request.options.variant.rfind("lane_columns", 0) == 0 ? plan_filter_gradient_fft_planes(request) : tiles();
    }
    Result<std::unique_ptr<AlgorithmPlan>> plan = tiles(), planes = plan_filter_gradient_fft_planes(request);
    const bool better = planes.ok() ? !plan.ok() || (*planes)->ranked_seconds < (*plan)->ranked_seconds : !plan.ok() && planes.status().code() == StatusCode::kResourceExhausted;
    return better ? std::move(planes) : std::move(plan);
}

Result<std::unique_ptr<AlgorithmPlan>> plan_filter_gradient_winograd(const PlanRequest &request) {
    return best_tiled_plan<TiledBackwardFilters>(request, "winograd_forward", "winograd_correlation", [&](Isa isa) { return winograd_tile_sizes(isa, request, kTaps); });
}

}  // namespace fourfold
