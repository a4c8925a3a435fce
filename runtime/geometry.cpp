#include "geometry.h"

#include <algorithm>
#include <limits>

namespace fourfold {

namespace {

/// Where the rows of all S filters of a row block read: s0*i + r*d for i < S, r < f0.
std::vector<int64_t> block_positions(const Conv2dProblem &p, int64_t row_block) {
    std::vector<int64_t> positions;
    for (int64_t i = 0; i < row_block; i++) {
        for (int64_t r = 0; r < p.filter_height; r++) {
            positions.push_back(i * p.stride_h + r * p.dilation_h);
        }
    }
    std::sort(positions.begin(), positions.end());
    positions.erase(std::unique(positions.begin(), positions.end()), positions.end());
    return positions;
}

}  // namespace

int64_t padding_source(PaddingMode mode, int64_t i, int64_t size) {
    if (i >= 0 && i < size) {
        return i;
    }
    switch (mode) {
    case PaddingMode::kReflect:
        return i < 0 ? -i : 2 * (size - 1) - i;
    case PaddingMode::kSymmetric:
        return i < 0 ? -i - 1 : 2 * size - 1 - i;
    case PaddingMode::kReplicate:
        return i < 0 ? 0 : size - 1;
    case PaddingMode::kCircular:
        return i < 0 ? i + size : i - size;
    default:
        return -1;
    }
}

void pad_row(const Conv2dProblem &p, const float *row, int64_t column_stride, int64_t channels, float *padded) {
    float *const inner = padded + p.pad_left * channels;
    const auto pixel = [&](int64_t column) {
        const int64_t source = padding_source(p.padding_mode, column, p.in_width);
        if (source < 0) {
            std::fill_n(inner + column * channels, channels, p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f);
        } else {
            std::copy_n(row + source * column_stride, channels, inner + column * channels);
        }
    };
    for (int64_t j = -p.pad_left; j < 0; j++) {
        pixel(j);
    }
    if (column_stride == channels) {
        std::copy_n(row, p.in_width * channels, inner);
    } else {
        for (int64_t j = 0; j < p.in_width; j++) {
            pixel(j);
        }
    }
    for (int64_t j = 0; j < p.pad_right; j++) {
        pixel(p.in_width + j);
    }
}

std::vector<int64_t> tap_positions(int64_t taps, int64_t dilation, int64_t lead) {
    std::vector<int64_t> positions;
    for (int64_t r = 0; r < taps; r++) {
        positions.push_back(r * dilation - lead);
    }
    return positions;
}

AxisTaps::AxisTaps(const std::vector<int64_t> &positions, int64_t stride) {
    std::vector<int64_t> remainder;
    for (int64_t position : positions) {
        const int64_t a = ((position % stride) + stride) % stride;
        remainder.push_back(a);
        shift.push_back((position - a) / stride);
    }
    phases = remainder;
    std::sort(phases.begin(), phases.end());
    phases.erase(std::unique(phases.begin(), phases.end()), phases.end());
    for (int64_t a : remainder) {
        phase.push_back(static_cast<int>(std::lower_bound(phases.begin(), phases.end(), a) - phases.begin()));
    }
    reach.assign(phases.size(), std::numeric_limits<int64_t>::min());
    for (size_t r = 0; r < shift.size(); r++) {
        reach[phase[r]] = std::max(reach[phase[r]], shift[r]);
    }
    shift_min = *std::min_element(shift.begin(), shift.end());
    shift_max = *std::max_element(shift.begin(), shift.end());
}

StripGeometry::StripGeometry(const Conv2dProblem &p, int64_t block)
    : problem(p), row_block(block), row_positions(block_positions(p, block)), rows(row_positions, p.stride_h * block), columns(tap_positions(p.filter_width, p.dilation_w, 0), p.stride_w), out_height((p.out_height() + block - 1) / block), out_width(p.out_width()) {
    pitch = out_width + columns.shift_max;
    const bool constant = p.padding_mode == PaddingMode::kZeros || p.padding_mode == PaddingMode::kConstant;
    const int64_t shared = constant && p.stride_w == 1 ? std::min(p.pad_left, p.pad_right) : 0;
    // A row needs at least its own image columns and one side of padding; then o1 <= pitch holds too unless the filter is
    // narrower than the padding on both sides.
    shared_padding = shared > 0 && pitch - shared >= out_width;
    if (shared_padding) {
        pitch -= shared;
    }
    in_place_shape = block == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_top == 0 && p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0;
}

std::vector<int32_t> StripGeometry::offsets(int64_t strip) const {
    std::vector<int32_t> result;
    for (size_t r = 0; r < row_positions.size(); r++) {
        for (int64_t s = 0; s < problem.filter_width; s++) {
            const int64_t plane = rows.phase[r] * static_cast<int64_t>(columns.phases.size()) + columns.phase[s];
            result.push_back(static_cast<int32_t>(plane * plane_elements(strip) + rows.shift[r] * pitch + columns.shift[s]));
        }
    }
    return result;
}

void StripGeometry::filter_taps(std::vector<int32_t> &row, std::vector<int32_t> &column) const {
    const bool flip = problem.filter_mode == FilterMode::kConvolution;
    for (int64_t i = 0; i < row_block; i++) {
        for (int64_t position : row_positions) {
            const int64_t from = position - i * problem.stride_h;
            const bool inside = from >= 0 && from % problem.dilation_h == 0 && from / problem.dilation_h < problem.filter_height;
            const int64_t r = inside ? from / problem.dilation_h : -1;
            row.insert(row.end(), problem.filter_width, static_cast<int32_t>(flip && inside ? problem.filter_height - 1 - r : r));
        }
    }
    for (size_t r = 0; r < row_positions.size(); r++) {
        for (int64_t s = 0; s < problem.filter_width; s++) {
            column.push_back(static_cast<int32_t>(flip ? problem.filter_width - 1 - s : s));
        }
    }
}

}  // namespace fourfold
