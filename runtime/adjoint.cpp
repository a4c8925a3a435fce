#include "adjoint.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <utility>

#include "arena.h"
#include "geometry.h"

namespace fourfold {

int64_t phase_count(int64_t stride, int64_t dilation, int64_t taps) {
    return std::min(taps, stride / std::gcd(stride, dilation));
}

std::vector<AxisPhase> axis_phases(int64_t size, int64_t pad, int64_t stride, int64_t dilation, int64_t taps, int64_t out) {
    std::vector<AxisPhase> phases;
    const int64_t g = std::gcd(stride, dilation), step = stride / g;
    for (int64_t r = 0; r < phase_count(stride, dilation, taps); r++) {
        AxisPhase p{};
        p.first = ((r * dilation - pad) % stride + stride) % stride;
        if (p.first >= size) {
            continue;
        }
        p.count = ceil_div(size - p.first, stride);
        p.tap = r;
        p.tap_step = step;
        p.taps = ceil_div(taps - r, step);
        p.dilation = p.taps == 1 ? 1 : dilation / g;
        p.origin = (p.first + pad - r * dilation) / stride;
        const int64_t reach = (p.taps - 1) * p.dilation;
        const int64_t before = reach - p.origin;
        p.skip = std::max<int64_t>(0, -before);
        p.before = std::max<int64_t>(0, before);
        const int64_t after = p.count + reach - (out - p.skip) - p.before;
        p.size = out - p.skip + std::min<int64_t>(0, after);
        p.after = std::max<int64_t>(0, after);
        // A phase whose window lies outside the outputs altogether is zero too.
        if (p.size >= 1) {
            phases.push_back(p);
        }
    }
    return phases;
}

AdjointAxis::AdjointAxis(std::vector<AxisPhase> list)
    : phases(std::move(list)) {
    std::map<std::array<int64_t, 5>, size_t> known;
    for (const AxisPhase &p : phases) {
        const auto [at, is_new] = known.try_emplace({p.size, p.taps, p.dilation, p.before, p.after}, of_kind.size());
        if (is_new) {
            of_kind.push_back(p);
        }
        kind.push_back(at->second);
        covered += p.count;
    }
}

Conv2dProblem adjoint_problem(const Conv2dProblem &p, int64_t images, const AxisPhase &rows, const AxisPhase &columns, bool finishes) {
    Conv2dProblem q;
    q.batch = images;
    q.in_channels = p.out_channels;
    q.in_height = rows.size;
    q.in_width = columns.size;
    q.out_channels = p.in_channels;
    q.filter_height = rows.taps;
    q.filter_width = columns.taps;
    q.pad_top = rows.before;
    q.pad_bottom = rows.after;
    q.pad_left = columns.before;
    q.pad_right = columns.after;
    q.dilation_h = rows.dilation;
    q.dilation_w = columns.dilation;
    q.groups = p.groups;
    q.filter_mode = p.filter_mode == FilterMode::kCorrelation ? FilterMode::kConvolution : FilterMode::kCorrelation;
    q.layout = p.layout;
    if (finishes) {
        q.post_op = p.post_op;
        q.clamp_lo = p.clamp_lo;
        q.clamp_hi = p.clamp_hi;
        q.residual = p.residual;
    }
    return q;
}

StridedIn adjoint_taps(const Conv2dProblem &p, const StridedIn &exchanged, const AxisPhase &rows, const AxisPhase &columns) {
    // The first of a phase's taps in the filter as the caller has it.
    const auto first = [&](const AxisPhase &phase, int64_t taps) { return p.filter_mode == FilterMode::kCorrelation ? phase.tap : taps - 1 - phase.tap - (phase.taps - 1) * phase.tap_step; };
    const int64_t *s = exchanged.s;
    return {exchanged.data + first(rows, p.filter_height) * s[2] + first(columns, p.filter_width) * s[3], {s[0], s[1], rows.tap_step * s[2], columns.tap_step * s[3]}};
}

bool folds_padding(const Conv2dProblem &p) {
    return p.padding_mode != PaddingMode::kZeros && p.padding_mode != PaddingMode::kConstant && (p.pad_top | p.pad_bottom | p.pad_left | p.pad_right) != 0;
}

void fold_padding(const Conv2dProblem &p, const StridedOut &planes, int64_t channels) {
    const int64_t height = p.in_height + p.pad_top + p.pad_bottom, width = p.in_width + p.pad_left + p.pad_right;
    const auto add = [&](float *to, const float *from) {
        for (int64_t i = 0; i < channels; i++) {
            to[i * planes.s[1]] += from[i * planes.s[1]];
        }
    };
    for (int64_t y = 0; y < height; y++) {
        float *row = planes.data + y * planes.s[2];
        for (int64_t x = 0; x < width; x++) {
            if (x < p.pad_left || x >= p.pad_left + p.in_width) {
                add(row + (p.pad_left + padding_source(p.padding_mode, x - p.pad_left, p.in_width)) * planes.s[3], row + x * planes.s[3]);
            }
        }
    }
    for (int64_t y = 0; y < height; y++) {
        if (y < p.pad_top || y >= p.pad_top + p.in_height) {
            float *to = planes.data + (p.pad_top + padding_source(p.padding_mode, y - p.pad_top, p.in_height)) * planes.s[2];
            const float *from = planes.data + y * planes.s[2];
            for (int64_t x = p.pad_left; x < p.pad_left + p.in_width; x++) {
                add(to + x * planes.s[3], from + x * planes.s[3]);
            }
        }
    }
}

}  // namespace fourfold
