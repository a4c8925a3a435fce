// Columns back onto the image: what fold and bwd-data by columns share.
#pragma once

#include <vector>

#include "adjoint.h"
#include "algorithm.h"
#include "halide_hooks.h"
#include "registry.h"

namespace fourfold {

/// Columns (channel, tap, pixel) of an image; pixels are dense.
struct ColumnsIn {
    const float *data;
    int64_t channel, tap;  ///< floats from one to the next
    bool flipped = false;  ///< the last tap comes first
};

/// The stage fold on planes: every pixel gathers its terms, one phase of the stride at a time (adjoint.h).
struct FoldStage {
    FoldStage(const Conv2dProblem &problem, const Variant &kernel);

    /// Rows [first, first + rows) of `count` planes (channel, row, column) by s[1] to s[3], first a multiple of the stride. Where the
    /// problem's padding repeats the image, planes are those of the padded image.
    bool gather(const ColumnsIn &columns, int64_t first, int64_t rows, int64_t count, const StridedOut &planes, KernelContext &context) const;

    const Conv2dProblem problem;
    const Variant &kernel;
    const bool folds;       ///< the padding's share is added to the image
    int64_t height, width;  ///< of what is gathered
    AdjointAxis rows, columns;
    bool gaps;              ///< some pixels are in no column

private:
    bool gather_long(const ColumnsIn &from, const AxisPhase &a, const AxisPhase &b, int64_t begin, int64_t positions, int64_t count, const StridedOut &planes, KernelContext &context) const;
};

/// The variant of fold, of which there must be one, with the widest register tile that a phase's rows fill.
const Variant &fold_variant(const Conv2dProblem &problem);

}  // namespace fourfold
