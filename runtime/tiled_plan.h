// What fft_tiled and winograd share: the image is cut into overlapping t x t tiles, each transformed, multiplied point by
// point of the transform with the transformed filters summed over channels (a GEMM per point), and transformed back;
// t - f + 1 rows and columns of a tile are valid. 16 channels to a vector throughout.
//
// Work goes block by block of tile rows, so that a block's transforms stay in the caches, in three phases of parallel tasks:
//
//     band of tile rows x 16 channels   load -> forward    -> X[point][tile][part][channel]
//     runs of points                    product            -> Y[point][tile][part][output]
//     band of tile rows x 16 outputs    inverse -> store (bias, residual, post-op) -> y
//
// Where the filters leave room in L2, blocks are small enough to stay there, and a task is all three phases of one.
//
// Stride and dilation by decimation (channel_blocks.h): phases are further channels, lattices further tiles.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "algorithm.h"
#include "arena.h"
#include "channel_blocks.h"
#include "cost_model.h"
#include "registry.h"
#include "variant_choice.h"

namespace fourfold {

/// The transform of one tile size.
struct TileTransform {
    const Variant *forward;
    const Variant *inverse;
    int64_t t;        ///< rows and columns of a tile
    int64_t columns;  ///< of the transform's t rows: t, or t/2 + 1 where the rest is known by symmetry
    int64_t parts;    ///< 2 for complex values
    int64_t taps = 0;  ///< rows and columns of a filter that are transformed; 0: as many as it has
};

/// Those of a rung of the ladder: the variants of both stages with equal parameters. `make(forward, inverse)` fills in the rest.
template<typename Make>
std::vector<TileTransform> tile_transforms(Isa isa, const char *forward_stage, const char *inverse_stage, const Make &make) {
    std::vector<TileTransform> list;
    for (const Variant *forward : variants_of(forward_stage, isa)) {
        for (const Variant *inverse : variants_of(inverse_stage, isa)) {
            if (std::strcmp(inverse->parameters, forward->parameters) == 0) {
                list.push_back(make(*forward, *inverse));
            }
        }
    }
    return list;
}

/// Winograd's transforms of a rung for filters of taps x taps, 2 or 3; those beyond 7x7 only in accuracy class relaxed, or where they
/// are named.
std::vector<TileTransform> winograd_tile_sizes(Isa isa, const PlanRequest &request, int64_t taps);
/// The generated DFTs of a rung.
std::vector<TileTransform> fft_tile_sizes(Isa isa);
/// How many times as fast as a straight-line one, which spills, a DFT of this size is.
double fft_tile_speed(const TileTransform &tile);
/// What tile transforms put between their two passes, in bytes.
size_t tile_heap_bytes(int64_t t);

/// Points of a transform, one after the other.
struct PointRun {
    int64_t begin, end;
};
/// Those of a t x t DFT that its inverse reads: of the Hermitian columns kx = 0 and t/2 only ky <= t/2.
std::vector<PointRun> hermitian_points(int64_t t);
int64_t count_points(const std::vector<PointRun> &runs);
/// Calls body(first, count) for the points that are number [at, end) among those of the runs, piece by piece. False, and no
/// further piece, when a call returns false.
template<typename Body>
bool for_each_piece(const std::vector<PointRun> &runs, int64_t at, int64_t end, const Body &body) {
    // Number `at` among all lies in the run that begins at number `skipped`.
    int64_t skipped = 0;
    for (const PointRun &run : runs) {
        const int64_t length = run.end - run.begin;
        if (at < end && at < skipped + length) {
            const int64_t f = run.begin + at - skipped, n = std::min(end - at, run.end - f);
            if (!body(f, n)) {
                return false;
            }
            at += n;
        }
        skipped += length;
    }
    return true;
}

class TiledPlan : public AlgorithmPlan {
public:
    Status block(size_t workspace_limit);
    Status forward(const ForwardTensors &tensors, const std::byte *packed, std::byte *workspace, const Execution &execution) const override;

protected:
    static constexpr int64_t kLanes = ChannelBlocks::kLanes;

    /// `useful`: the runs of points whose products the inverse reads.
    TiledPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile, std::vector<PointRun> useful);

    /// Bytes of a pack task's scratch, of so many at hand.
    virtual size_t lay_out_packing(size_t at_hand) = 0;
    /// Tasks of packing: some channels of a group and of a register tile's outputs.
    int64_t pack_tasks() const {
        return problem_.groups * output_blocks_ * ceil_div(channels_, pack_channels_);
    }
    /// Of one tile of 16 channels, one way.
    virtual double transform_seconds(const CostModel &model) const = 0;
    /// Size of the smallest block's transforms that is worth choosing, as measured, and of a block that stays in L2 with filters that
    /// take little of it.
    virtual double block_share_of_l2() const = 0;
    virtual double near_share_of_l2() const {
        return block_share_of_l2();
    }
    /// Why the transform cannot do the problem, if so.
    virtual Status check() const {
        return Status();
    }

    size_t heap_bytes() const {
        return tile_heap_bytes(t_);
    }
    void give_heap(KernelContext &context, std::byte *base, size_t offset) const {
        context.heap = base + offset;
        context.heap_bytes = heap_bytes();
    }
    /// Floats between the filters of two points: a line more than they have, since packing writes all points side by side, and
    /// lines a power of two apart would share few places in the caches.
    int64_t filter_step() const {
        return output_blocks_ * channels_ * factors_ * width_ + kLanes;
    }
    /// What packing leaves unwritten between points.
    void clear_gaps(float *packed) const {
        for (int64_t i = 1; i <= problem_.groups * points_; i++) {
            std::fill_n(packed + i * filter_step() - kLanes, kLanes, 0.0f);
        }
    }

