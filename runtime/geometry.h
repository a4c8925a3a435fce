// Decimation: how stride and dilation become contiguous loads.
//
// With stride s, tap r of an axis reads input s*p + r*d - pad for output p. Writing r*d = s*q + a (0 <= a < s), that is
// element p + q of phase a, the input decimated by s from a - pad on. So every tap is a constant distance in one of the
// phases, whatever s and d, and the phases act as further input channels. Phases that no tap reads are left out.
#pragma once

#include <cstdint>
#include <vector>

#include "fourfold/problem.h"

namespace fourfold {

/// One axis. The positions' lead is 0 where padding is materialised, and the padding before where the transform's
/// periodicity supplies the zeros.
struct AxisTaps {
    std::vector<int64_t> phases;  ///< the phases a that taps read, ascending
    std::vector<int> phase;       ///< of each tap, an index into phases
    std::vector<int64_t> shift;   ///< q of each tap
    int64_t shift_min = 0, shift_max = 0;
    std::vector<int64_t> reach;   ///< of each phase: the largest shift of its taps

    /// `positions`: where each tap reads for output 0, possibly negative.
    AxisTaps(const std::vector<int64_t> &positions, int64_t stride);

    /// Phase by phase, where every filter row (or column) of the axis is put: at(its shift), or -1 for another phase's.
    template<typename Place>
    std::vector<int32_t> filter_places(FilterMode mode, const Place &at) const {
        const size_t taps = shift.size();
        std::vector<int32_t> places;
        for (size_t p = 0; p < phases.size(); p++) {
            for (size_t i = 0; i < taps; i++) {
                const size_t tap = mode == FilterMode::kConvolution ? taps - 1 - i : i;
                places.push_back(phase[tap] == static_cast<int>(p) ? static_cast<int32_t>(at(shift[tap])) : -1);
            }
        }
        return places;
    }
};

/// Where index `i` of the padded axis (0 is the first element inside) lies in an axis of `size` elements, or -1 for the
/// constant outside.
int64_t padding_source(PaddingMode mode, int64_t i, int64_t size);
/// A row of pixels of `channels` values, column_stride apart, copied between its padding.
void pad_row(const Conv2dProblem &problem, const float *row, int64_t column_stride, int64_t channels, float *padded);

/// r*dilation - lead for r in [0, taps).
std::vector<int64_t> tap_positions(int64_t taps, int64_t dilation, int64_t lead);

/// The padded, decimated image of one strip of output rows, flat: phase planes of rows one pitch apart.
///
/// With few output channels the rows of a register tile can be output rows instead: `row_block` S of them are computed
/// together as if they were channels, the row stride becomes S*s0, and the filter grows by (S-1)*s0 rows, of which each of
/// the S sees its own f0. That costs (f0 + S - 1)/f0 times the arithmetic and saves S-fold on loads, which bind there.
struct StripGeometry {
    Conv2dProblem problem;
    int64_t row_block;
    std::vector<int64_t> row_positions;  ///< of the grown filter's rows, ascending
    AxisTaps rows, columns;
    int64_t out_height, out_width;  ///< out_height counts row blocks
    int64_t pitch;        ///< elements between rows of a phase plane
    bool shared_padding;  ///< a row's right padding is the next row's left padding
    bool in_place_shape;  ///< nothing to pad or decimate: dense input rows can be read where they are

    explicit StripGeometry(const Conv2dProblem &problem, int64_t row_block = 1);

    int64_t taps() const {
        return static_cast<int64_t>(row_positions.size()) * problem.filter_width;
    }
    int64_t step_rows() const {
        return problem.stride_h * row_block;
    }
    int64_t phases() const {
        return static_cast<int64_t>(rows.phases.size() * columns.phases.size());
    }
    /// Rows of a phase plane for a strip of `strip` output rows; one more where padding is shared, for the last row's.
    int64_t plane_rows(int64_t strip) const {
        return strip + rows.shift_max + (shared_padding ? 1 : 0);
    }
    int64_t plane_elements(int64_t strip) const {
        return plane_rows(strip) * pitch;
    }
    /// Flat output pixels of a strip, garbage between rows included.
    int64_t flat_pixels(int64_t strip) const {
        return (strip - 1) * pitch + out_width;
    }
    /// Distance of each tap (row-major) from its output pixel for strips of this many rows, in elements of a channel.
    std::vector<int32_t> offsets(int64_t strip) const;
    /// Row (tap, row of the block) and column in the caller's filter of each tap, with the flip of FilterMode::kConvolution;
    /// negative rows are zero.
    void filter_taps(std::vector<int32_t> &row, std::vector<int32_t> &column) const;
};

}  // namespace fourfold
