// fft_tiled (overlap-save): tiles are transformed by a DFT, and multiplied per frequency with the filters' spectra (a complex
// GEMM). See tiled_plan.h for the flow of work, generators/small_fft.h for the transforms. Without channels to sum over,
// algorithm_fft_tiled_planes.cpp is the other way to plan.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "algorithm.h"
#include "kernel.h"
#include "tiled_plan.h"

namespace fourfold {
namespace {

class FftTiledPlan final : public TiledPlan {
public:
    FftTiledPlan(const PlanRequest &request, const Variant &product, const TileTransform &tile)
        : TiledPlan(request, product, tile, hermitian_points(tile.t)), place_(*find_variant("place_filters")), block_(*find_variant("block_channels", "layout=nchw")), pack_(*find_variant("pack_tile_filters", "wide=0")), pack_wide_(*find_variant("pack_tile_filters", "wide=1")), real_channels_(problem_.in_channels / problem_.groups) {
        const auto as_is = [](int64_t shift) { return shift; };
        row_places_ = blocks_.rows().filter_places(problem_.filter_mode, as_is);
        column_places_ = blocks_.columns().filter_places(problem_.filter_mode, as_is);
        pack_rate = 1.5e9;
        layout = "fft_tiled t" + std::to_string(t_) + " k" + std::to_string(width_) + " x" + std::to_string(factors_);
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        clear_gaps(floats_at(packed, 0));
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
            const int64_t frequency = pack_frequency();
            for (int64_t k = 0; k < outputs; k++) {
                const float *filter = w.data + (g * outputs_ + kb * width_ + k) * w.s[0];
                for (int64_t v = first; v < first + count;) {
                    // A run of real channels of one phase.
                    const int64_t phase = v / real_channels_, c = v % real_channels_;
                    const int64_t run = std::min(first + count - v, real_channels_ - c);
                    const int64_t phase_columns = static_cast<int64_t>(blocks_.columns().phases.size());
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
            const int64_t step = filter_step();
            float *target = floats_at(packed, 0) + g * points_ * step + (kb * channels_ + first) * factors_ * width_;
            const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 28) / step, 1, points_);
            for (int64_t f = 0; f < points_; f += at_once) {
                const int64_t n = std::min(at_once, points_ - f);
                const Floats<4> from(spectra + f * frequency, {{count, 1}, {2, kLanes}, {outputs, 2 * kLanes}, {n, frequency}});
                const Floats<5> to(target + f * step, {{width_, 1}, {factors_, width_}, {count, factors_ * width_}, {1, channels_ * factors_ * width_}, {n, step}});
                if (!call(count >= 8 ? pack_wide_ : pack_, context, from, scale, to)) {
                    return false;
                }
            }
            return true;
        });
    }

private:
    /// Floats between the frequencies of a packing task's spectra: a line more than they have, or all would share a few places in L1.
    int64_t pack_frequency() const {
        return width_ * 2 * kLanes + kLanes;
    }
    size_t lay_out_packing() override {
        Arena pack;
        const int64_t pitch = round_up(t_, kLanes);
        pack_planes_offset_ = pack.reserve_floats(static_cast<double>(kLanes * (t_ * pitch + kLanes)));
        pack_blocked_offset_ = pack.reserve_floats(static_cast<double>(t_ * pitch * kLanes));
        pack_spectra_offset_ = pack.reserve_floats(static_cast<double>(points_ * pack_frequency()));
        pack_heap_offset_ = pack.reserve(static_cast<double>(heap_bytes()));
        return pack.bytes();
    }
    /// Measured at t = 16: 2.2 counted operations (2.5 N log2 N) a cycle and vector; straight-line, but full of spills.
    double transform_seconds(const CostModel &model) const override {
        const double n = static_cast<double>(t_ * t_), vectors = static_cast<double>(kLanes) / model.lanes;
        return 2.5 * n * std::log2(n) * vectors / 2.2 / model.hertz;
    }
    double block_share_of_l2() const override {
        return 1.5;
    }

    const Variant &place_, &block_, &pack_, &pack_wide_;  ///< pack_wide_ from 8 channels on
    const int64_t real_channels_;  ///< of a group, phases not counted
    std::vector<int32_t> row_places_, column_places_;
    size_t pack_planes_offset_ = 0, pack_blocked_offset_ = 0, pack_spectra_offset_ = 0, pack_heap_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft_tiled(const PlanRequest &request) {
    if (!request.options.variant.empty()) {
        // A variant may force the tile size (tile_forward_...), the product, or transforms without a sum (lane_columns_...).
        const bool lanes = request.options.variant.rfind("lane_columns", 0) == 0;
        return lanes ? plan_fft_tiled_planes(request) : best_tiled_plan<FftTiledPlan>(request, "tile_forward", "tile_product", fft_tile_sizes);
    }
    Result<std::unique_ptr<AlgorithmPlan>> plan = best_tiled_plan<FftTiledPlan>(request, "tile_forward", "tile_product", fft_tile_sizes);
    Result<std::unique_ptr<AlgorithmPlan>> planes = plan_fft_tiled_planes(request);
    const bool better = planes.ok() ? !plan.ok() || (*planes)->ranked_seconds < (*plan)->ranked_seconds : !plan.ok() && planes.status().code() == StatusCode::kResourceExhausted;
    return better ? std::move(planes) : std::move(plan);
}

}  // namespace fourfold
