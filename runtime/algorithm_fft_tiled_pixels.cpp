// fft_tiled where no sum over channels follows, tile by tile: vectors run along a tile's own pixels and then along its frequencies
// (generators/plane_fft.h), so that a tile's spectra, and those of its filter, stay in L2 up to 240 x 240, where
// algorithm_fft_tiled_planes.cpp has those of 16 tiles at a time. For images of one channel and for wide depthwise planes.
//
// A task is one tile from input to output, in scratch memory of its own: copied there (rows of an image lie a page apart and more),
// columns transformed, rows transformed, multiplied and transformed back, columns transformed back over the copy, and what is
// valid of them finished by crop.
#include <algorithm>
#include <cmath>
#include <cstring>
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

/// The kernels of one length.
struct PlaneKernels {
    int64_t n = 0;
    int64_t lanes = 8;  ///< columns of pixels, and frequencies, to a vector, as generators/plane_fft.h has it
    const Variant *columns_forward = nullptr, *columns_inverse = nullptr, *rows_product = nullptr, *rows_none = nullptr;

    int64_t even() const {
        return n & -n;
    }
    int64_t groups() const {
        return n / even() / 2 + 1;
    }
    /// Blocks of frequencies of a real transform, as generators/plane_fft.h orders them.
    int64_t blocks() const {
        return ceil_div(groups() * even(), lanes);
    }
    /// Which point of a sequence is (i, j), at j*odd + i; times the distance between points.
    std::vector<int32_t> places(int64_t distance) const {
        const int64_t odd = n / even();
        std::vector<int32_t> list;
        for (int64_t j = 0; j < even(); j++) {
            for (int64_t i = 0; i < odd; i++) {
                list.push_back(static_cast<int32_t>((i * even() + j * odd) % n * distance));
            }
        }
        return list;
    }
};

std::vector<PlaneKernels> plane_lengths(Isa isa) {
    std::vector<PlaneKernels> list;
    for (const Variant *columns : variants_of("plane_columns_forward", isa)) {
        PlaneKernels k;
        k.n = columns->parameter("n", 0);
        k.lanes = std::max(8, vector_lanes(isa));
        k.columns_forward = columns;
        k.columns_inverse = variant_of_length(isa, "plane_columns_inverse", k.n, nullptr);
        k.rows_product = variant_of_length(isa, "plane_rows", k.n, "mode=product");
        k.rows_none = variant_of_length(isa, "plane_rows", k.n, "mode=none");
        if (k.columns_inverse != nullptr && k.rows_product != nullptr && k.rows_none != nullptr) {
            list.push_back(k);
        }
    }
    return list;
}

/// Everything that decides the cost.
struct PixelTiling {
    PlaneKernels down, across;  ///< transform columns, and rows
    TileAxis rows, columns;     ///< `rows` runs down the image

    PixelTiling(const PlaneKernels &for_columns, const PlaneKernels &for_rows, TileAxis vertical, TileAxis horizontal)
        : down(for_columns), across(for_rows), rows(vertical), columns(horizontal) {
    }
    const Variant *product() const {
        return across.rows_product;
    }
    /// As a plan's choice: "plane_rows_avx2_n120_product rows=80 columns=120", w for whole axes in one transform.
    std::string choice() const {
        return std::string(product()->name) + " rows=" + rows.name() + " columns=" + columns.name();
    }
    int64_t tiles() const {
        return rows.tiles * columns.tiles;
    }
    int64_t tasks(const Conv2dProblem &p) const {
        return p.batch * p.out_channels * tiles();
    }
    /// Columns of a tile that transforms read, whole vectors of them.
    int64_t read_width() const {
        return round_up(columns.n, down.lanes);
    }
    /// An odd number of vectors: rows of a tile share few sets of L1.
    int64_t pitch() const {
        return (read_width() / down.lanes | 1) * down.lanes;
    }
    int64_t tile_floats() const {
        return rows.n * pitch();
    }
    /// Of a tile's spectra; of a filter's.
    int64_t spectrum_floats() const {
        return down.blocks() * 2 * read_width() * down.lanes;
    }
    int64_t filter_floats() const {
        return down.blocks() * 2 * columns.n * down.lanes;
    }
    int64_t width() const {
        return round_up(columns.step, down.lanes);
    }
    double seconds(const Conv2dProblem &p, const CostModel &model) const;
};

