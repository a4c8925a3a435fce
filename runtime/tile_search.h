// The fastest of the ways to cut planes into tiles, where no sum over channels follows: what the planners of
// algorithm_fft_tiled_planes.cpp and algorithm_fft_tiled_pixels.cpp share.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "algorithm.h"
#include "cost_model.h"
#include "lane_transforms.h"
#include "tile_axis.h"

namespace fourfold {

/// The variant of `stage` that the request names, and its rung of the ladder; otherwise none, and the best rung.
struct NamedProduct {
    Isa isa = best_isa();
    const Variant *variant = nullptr;
};
inline Result<NamedProduct> named_product(const PlanRequest &request, const char *stage) {
    NamedProduct named;
    if (!request.options.variant.empty()) {
        const Result<const Variant *> variant = forced_variant(request.options, stage);
        if (!variant) {
            return variant.status();
        }
        named = {(*variant)->isa, *variant};
    }
    return named;
}

/// The plan of the likeliest tiling that fits the workspace. `lengths`: kernels, each of `n` points, the longest last. `list_tilings(down,
/// across, rows, columns, list)` appends the tilings with these kernels for the columns and the rows of the image. A Tiling has product(),
/// choice() and seconds(problem, model); a Plan is made of the request and a Tiling, and has block().
template<typename Plan, typename Tiling, typename Kernels, typename ListTilings>
Result<std::unique_ptr<AlgorithmPlan>> best_tiling(const PlanRequest &request, const NamedProduct &named, const char *stage, const std::vector<Kernels> &lengths, const ListTilings &list_tilings) {
    const Conv2dProblem &p = request.problem;
    const int64_t shift_h = (p.filter_height - 1) * p.dilation_h, shift_w = (p.filter_width - 1) * p.dilation_w;
    const bool zeros = p.padding_mode == PaddingMode::kZeros;
    const bool wraps_h = zeros || (p.pad_top == 0 && p.pad_bottom == 0), wraps_w = zeros || (p.pad_left == 0 && p.pad_right == 0);
    std::vector<Tiling> tilings;
    for (const Kernels &down : lengths) {
        for (const bool whole_h : {false, true}) {
            const TileAxis rows(down.n, whole_h, p.in_height, p.pad_top, p.pad_bottom, shift_h);
            if (!rows.possible || (whole_h && !wraps_h)) {
                continue;
            }
            for (const Kernels &across : lengths) {
                for (const bool whole_w : {false, true}) {
                    const TileAxis columns(across.n, whole_w, p.in_width, p.pad_left, p.pad_right, shift_w);
                    if (columns.possible && (!whole_w || wraps_w)) {
                        list_tilings(down, across, rows, columns, tilings);
                    }
                }
            }
        }
    }
    const CostModel model(named.isa);
    struct Tiled {
        double ranked, seconds;
        Tiling tiling;
    };
    std::vector<Tiled> list;
    bool possible = false;
    for (const Tiling &tiling : tilings) {
        if (named.variant != nullptr && named.variant != tiling.product()) {
            continue;
        }
        possible = true;
        if (!request.restricted() || request.admits(tiling.choice())) {
            const double seconds = tiling.seconds(p, model);
            list.push_back({seconds, seconds, tiling});
        }
    }
    std::sort(list.begin(), list.end(), [](const Tiled &a, const Tiled &b) { return a.seconds < b.seconds; });
    if (request.rank) {
        // Of each variant of the product its best tiling; the others in proportion.
        std::vector<std::pair<const Variant *, double>> factors;
        for (Tiled &t : list) {
            auto at = std::find_if(factors.begin(), factors.end(), [&](const auto &f) { return f.first == t.tiling.product(); });
            if (at == factors.end()) {
                at = factors.insert(at, {t.tiling.product(), request.ranked(t.tiling.choice(), t.seconds) / t.seconds});
            }
            t.ranked = t.seconds * at->second;
        }
        std::stable_sort(list.begin(), list.end(), [](const Tiled &a, const Tiled &b) { return a.ranked < b.ranked; });
    }
    std::unique_ptr<AlgorithmPlan> best;
    size_t least_bytes = std::numeric_limits<size_t>::max();
    Status status(StatusCode::kUnsupported, "the filter spans " + std::to_string(shift_h + 1) + "x" + std::to_string(shift_w + 1) + "; the longest transform has " + std::to_string(lengths.empty() ? 0 : lengths.back().n) + " points");
    std::vector<const Variant *> done;  // when all are asked for, the best of each variant
    for (const Tiled &t : list) {
        if (std::find(done.begin(), done.end(), t.tiling.product()) != done.end()) {
            continue;
        }
        auto plan = std::make_unique<Plan>(request, t.tiling);
        if (Status blocked = plan->block(request.options.workspace_limit); !blocked.ok()) {
            if (plan->workspace_bytes < least_bytes) {
                least_bytes = plan->workspace_bytes;
                status = blocked;
            }
            continue;
        }
        request.considered(*plan);
        done.push_back(t.tiling.product());
        if (best == nullptr) {
            best = std::move(plan);
        }
        if (request.collect == nullptr) {
            break;
        }
    }
    if (best == nullptr) {
        return possible && list.empty() ? request.not_admitted(stage) : status;
    }
    return best;
}

}  // namespace fourfold
