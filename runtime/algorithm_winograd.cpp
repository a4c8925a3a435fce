// winograd: tiles of m + 2 rows and columns are transformed by Winograd's F(m x m, 3x3) and multiplied point by point with
// the transformed filters (a real GEMM): (m + 2)^2 multiplications for 9 m^2, 2.25 times fewer at m = 2, 4 times at m = 4,
// 5.06 times at m = 6. See tiled_plan.h for the flow of work, generators/winograd_points.h for the transforms and their errors.
#include <algorithm>
#include <memory>
#include <string>

#include "algorithm.h"
#include "kernel.h"
#include "tiled_plan.h"

namespace fourfold {
namespace {

constexpr int64_t kTaps = 3;                ///< rows and columns of the filter
constexpr int64_t kPlane = kTaps * kTaps;

class WinogradPlan final : public TiledPlan {
public:
    WinogradPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile)
        : TiledPlan(request, product, tile, {{0, tile.t * tile.t}}), filters_(*find_variant("winograd_filters", tile.forward->parameters)) {
        pack_rate = 4e9;
        layout = "winograd t" + std::to_string(t_) + " k" + std::to_string(width_);
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        clear_gaps(floats_at(packed, 0));
        const bool flip = problem_.filter_mode == FilterMode::kConvolution;
        return parallel_for(execution, static_cast<int>(pack_slots_), problem_.groups * output_blocks_ * channel_blocks_, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t cb = index % channel_blocks_;
            const int64_t kb = index / channel_blocks_ % output_blocks_;
            const int64_t g = index / channel_blocks_ / output_blocks_;
            float *scratch = floats_at(workspace, static_cast<size_t>(slot) * pack_slot_bytes_);
            const int64_t first = cb * kLanes, count = std::min(kLanes, channels_ - first);
            // Convolution's flip is in the strides: the taps are then read from the last one on.
            const int64_t last = flip ? kPlane - 1 : 0, sign = flip ? -1 : 1;
            for (int64_t lane = 0; lane < width_; lane += kLanes) {
                const int64_t k = kb * width_ + lane, outputs = std::clamp<int64_t>(outputs_ - k, 0, kLanes);
                if (!gather(w, w.data + (outputs > 0 ? (g * outputs_ + k) * w.s[0] + first * w.s[1] : 0), outputs, count, scratch, context)) {
                    return false;
                }
                const Floats<4> taps(scratch + last * kLanes, {{kLanes, 1}, {kTaps, sign * kLanes}, {kTaps, sign * kTaps * kLanes}, {count, kPlane * kLanes}});
                const int64_t step = filter_step();
                float *target = floats_at(packed, 0) + g * points_ * step + (kb * channels_ + first) * width_ + lane;
                const Floats<5> out(target, {{kLanes, 1}, {1, width_}, {count, width_}, {t_, step}, {t_, t_ * step}});
                if (!call(filters_, context, taps, out)) {
                    return false;
                }
            }
            return true;
        });
    }

private:
    Status check() const override {
        const Conv2dProblem &p = problem_;
        if (p.filter_height != kTaps || p.filter_width != kTaps) {
            return Status(StatusCode::kUnsupported, "the filter is " + std::to_string(p.filter_height) + "x" + std::to_string(p.filter_width) + "; only 3x3 is transformed");
        }
        if (blocks_.phases() != 1) {
            return Status(StatusCode::kUnsupported, "the stride is " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w) + "; its phases have filters smaller than 3x3");
        }
        if (static_cast<double>(filter_step()) * static_cast<double>(points_) >= double(1 << 29)) {
            return Status(StatusCode::kUnsupported, "the transformed filters of a group are 2^31 bytes or more, beyond a kernel call's reach");
        }
        return Status();
    }
    size_t lay_out_packing() override {
        Arena pack;
        pack.reserve_floats(static_cast<double>(kLanes * kPlane * kLanes));
        return pack.bytes();
    }
    /// Bound by a load and a store of each point, twice: measured 12, 33 and 90 ns on AVX-512 for m = 2, 4 and 6.
    double transform_seconds(const CostModel &model) const override {
        const double vectors = static_cast<double>(kLanes) / model.lanes;
        return static_cast<double>(t_ * t_) * (t_ > 6 ? 4.2 : 2.8) * vectors / model.hertz;
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
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_winograd(const PlanRequest &request) {
    return best_tiled_plan<WinogradPlan>(request, "winograd_forward", "winograd_product", [&](Isa isa) { return winograd_tile_sizes(isa, request); });
}

}  // namespace fourfold