/// Zen 4, AVX2, 2026-12-01, other work beside it, the least times: 0.57 ns times n log2 n for 8 columns forward, 0.62 inverse and 1.7 for a
/// block of rows there and back; the tile's copy and crop move 35 GB/s. Where an image is beyond L3, what a tile touches and L2 does not
/// keep comes from memory: rows of 240 x 240 tiles take 3.2 us a block in 1000x1000, 4.9 us in a 4K image. With AVX-512 these cycles are a guess
/// from AVX2's: on a loaded Sapphire Rapids they took 1.5 (columns) to 2.2 times (rows) as long, and lane_columns as much longer.
double PixelTiling::seconds(const Conv2dProblem &p, const CostModel &model) const {
    const double vectors = static_cast<double>(down.lanes) / model.lanes;
    const auto steps = [](int64_t n) { return static_cast<double>(n) * std::log2(static_cast<double>(n)); };
    const double wide = static_cast<double>(read_width() / down.lanes), kept = static_cast<double>(width() / down.lanes);
    const double cycles = (1.7 * wide + 1.85 * kept) * steps(rows.n) + 5.1 * static_cast<double>(down.blocks()) * steps(columns.n);
    const double moved = static_cast<double>(rows.n * columns.n + rows.step * columns.step) * sizeof(float);
    const double touched = moved + static_cast<double>(tile_floats() + spectrum_floats() + filter_floats()) * sizeof(float);
    const double images = static_cast<double>(p.batch * (p.in_channels * p.in_height * p.in_width + p.out_channels * rows.out * columns.out)) * sizeof(float);
    double one = vectors * cycles / model.hertz + 2.0 * moved / (1.4 * model.copy_bytes_per_second) + 4.0 * model.call_seconds;
    if (touched > 0.9 * static_cast<double>(machine().l2_bytes) && images > static_cast<double>(machine().l3_bytes)) {
        one += touched / model.copy_bytes_per_second;
    }
    return static_cast<double>(tasks(p)) * one;
}

