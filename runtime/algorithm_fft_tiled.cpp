// fft_tiled (overlap-save): tiles are transformed by a DFT, and multiplied per frequency with the filters' spectra (a complex
// GEMM). See tiled_plan.h for the flow of work, generators/small_fft.h for the transforms. Without channels to sum over,
// algorithm_fft_tiled_planes.cpp is the other way to plan.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "algorithm.h"
#include "gathered_points.h"
#include "kernel.h"
#include "tiled_plan.h"

namespace fourfold {
namespace {

class FftTiledPlan final : public TiledPlan {
public:
    FftTiledPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile)
        : TiledPlan(request, product, tile, hermitian_points(tile.t)), real_channels_(problem_.in_channels / problem_.groups) {
        // Mirrored filters have the conjugate spectrum, which correlation multiplies by.
        const auto mirrored = [this](int64_t shift) { return (t_ - shift) % t_; };
        row_places_ = blocks_.rows().filter_places(problem_.filter_mode, mirrored);
        column_places_ = blocks_.columns().filter_places(problem_.filter_mode, mirrored);
        layout = "fft_tiled t" + std::to_string(t_) + " k" + std::to_string(width_) + " x" + std::to_string(factors_);
    }

    /// Output channels are the lanes, as in the packed block: a filter's taps go into tiles that are zero elsewhere, whose transforms
    /// are written where they belong.
    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        clear_gaps(floats_at(packed, 0));
        return parallel_for(execution, static_cast<int>(pack_slots_), pack_tasks(), [&](int64_t index, int slot, KernelContext &context) {
            const int64_t parts = ceil_div(channels_, pack_channels_);
            const int64_t first = index % parts * pack_channels_, end = std::min(channels_, first + pack_channels_);
            const int64_t kb = index / parts % output_blocks_;
            const int64_t g = index / parts / output_blocks_;
            std::byte *base = workspace + static_cast<size_t>(slot) * pack_slot_bytes_;
            give_heap(context, base, pack_heap_offset_);
            float *const block = floats_at(packed, 0) + g * points_ * filter_step() + (kb * channels_ + first) * factors_ * width_;
            float *const points = gathered_.begin(block, base);
            int64_t cleared = -1;
            for (int64_t v = first, run = 0; v < end; v += run) {
                // Real channels of one phase, whose taps have the same places.
                const int64_t phase = v / real_channels_, c = v % real_channels_;
                run = std::min({end - v, real_channels_ - c, pack_tiles_});
                if (phase != cleared) {
                    std::fill_n(floats_at(base, pack_planes_offset_), pack_tiles_ * t_ * t_ * kLanes, 0.0f);
                    cleared = phase;
                }
                for (int64_t lane = 0; lane < width_; lane += kLanes) {
                    const int64_t k = kb * width_ + lane, outputs = std::clamp<int64_t>(outputs_ - k, 0, kLanes);
                    float *taps = floats_at(base, pack_taps_offset_), *tiles = floats_at(base, pack_planes_offset_);
                    if (!gather(w, w.data + (outputs > 0 ? (g * outputs_ + k) * w.s[0] + c * w.s[1] : 0), outputs, run, taps, context)) {
                        return false;
                    }
                    for (int64_t i = 0; i < run; i++) {
                        place(taps + i * p.filter_height * p.filter_width * kLanes, phase, tiles + i * t_ * t_ * kLanes);
                    }
                    float *target = points + (v - first) * factors_ * width_ + lane;
                    if (!(through_ ? transform_through(tiles, run, base, target, context) : transform(tiles, run, target, width_, 2 * width_, gathered_.step(), context))) {
                        return false;
                    }
                }
            }
            gathered_.store(base, end - first, block, context);
            return true;
        });
    }

private:
    /// The taps of 16 filters, scaled for the inverse transform, in a tile that is zero elsewhere.
    void place(const float *taps, int64_t phase, float *tile) const {
        const int64_t phase_columns = static_cast<int64_t>(blocks_.columns().phases.size());
        const int32_t *rows = row_places_.data() + phase / phase_columns * problem_.filter_height;
        const int32_t *columns = column_places_.data() + phase % phase_columns * problem_.filter_width;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(t_) * static_cast<double>(t_)));
        for (int64_t r = 0; r < problem_.filter_height; r++) {
            for (int64_t s = 0; s < problem_.filter_width; s++, taps += kLanes) {
                if (rows[r] < 0 || columns[s] < 0) {
                    continue;
                }
                float *to = tile + (rows[r] * t_ + columns[s]) * kLanes;
                for (int64_t l = 0; l < kLanes; l++) {
                    to[l] = scale * taps[l];
                }
            }
        }
    }
    /// `count` tiles' spectra, with so many floats between parts, tiles and points.
    bool transform(const float *tiles, int64_t count, float *to, int64_t part, int64_t tile, int64_t point, KernelContext &context) const {
        const Floats<5> in(tiles, {{kLanes, 1}, {t_, kLanes}, {count, t_ * t_ * kLanes}, {t_, t_ * kLanes}, {1, count * t_ * t_ * kLanes}});
        const Floats<6> out(to, {{kLanes, 1}, {1, kLanes}, {2, part}, {count, tile}, {t_, point}, {t_ / 2 + 1, point * t_}});
        return call(*tile_.forward, context, in, out);
    }
    /// The same for Gauss's product, whose factors are re, im - re and re + im, and for blocks beyond a kernel call's reach.
    bool transform_through(const float *tiles, int64_t count, std::byte *base, float *target, KernelContext &context) const {
        float *spectra = floats_at(base, pack_spectra_offset_);
        const int64_t point = 2 * kLanes * count;
        if (!transform(tiles, count, spectra, kLanes, 2 * kLanes, point, context)) {
            return false;
        }
        for (int64_t f = 0; f < points_; f++) {
            for (int64_t i = 0; i < count; i++) {
                const float *re = spectra + f * point + i * 2 * kLanes, *im = re + kLanes;
                float *to = target + f * gathered_.step() + i * factors_ * width_;
                for (int64_t l = 0; l < kLanes; l++) {
                    const float a = re[l], b = im[l];
                    to[l] = a;
                    to[width_ + l] = factors_ == 2 ? b : b - a;
                    if (factors_ == 3) {
                        to[2 * width_ + l] = a + b;
                    }
                }
            }
        }
        return true;
    }
    size_t lay_out_packing(size_t at_hand) override {
        // Small tiles go several to a call.
        pack_tiles_ = std::clamp<int64_t>(pack_bytes_at_once / (t_ * t_ * kLanes * static_cast<int64_t>(sizeof(float))), 1, kLanes);
        Arena pack;
        pack_taps_offset_ = pack.reserve_floats(static_cast<double>(pack_tiles_ * problem_.filter_height * problem_.filter_width * kLanes));
        pack_planes_offset_ = pack.reserve_floats(static_cast<double>(pack_tiles_ * t_ * t_ * kLanes));
        const double spectra = factors_ == 3 ? static_cast<double>(points_ * 2 * kLanes * pack_tiles_) * sizeof(float) : 0.0;  // reserved below
        gathered_.lay_out(pack, static_cast<double>(packed_bytes), points_, factors_ * width_, channels_, filter_step(), static_cast<double>(at_hand) - spectra - static_cast<double>(pack.bytes() + heap_bytes()));
        pack_rate = gathered_.gathers() ? 4.5e9 : 3.2e9;
        pack_channels_ = gathered_.gathers() ? gathered_.channels() : kLanes;
        through_ = factors_ == 3 || static_cast<double>(points_) * static_cast<double>(gathered_.step()) >= double(1 << 29);
        pack_spectra_offset_ = pack.reserve_floats(through_ ? static_cast<double>(points_ * 2 * kLanes * pack_tiles_) : 0.0);
        pack_heap_offset_ = pack.reserve(static_cast<double>(heap_bytes()));
        return pack.bytes();
    }
    /// Measured at t = 16: 2.2 counted operations (2.5 N log2 N) a cycle and vector where they are straight-line, but full of spills.
    double transform_seconds(const CostModel &model) const override {
        const double n = static_cast<double>(t_ * t_), vectors = static_cast<double>(kLanes) / model.lanes;
        return 2.5 * n * std::log2(n) * vectors / 2.2 / fft_tile_speed(tile_) / model.hertz;
    }
    double block_share_of_l2() const override {
        return 1.5;
    }

    static constexpr int64_t pack_bytes_at_once = 16384;
    const int64_t real_channels_;  ///< of a group, phases not counted
    std::vector<int32_t> row_places_, column_places_;
    int64_t pack_tiles_ = 1;  ///< transformed in a call
    GatheredPoints gathered_;
    bool through_ = false;    ///< spectra go through the workspace
    size_t pack_taps_offset_ = 0, pack_planes_offset_ = 0, pack_spectra_offset_ = 0, pack_heap_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        // A variant may force the tile size (tile_forward_...), the product, or transforms without a sum (lane_columns_..., plane_rows_...).
        if (request.options.variant.rfind("lane_columns", 0) == 0) {
            return plan_fft_tiled_planes(request);
        }
        if (request.options.variant.rfind("plane_rows", 0) == 0) {
            return plan_fft_tiled_pixels(request);
        }
        return best_tiled_plan<FftTiledPlan>(request, "tile_forward", "tile_product", fft_tile_sizes);
    }
    Result<std::unique_ptr<AlgorithmPlan>> best = best_tiled_plan<FftTiledPlan>(request, "tile_forward", "tile_product", fft_tile_sizes);
    for (const Planner planner : {plan_fft_tiled_planes, plan_fft_tiled_pixels}) {
        Result<std::unique_ptr<AlgorithmPlan>> plan = planner(request);
        const bool better = plan.ok() ? !best.ok() || (*plan)->ranked_seconds < (*best)->ranked_seconds : !best.ok() && plan.status().code() == StatusCode::kResourceExhausted;
        if (better) {
            best = std::move(plan);
        }
    }
    return best;
}

}  // namespace fourfold
