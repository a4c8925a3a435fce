// What NHWC costs plans that compute on planes: their strips are gathered from pixels, and their results scattered to pixels, a channel
// to a plane. Of one channel the layouts are the same, and nothing is counted here.
#pragma once

#include "fourfold/problem.h"

namespace fourfold {

/// Bytes read and written in a second by one thread, as `bench --profile` has them; Emerald Rapids, AVX-512, 2026-11-30.
constexpr double kFromNhwc = 4.5e9;        ///< pad: 64 channels of 56x56 4.7 to 5.1e9, 256 of 14x14 4.0 to 5.6e9
constexpr double kToNhwc = 18e9;           ///< crop of 16 planes and more at once: 64 and 256 of 56x56 20e9, 1024 of 14x14 8.5 to 11.5e9
constexpr double kFewPlanesToNhwc = 4.5e9;  ///< crop of fewer, along columns

inline bool gathers_pixels(const Conv2dProblem &p) {
    return p.layout == Layout::kNhwc && p.in_channels > 1;
}
inline bool scatters_pixels(const Conv2dProblem &p) {
    return p.layout == Layout::kNhwc && p.out_channels > 1;
}
/// The distance of planes from which pixels are made, at least `floats`: an odd number of lines, so that a pixel's channels, one from each
/// plane, lie in different sets of L1.
inline int64_t scattered_pitch(int64_t floats) {
    return (floats + 15) / 32 * 32 + 16;
}
/// Of so many floats of strips.
inline double gather_seconds(double floats) {
    return 2 * 4.0 * floats / kFromNhwc;
}
/// Of all outputs, `planes` a call.
inline double scatter_seconds(const Conv2dProblem &p, int64_t planes) {
    return (p.residual ? 3 : 2) * 4.0 * static_cast<double>(p.output_elements()) / (planes >= 16 ? kToNhwc : kFewPlanesToNhwc);
}

}  // namespace fourfold