    /// Filters of up to 16 outputs and channels, from `from` on, as (channel, tap, output); missing outputs are zero.
    bool gather(const StridedIn &w, const float *from, int64_t outputs, int64_t count, float *to, KernelContext &context) const;

    const Conv2dProblem problem_;
    const Variant &product_;
    const TileTransform tile_;
    const ChannelBlocks blocks_;
    const Variant &transpose_;
    const int threads_;
    const int64_t t_, r_, width_;  ///< tile size; tiles and output channels of the product's register tile
    const int64_t factors_;        ///< real numbers of a filter's point: 1, 2 for a complex one, 3 for Gauss's product
    int64_t step_h_, step_w_;      ///< valid rows and columns of a tile
    int64_t channels_, outputs_;   ///< of a group; channels_ counts phases
    int64_t channel_blocks_, output_blocks_, points_;
    int64_t pack_channels_ = kLanes;  ///< of a pack task
    int64_t pack_slots_ = 1;
    size_t pack_slot_bytes_ = 0;

private:
    /// Rows of tiles of one image and lattice that a task does together.
    struct Band {
        int64_t image, top;  ///< its first output row is `top`, the others follow lattice_h apart
        int64_t first, rows;  ///< number of its first row among all, and how many
    };
    Band band(int64_t index) const;
    int64_t row_of_band(int64_t index) const;
    int64_t padded_channels() const {
        return channel_blocks_ * kLanes;
    }
    int64_t padded_outputs() const {
        return output_blocks_ * width_;
    }
    /// Some bands of a group, and where their transforms lie.
    struct Block {
        int64_t group, first, bands;
        int64_t rows;  ///< of tiles
        float *x, *y;
    };
    Block block_at(std::byte *workspace, int64_t index, int slot) const;
    int64_t group_blocks() const;
    std::byte *slot_at(std::byte *workspace, int slot) const {
        return workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
    }
    bool near_filters() const;
    int64_t block_tiles(int64_t rows) const;
    double transform_floats(int64_t rows) const;
    void divide(int64_t rows, int threads);
    void lay_out();
    void predict();
    // Tasks of a block: a band of 16 channels, some points, a band of 16 outputs.
    int64_t input_tasks(const Block &block) const {
        return block.bands * channel_blocks_;
    }
    int64_t output_tasks(const Block &block) const;
    bool transform_input(const ForwardTensors &t, std::byte *workspace, const Block &block, int64_t task, int slot, KernelContext &context) const;
    bool multiply(const std::byte *packed, const Block &block, int64_t part, int64_t parts, KernelContext &context) const;
    bool transform_output(const ForwardTensors &t, std::byte *workspace, const Block &block, int64_t task, int slot, KernelContext &context) const;

    const std::vector<PointRun> useful_;
    const int64_t useful_points_;
    int64_t lattices_h_, lattices_w_;  ///< that have outputs
    int64_t tiles_h_, tiles_w_;        ///< of one lattice
    int64_t row_tiles_, rows_;         ///< tiles of a row, all lattices'; rows of all images
    int64_t strip_width_, out_width_;
    int64_t band_rows_ = 1, bands_ = 1, block_bands_ = 1, block_rows_ = 1;
    int64_t x_tile_ = 0, y_tile_ = 0, x_point_ = 0, y_point_ = 0;  ///< floats between tiles, between points
    bool private_ = false;  ///< each slot has transforms of its own, for whole blocks
    int slots_ = 1;
    size_t bias_offset_ = 0, x_offset_ = 0, y_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, flat_offset_ = 0, blocked_offset_ = 0, heap_offset_ = 0;
};

/// Of a list of transforms and the variants of `product_stage` the plan that the cost model likes best. The forced variant
/// may be the forward transform's, which then decides the tile size, or the product's.
template<typename PlanType>
Result<std::unique_ptr<AlgorithmPlan>> best_tiled_plan(const PlanRequest &request, const char *forward_stage, const char *product_stage, const std::function<std::vector<TileTransform>(Isa)> &transforms) {
    std::vector<TileTransform> sizes = transforms(best_isa());
    PlanRequest unforced = request;
    for (const Variant &v : registry()) {
        if (request.options.variant == v.name && std::strcmp(v.stage, forward_stage) == 0 && v.isa >= best_isa()) {
            sizes = transforms(v.isa);
            sizes.erase(std::remove_if(sizes.begin(), sizes.end(), [&](const TileTransform &size) { return size.forward != &v; }), sizes.end());
            unforced.options.variant.clear();
            if (sizes.empty()) {
                return Status(StatusCode::kUnsupported, "'" + request.options.variant + "' has no inverse for filters of this size");
            }
        }
    }
    Result<std::unique_ptr<AlgorithmPlan>> plan = best_variant<PlanType>(unforced, product_stage, [&](const Variant &product, const auto &consider) {
        for (const TileTransform &size : sizes) {
            consider(std::make_unique<PlanType>(unforced, product, size));
        }
    });
    if (plan.ok() && unforced.options.variant != request.options.variant) {
        (*plan)->variant = request.options.variant;
    }
    return plan;
}

}  // namespace fourfold