class FftPixelsPlan final : public AlgorithmPlan {
public:
    FftPixelsPlan(const PlanRequest &request, const PixelTiling &tiling)
        : problem_(request.problem), tiling_(tiling), rows_(tiling.rows), columns_(tiling.columns), columns_forward_(*tiling.down.columns_forward), columns_inverse_(*tiling.down.columns_inverse), rows_product_(*tiling.across.rows_product), rows_none_(*tiling.across.rows_none), pad_(PadStage::find(problem_)), place_(*find_variant("place_filters")), crop_(CropStage::find(Layout::kNchw)), post_(kernel_post_op(problem_)), threads_(request.options.threads), pitch_(tiling.pitch()), lanes_(tiling.down.lanes), width_(tiling.read_width()), blocks_(tiling.down.blocks()), spectrum_(tiling.spectrum_floats()), filter_(tiling.filter_floats()) {
        const Conv2dProblem &p = problem_;
        variant = rows_product_.name;
        pack_rate = 3e9;
        choice = tiling.choice();
        rows_.inside(inside_top_, inside_bottom_);
        columns_.inside(inside_left_, inside_right_);
        in_place_ = rows_.read == rows_.n && columns_.read == columns_.n;
        row_places_ = AxisTaps(tap_positions(p.filter_height, p.dilation_h, 0), 1).filter_places(p.filter_mode, [&](int64_t shift) { return rows_.place(shift); });
        column_places_ = AxisTaps(tap_positions(p.filter_width, p.dilation_w, 0), 1).filter_places(p.filter_mode, [&](int64_t shift) { return columns_.place(shift); });
        row_offsets_ = tiling.down.places(pitch_);
        row_points_ = tiling.down.places(1);
        column_points_ = tiling.across.places(1);
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        const double packed = static_cast<double>(filter_) * static_cast<double>(p.out_channels) * sizeof(float);
        if (packed > 1e15) {
            return Status(StatusCode::kResourceExhausted, "the filter spectra would need over 10^15 bytes");
        }
        packed_bytes = static_cast<size_t>(round_up(static_cast<int64_t>(packed), static_cast<int64_t>(kAlignment)));
        Arena slot;
        tile_offset_ = slot.reserve_floats(static_cast<double>(tiling_.tile_floats()));
        spectrum_offset_ = slot.reserve_floats(static_cast<double>(spectrum_));
        slot_bytes_ = slot.bytes();
        serial_workspace_bytes = workspace_bytes = slot_bytes_;
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        const int64_t tasks = tiling_.tasks(p);
        slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(tasks), workspace_limit / slot_bytes_}));
        workspace_bytes = slot_bytes_ * static_cast<size_t>(slots_);
        pack_slots_ = static_cast<int>(std::min({static_cast<size_t>(threads_), static_cast<size_t>(p.out_channels), workspace_limit / slot_bytes_}));
        pack_workspace_bytes = slot_bytes_ * static_cast<size_t>(pack_slots_);

        layout = "fft_tiled pixels " + rows_.name() + " " + columns_.name();
        details = "tiles of " + std::to_string(rows_.n) + "x" + std::to_string(columns_.n) + " that advance by " + std::to_string(rows_.step) + "x" + std::to_string(columns_.step) + ", " + std::to_string(rows_.tiles) + "x" + std::to_string(columns_.tiles) + " to a plane, one at a time";
        const CostModel model(rows_product_.isa);
        const double serial = tiling_.seconds(p, model);
        serial_seconds = serial + 2e-6;
        predicted_seconds = serial / CostModel::parallel(threads_, tasks) + 2e-6;
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(rows_.n) * static_cast<double>(columns_.n)));
        return parallel_for(execution, pack_slots_, p.out_channels, [&](int64_t index, int slot, KernelContext &context) {
            std::byte *base = workspace + static_cast<size_t>(slot) * slot_bytes_;
            float *tile = floats_at(base, tile_offset_), *spectrum = floats_at(base, spectrum_offset_);
            clear_unused(tile, spectrum);
            const Ints<1> places_h(row_places_.data(), {{p.filter_height, 1}});
            const Ints<1> places_w(column_places_.data(), {{p.filter_width, 1}});
            const Floats<3> from(w.data + index * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {1, 0}});
            const Floats<3> to(tile, {{columns_.n, 1}, {rows_.n, pitch_}, {1, 0}});
            return call(place_, context, from, places_h, places_w, to) && transform_columns(tile, spectrum, context) &&
                   call(rows_none_, context, spectra(spectrum, columns_.n), column_points(), spectra(spectrum, columns_.n), scale, filter(floats_at(packed, 0) + index * filter_));
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t tiles = tiling_.tiles(), outputs = p.out_channels / p.in_channels;
        for (int slot = 0; slot < slots_; slot++) {
            std::byte *base = workspace + static_cast<size_t>(slot) * slot_bytes_;
            clear_unused(floats_at(base, tile_offset_), floats_at(base, spectrum_offset_));
        }
        return parallel_for(execution, slots_, tiling_.tasks(p), [&](int64_t index, int slot, KernelContext &context) {
            std::byte *base = workspace + static_cast<size_t>(slot) * slot_bytes_;
            float *tile = floats_at(base, tile_offset_), *spectrum = floats_at(base, spectrum_offset_);
            const int64_t ty = index % tiles / columns_.tiles, tx = index % columns_.tiles;
            const int64_t image = index / tiles % p.batch, k = index / tiles / p.batch;
            const float *plane = t.input.data + image * t.input.s[0] + k / outputs * t.input.s[1];
            if (!copy(plane, t.input.s[2], ty, tx, tile, context) || !transform_columns(tile, spectrum, context)) {
                return false;
            }
            const float *w = floats_at(packed, 0) + k * filter_;
            const Floats<2> rows(tile, {{tiling_.width(), 1}, {rows_.n, pitch_}});
            const Ints<1> row_points(row_points_.data(), {{rows_.n, 1}});
            return call(rows_product_, context, spectra(spectrum, columns_.n), column_points(), filter(w), 1.0f, spectra(spectrum, columns_.n)) &&
                   call(columns_inverse_, context, spectra(spectrum, width_), row_points, rows) && finish(t, image, k, ty, tx, tile, context);
        });
    }

