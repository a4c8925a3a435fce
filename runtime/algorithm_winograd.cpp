// winograd: tiles of m + 2 rows and columns are transformed by Winograd's F(m x m, 3x3) and multiplied point by point with
// the transformed filters (a real GEMM): (m + 2)^2 multiplications for 9 m^2, 2.25 times fewer at m = 2, 4 times at m = 4,
// 5.06 times at m = 6. See tiled_plan.h for the flow of work, generators/winograd_points.h for the transforms and their errors.
//
// With stride 2 the four phases of a 3x3 filter have at most 2x2 taps, and the same points give F(m + 1, 2): 4 (m + 2)^2
// multiplications for 9 (m + 1)^2, 1.44 times fewer at m = 3, 1.65 times at m = 5. Filters are 25/9 * 4 and 49/9 * 4 times as large then:
// what is saved is mostly lost to taking phases apart and to reading filters. Phases of 5x5 filters have 3x3 taps: 25 m^2 for 4 (m + 2)^2.
// Emerald Rapids, one thread, 2026-11-30, milliseconds of direct | winograd | fft_tiled: 3x3 s2 128 -> 128 56x56 1.66 | 1.70 | 2.79, batch 8
// 14.6 | 15.0 | 30.8, 256 -> 256 28x28 b8 12.6 | 22.8 | 27.5; 5x5 s2 64 -> 64 56x56 b4 4.42 | 3.04 | 4.03, 32 -> 64 112x112 2.32 | 1.50 | 1.85;
// 2x2 64 -> 64 56x56 b4 2.74 | 1.99 | 3.30.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "algorithm.h"
#include "kernel.h"
#include "tiled_plan.h"

