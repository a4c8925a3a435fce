// What a refusal may not be of: without this a test that skips refusals would pass with nothing computed.
#pragma once

#include "fourfold/plan.h"
#include "support/run_plan.h"

namespace fourfold::test {

/// Whether the algorithm has to do the problem by some variant: fft_tiled small filters without stride and dilation, winograd 3x3
/// filters whose stride leaves them whole; those that may not refuse, everything.
inline bool must_do(Algorithm algorithm, const Conv2dProblem &p) {
    if (!may_refuse(algorithm)) {
        return true;
    }
    if (algorithm == Algorithm::kWinograd) {
        return p.filter_height == 3 && p.filter_width == 3 && p.dilation_h % p.stride_h == 0 && p.dilation_w % p.stride_w == 0;
    }
    return p.filter_height <= 5 && p.filter_width <= 5 && p.stride_h == 1 && p.stride_w == 1 && p.dilation_h == 1 && p.dilation_w == 1;
}

}  // namespace fourfold::test