private:
    Floats<4> spectra(const float *spectrum, int64_t columns) const {
        return Floats<4>(spectrum, {{lanes_, 1}, {columns, lanes_}, {2, width_ * lanes_}, {blocks_, 2 * width_ * lanes_}});
    }
    Floats<4> filter(const float *w) const {
        return Floats<4>(w, {{lanes_, 1}, {columns_.n, 2 * lanes_}, {2, lanes_}, {blocks_, 2 * columns_.n * lanes_}});
    }
    Ints<1> column_points() const {
        return Ints<1>(column_points_.data(), {{columns_.n, 1}});
    }
    bool transform_columns(const float *tile, float *spectrum, KernelContext &context) const {
        const Ints<1> offsets(row_offsets_.data(), {{rows_.n, 1}});
        return call(columns_forward_, context, Floats<1>(tile, {{tiling_.tile_floats(), 1}}), offsets, spectra(spectrum, width_));
    }

    /// Lanes that nothing uses are transformed all the same: zeros stay zeros, where denormals would take their time.
    void clear_unused(float *tile, float *spectrum) const {
        const int64_t block = 2 * width_ * lanes_;
        if (tiling_.down.groups() * tiling_.down.even() % lanes_ != 0) {
            std::memset(spectrum + (blocks_ - 1) * block, 0, static_cast<size_t>(block) * sizeof(float));
        }
        for (int64_t y = 0; width_ > columns_.n && y < rows_.n; y++) {
            std::memset(tile + y * pitch_ + columns_.n, 0, static_cast<size_t>(width_ - columns_.n) * sizeof(float));
        }
    }

    /// The pixels of a tile, with the padding that it reaches.
    bool copy(const float *plane, int64_t pitch, int64_t ty, int64_t tx, float *tile, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        if (in_place_ && ty >= inside_top_ && ty < inside_bottom_ && tx >= inside_left_ && tx < inside_right_) {
            const float *from = plane + rows_.origin(ty) * pitch + columns_.origin(tx);
            for (int64_t y = 0; y < rows_.n; y++) {
                if (y + kBand < rows_.n) {
                    prefetch<0>(from + (y + kBand) * pitch, columns_.n, 1, pitch);
                }
                std::memcpy(tile + y * pitch_, from + y * pitch, static_cast<size_t>(columns_.n) * sizeof(float));
            }
            return true;
        }
        const PlanesIn in = {plane, p.in_width, p.in_height, 1, pitch, 0};
        const PlanesOut out = {tile, columns_.n, rows_.n, 1, pitch_, 0};
        return pad_.run_within(in, out, columns_.read, rows_.read, 1, 1, columns_.origin(tx), rows_.origin(ty), context);
    }

    bool finish(const ForwardTensors &t, int64_t image, int64_t k, int64_t ty, int64_t tx, const float *tile, KernelContext &context) const {
        const int64_t top = ty * rows_.step, left = tx * columns_.step;
        const int64_t width = columns_.count(tx), height = rows_.count(ty);
        const auto at = [&](const int64_t (&s)[4]) { return image * s[0] + k * s[1] + top * s[2] + left; };
        const PlanesIn from = {tile + rows_.skipped(ty) * pitch_ + columns_.skipped(tx), width, height, 1, pitch_, 0};
        const PlanesOut to = {t.output.data + at(t.output.s), width, height, 1, t.output.s[2], 0};
        const PlanesIn residual = {t.residual.data == nullptr ? nullptr : t.residual.data + at(t.residual.s), width, height, 1, t.residual.s[2], 0};
        const float bias = t.bias == nullptr ? 0.0f : t.bias[k];
        return crop_.run(from, to, &bias, residual, post_, context);
    }

    const Conv2dProblem problem_;
    const PixelTiling tiling_;
    const TileAxis rows_, columns_;
    const Variant &columns_forward_, &columns_inverse_, &rows_product_, &rows_none_;
    const PadStage pad_;
    const Variant &place_;
    const CropStage crop_;
    const KernelPostOp post_;
    const int threads_;
    const int64_t pitch_, lanes_, width_, blocks_, spectrum_, filter_;  ///< floats between rows of a tile; of a vector; columns transformed; blocks of frequencies; floats of a spectrum and of a filter's
    bool in_place_ = false;  ///< tiles inside the image are of n x n pixels
    int64_t inside_top_ = 0, inside_bottom_ = 0, inside_left_ = 0, inside_right_ = 0;
    std::vector<int32_t> row_places_, column_places_;               ///< of a filter's taps
    std::vector<int32_t> row_offsets_, row_points_, column_points_;  ///< PlaneKernels::places
    int slots_ = 1, pack_slots_ = 1;
    size_t slot_bytes_ = 0, tile_offset_ = 0, spectrum_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled_pixels(const PlanRequest &request) {
    if (Status status = lane_transforms_take(request.problem); !status.ok()) {
        return status;
    }
    const Result<NamedProduct> named = named_product(request, "plane_rows");
    if (!named) {
        return named.status();
    }
    if (named->variant != nullptr && std::strstr(named->variant->name, "_none") != nullptr) {
        return Status(StatusCode::kUnsupported, "'" + request.options.variant + "' transforms filters; a plan is named by the variant that multiplies");
    }
    if (named->isa == Isa::kGeneric && named->variant == nullptr && request.choice.empty()) {
        return Status(StatusCode::kUnsupported, "transforms with lanes along pixels were measured on AVX2 and AVX-512; elsewhere plane_rows has to be named");
    }
    return best_tiling<FftPixelsPlan, PixelTiling>(request, *named, "plane_rows", plane_lengths(named->isa), [](const PlaneKernels &down, const PlaneKernels &across, const TileAxis &rows, const TileAxis &columns, std::vector<PixelTiling> &list) {
        list.emplace_back(down, across, rows, columns);
    });
}

}  // namespace fourfold