namespace fourfold {
namespace {

constexpr int64_t kTaps = 3;                ///< rows and columns of the filters that are transformed
constexpr int64_t kPlane = kTaps * kTaps;

class WinogradPlan final : public TiledPlan {
public:
    WinogradPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile)
        : TiledPlan(request, product, tile, {{0, tile.t * tile.t}}), filters_(*find_variant("winograd_filters", tile.forward->parameters)), real_channels_(problem_.in_channels / problem_.groups), places_(blocks_.phases() > 1 || problem_.filter_height != kTaps || problem_.filter_width != kTaps) {
        row_places_ = blocks_.rows().filter_places(problem_.filter_mode, [](int64_t shift) { return shift; });
        column_places_ = blocks_.columns().filter_places(problem_.filter_mode, [](int64_t shift) { return shift; });
        pack_rate = 4e9;
        layout = "winograd t" + std::to_string(t_) + " k" + std::to_string(width_);
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        clear_gaps(floats_at(packed, 0));
        return parallel_for(execution, static_cast<int>(pack_slots_), problem_.groups * output_blocks_ * channel_blocks_, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t cb = index % channel_blocks_;
            const int64_t kb = index / channel_blocks_ % output_blocks_;
            const int64_t g = index / channel_blocks_ / output_blocks_;
            float *scratch = floats_at(workspace, static_cast<size_t>(slot) * pack_slot_bytes_), *placed = scratch + pack_placed_offset_;
            const int64_t first = cb * kLanes, end = std::min(channels_, first + kLanes), step = filter_step();
            for (int64_t v = first, run = 0; v < end; v += run) {
                // Real channels of one phase, whose taps have the same places.
                const int64_t phase = v / real_channels_, c = v % real_channels_;
                run = std::min(end - v, real_channels_ - c);
                for (int64_t lane = 0; lane < width_; lane += kLanes) {
                    const int64_t k = kb * width_ + lane, outputs = std::clamp<int64_t>(outputs_ - k, 0, kLanes);
                    if (!gather(w, w.data + (outputs > 0 ? (g * outputs_ + k) * w.s[0] + c * w.s[1] : 0), outputs, run, scratch, context)) {
                        return false;
                    }
                    if (places_) {
                        place(scratch, run, phase, placed);
                    }
                    const Floats<4> taps = places_ ? Floats<4>(placed, {{kLanes, 1}, {kTaps, kLanes}, {kTaps, kTaps * kLanes}, {run, kPlane * kLanes}}) : in_order(scratch, run);
                    const Floats<5> out(floats_at(packed, 0) + g * points_ * step + (kb * channels_ + v) * width_ + lane, {{kLanes, 1}, {1, width_}, {run, width_}, {t_, step}, {t_, t_ * step}});
                    if (!call(filters_, context, taps, out)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }

private:
    /// 3x3 taps as they come; convolution's flip is in the strides: they are then read from the last one on.
    Floats<4> in_order(const float *taps, int64_t count) const {
        const bool flip = problem_.filter_mode == FilterMode::kConvolution;
        const int64_t last = flip ? kPlane - 1 : 0, sign = flip ? -1 : 1;
        return Floats<4>(taps + last * kLanes, {{kLanes, 1}, {kTaps, sign * kLanes}, {kTaps, sign * kTaps * kLanes}, {count, kPlane * kLanes}});
    }
    /// The taps of one phase as 3x3, zero where it has none.
    void place(const float *taps, int64_t count, int64_t phase, float *placed) const {
        const int64_t phase_columns = static_cast<int64_t>(blocks_.columns().phases.size());
        const int32_t *rows = row_places_.data() + phase / phase_columns * problem_.filter_height;
        const int32_t *columns = column_places_.data() + phase % phase_columns * problem_.filter_width;
        std::fill_n(placed, count * kPlane * kLanes, 0.0f);
        for (int64_t i = 0; i < count; i++, placed += kPlane * kLanes) {
            for (int64_t r = 0; r < problem_.filter_height; r++) {
                for (int64_t s = 0; s < problem_.filter_width; s++, taps += kLanes) {
                    if (rows[r] >= 0 && columns[s] >= 0) {
                        std::copy_n(taps, kLanes, placed + (rows[r] * kTaps + columns[s]) * kLanes);
                    }
                }
            }
        }
    }
    Status check() const override {
        const int64_t height = blocks_.rows().shift_max + 1, width = blocks_.columns().shift_max + 1;
        if (std::min(height, width) < 2 || std::max(height, width) > kTaps) {
            const Conv2dProblem &p = problem_;
            return Status(StatusCode::kUnsupported, "the filter is " + std::to_string(p.filter_height) + "x" + std::to_string(p.filter_width) + (blocks_.phases() > 1 ? " and the stride " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w) + ", whose phases span " + std::to_string(height) + "x" + std::to_string(width) : "") + "; only 2x2 to 3x3 is transformed");
        }
        if (static_cast<double>(filter_step()) * static_cast<double>(points_) >= double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "the transformed filters of a group are 2^31 bytes or more, beyond a kernel call's reach");
        }
        return Status();
    }
    size_t lay_out_packing(size_t) override {
        Arena pack;
        pack.reserve_floats(static_cast<double>(std::min(kLanes, real_channels_) * problem_.filter_height * problem_.filter_width * kLanes));
        pack_placed_offset_ = static_cast<int64_t>(pack.reserve_floats(places_ ? static_cast<double>(kLanes * kPlane * kLanes) : 0.0) / sizeof(float));
        return pack.bytes();
    }
    /// Bound by a load and a store of each point, twice: measured 12, 33 and 90 ns on AVX-512 for m = 2, 4 and 6. Taking a phase out of an
    /// image takes 1.7 times as long as its transform: both sides together count twice.
    double transform_seconds(const CostModel &model) const override {
        const double vectors = static_cast<double>(kLanes) / model.lanes;
        return static_cast<double>(t_ * t_) * (t_ > 6 ? 4.2 : 2.8) * (blocks_.phases() > 1 ? 2.0 : 1.0) * vectors / model.hertz;
    }
    /// Larger blocks transpose fewer rows twice and read the filters less often: VGG-16's 1_2 and 2_2 take 5.8 and 4.5 ms with
    /// 1.5, 5.2 and 4.1 with 4.
    double block_share_of_l2() const override {
        return 4.0;
    }
    /// Emerald Rapids (2 MB of L2, 30 GB/s from L3), one thread, 2026-11-30, milliseconds with 4 | 0.6: 64 -> 64 channels 56x56 0.67 |
    /// 0.61, batch 8 5.93 | 4.99, 112x112 2.93 | 2.28, 224x224 11.3 | 10.8, 64 -> 96 112x112 b2 8.65 | 7.80, 32 -> 64 1.80 | 1.35. Where filters fill L2, it loses:
    /// 128 -> 128 28x28 0.52 | 0.64.
    double near_share_of_l2() const override {
        return 0.6;
    }

    const Variant &filters_;
    const int64_t real_channels_;  ///< of a group, phases not counted
    const bool places_;            ///< filters are not 3x3 taps of one phase
    std::vector<int32_t> row_places_, column_places_;
    int64_t pack_placed_offset_ = 0;  ///< in floats
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_winograd(const PlanRequest &request) {
    const ChannelBlocks blocks(request.problem);
    const int64_t taps = std::max(blocks.rows().shift_max, blocks.columns().shift_max) == 1 ? 2 : kTaps;
    return best_tiled_plan<WinogradPlan>(request, "winograd_forward", "winograd_product", [&](Isa isa) { return winograd_tile_sizes(isa, request, taps); });
}

}  // namespace fourfold
