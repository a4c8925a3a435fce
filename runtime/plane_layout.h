// How a problem lies on whole-plane transforms: what algorithm_fft.cpp and training.cpp share.
//
// Zero padding costs no plane of its own size: the filter is placed so that tap q lands at -q modulo the transform, and a
// transform of at least i + max(padding) keeps the wrapped part zero. Circular padding needs the image's own size only.
// Other modes are padded for real. Stride decimates into phases that join the sum over channels (geometry.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "fft/fft.h"
#include "geometry.h"

namespace fourfold {

/// How one axis is laid onto a cyclic transform.
struct AxisLayout {
    AxisTaps taps;
    int64_t lead;    ///< where the decimated input starts before the image: 0, or the padding before
    int64_t length;  ///< the least transform length, or the exact one for cyclic
    bool cyclic;

    static AxisLayout make(int64_t in, int64_t out, int64_t filter, int64_t stride, int64_t dilation, int64_t before, bool implicit, bool cyclic);
};

struct PlaneLayout {
    AxisLayout rows, columns;
    std::shared_ptr<const PlaneFft> fft;

    /// Errors: kUnsupported, where no library of this build transforms such planes.
    static Result<PlaneLayout> make(const Conv2dProblem &problem, FftBackend backend, FftRigor rigor);

    int64_t phases() const {
        return static_cast<int64_t>(rows.taps.phases.size() * columns.taps.phases.size());
    }
    /// Phase by phase the place in the plane of each filter row, or column, or -1 for another phase's.
    std::vector<int32_t> row_places(FilterMode mode) const;
    std::vector<int32_t> column_places(FilterMode mode) const;
    /// What the outputs read of a phase's plane: rows or columns from the first on.
    int64_t used_rows(const Conv2dProblem &problem, int64_t phase) const {
        return rows.cyclic ? fft->n0 : problem.out_height() + rows.taps.reach[static_cast<size_t>(phase / column_phases())];
    }
    int64_t used_columns(const Conv2dProblem &problem, int64_t phase) const {
        return columns.cyclic ? fft->n1 : problem.out_width() + columns.taps.reach[static_cast<size_t>(phase % column_phases())];
    }
    /// Where in the image a phase's plane begins: it goes on in steps of the stride.
    int64_t first_row(int64_t phase) const {
        return rows.taps.phases[static_cast<size_t>(phase / column_phases())] - rows.lead;
    }
    int64_t first_column(int64_t phase) const {
        return columns.taps.phases[static_cast<size_t>(phase % column_phases())] - columns.lead;
    }
    int64_t column_phases() const {
        return static_cast<int64_t>(columns.taps.phases.size());
    }
};

}  // namespace fourfold
