// The transforms of 16 planes at once, one to a vector lane (generators/lane_fft.h): what fft_tiled's plans for groups of one input
// channel share, forward (algorithm_fft_tiled_planes.cpp) and for the filters' gradient (backward_filters_fft_planes.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "algorithm.h"
#include "fourfold/tensor.h"
#include "kernel.h"
#include "registry.h"

namespace fourfold {

inline constexpr int64_t kLanes = 16;
inline constexpr int64_t kRowBlock = 8;  ///< columns that lane_rows_forward reads at once, and its least width
inline constexpr int64_t kBand = 8;  ///< rows that are prefetched at a time
inline constexpr int64_t kReach = int64_t{1} << 28;  ///< floats that one call may span

/// Asks for rows of a tile while kernels work on those before: 16 pieces of a few lines each are not a stream that the
/// hardware sees, and from beyond the caches every row would cost the memory's latency.
template<int Write>
void prefetch(const float *data, int64_t width, int64_t rows, int64_t pitch) {
    constexpr int64_t line = kAlignment / sizeof(float);
    for (int64_t y = 0; y < rows; y++) {
        for (int64_t x = 0; x < width; x += line) {
            __builtin_prefetch(data + y * pitch + x, Write);
        }
        __builtin_prefetch(data + y * pitch + width - 1, Write);
    }
}

/// The kernels of one length.
struct LaneKernels {
    int64_t n = 0;
    const Variant *rows_forward = nullptr, *rows_inverse = nullptr;
    const Variant *columns_lanes = nullptr, *columns_one = nullptr, *columns_none = nullptr;
};

inline const Variant *variant_of_length(Isa isa, const char *stage, int64_t n, const char *mode) {
    const std::vector<const Variant *> &list = variants_of(stage, isa);
    const auto at = std::find_if(list.begin(), list.end(), [&](const Variant *v) { return v->parameter("n", 0) == n && (mode == nullptr || std::strstr(v->parameters, mode) != nullptr); });
    return at == list.end() ? nullptr : *at;
}

/// Which problems have transforms without a sum over channels.
inline Status lane_transforms_take(const Conv2dProblem &p) {
    if (p.in_channels != p.groups) {
        return Status(StatusCode::kUnsupported, "transforms without a sum over channels need one input channel to a group; there are " + std::to_string(p.in_channels / p.groups));
    }
    if (p.layout != Layout::kNchw) {
        return Status(StatusCode::kUnsupported, "transforms without a sum over channels read planes; the layout is NHWC");
    }
    if (p.stride_h != 1 || p.stride_w != 1) {
        return Status(StatusCode::kUnsupported, "transforms without a sum over channels need stride 1; it is " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w));
    }
    return planes_within_reach(p);
}

/// The lengths of a rung of the ladder.
inline std::vector<LaneKernels> lane_lengths(Isa isa) {
    std::vector<LaneKernels> list;
    for (const Variant *rows : variants_of("lane_rows_forward", isa)) {
        LaneKernels k;
        k.n = rows->parameter("n", 0);
        k.rows_forward = rows;
        k.rows_inverse = variant_of_length(isa, "lane_rows_inverse", k.n, nullptr);
        k.columns_lanes = variant_of_length(isa, "lane_columns", k.n, "mode=lanes");
        k.columns_one = variant_of_length(isa, "lane_columns", k.n, "mode=one");
        k.columns_none = variant_of_length(isa, "lane_columns", k.n, "mode=none");
        if (k.rows_inverse != nullptr && k.columns_lanes != nullptr && k.columns_one != nullptr && k.columns_none != nullptr) {
            list.push_back(k);
        }
    }
    return list;
}

}  // namespace fourfold
