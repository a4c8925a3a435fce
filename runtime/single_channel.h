// Images of one channel: NHWC is NCHW, byte for byte, and is planned as such.
#pragma once

#include <memory>

#include "algorithm.h"

namespace fourfold {

/// The problem in NCHW where its images are the same in both layouts: NHWC, one channel going in and one coming out. Otherwise as it is.
inline Conv2dProblem in_nchw_if_same(const Conv2dProblem &problem) {
    Conv2dProblem p = problem;
    if (p.in_channels == 1 && (p.out_channels == 1 || p.moves_columns())) {
        p.layout = Layout::kNchw;
    }
    return p;
}

/// Of an NHWC problem of one channel: `rows` is its plan in NCHW, `apart` one for any strides, for views whose columns are not next to each
/// other (a channel of a larger image); null: such views are refused. The packed block has the filters of both.
std::unique_ptr<AlgorithmPlan> single_channel_plan(const Conv2dProblem &problem, std::unique_ptr<AlgorithmPlan> rows, std::shared_ptr<const AlgorithmPlan> apart);

}  // namespace fourfold
