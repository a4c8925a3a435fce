// What the operations that add to the image share (bwd-data, fold): which taps reach which pixels, and what becomes of padding.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "algorithm.h"

namespace fourfold {

/// Input positions of one axis that the same taps reach: first, first + stride, ... Position number a' of them gets from tap
/// number j of the phase what output number a' + origin - j*dilation holds.
struct AxisPhase {
    int64_t first, count;
    int64_t tap, tap_step, taps;  ///< its taps in the filter
    int64_t dilation;             ///< in outputs
    int64_t origin;
    int64_t skip, size;           ///< the part of the outputs that is read
    int64_t before, after;        ///< the padding of a correlation over that part
};

/// The most phases of an axis that taps reach.
int64_t phase_count(int64_t stride, int64_t dilation, int64_t taps);
/// The phases of an axis of `size` positions that taps reach, ascending in the tap.
std::vector<AxisPhase> axis_phases(int64_t size, int64_t pad, int64_t stride, int64_t dilation, int64_t taps, int64_t out);

/// The phases of one axis, and which of them make the same problem.
struct AdjointAxis {
    std::vector<AxisPhase> phases;
    std::vector<size_t> kind;        ///< of each phase
    std::vector<AxisPhase> of_kind;  ///< of each kind, the first phase
    int64_t covered = 0;             ///< positions in all phases

    explicit AdjointAxis(std::vector<AxisPhase> list);
};
/// The forward problem that computes the gradient of `images` images at one pair of phases. `finishes`: it adds the residual and applies the
/// post-op too.
Conv2dProblem adjoint_problem(const Conv2dProblem &problem, int64_t images, const AxisPhase &rows, const AxisPhase &columns, bool finishes);
/// Its filters, of those of the whole problem with channels exchanged.
StridedIn adjoint_taps(const Conv2dProblem &problem, const StridedIn &exchanged, const AxisPhase &rows, const AxisPhase &columns);

/// bwd-data by the plain loop nest, whatever the number of phases.
Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_naive(const PlanRequest &request);

/// Whether pixels are read through the padding too, so that what the padding receives has to be added to them.
bool folds_padding(const Conv2dProblem &problem);
/// Adds each pixel of the border of `channels` padded planes to the pixel that it repeats. `planes` are those of one image:
/// padded (channel, row, column) by s[1] to s[3].
void fold_padding(const Conv2dProblem &problem, const StridedOut &planes, int64_t channels);

}  // namespace fourfold
