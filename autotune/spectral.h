// The spectral product as the verbs see it.
#pragma once

#include <string>
#include <vector>

#include "commands.h"
#include "fourfold/spectral.h"

namespace fourfold::cli {

/// Shapes of x, w and y as NumPy has them.
struct SpectralShapes {
    std::vector<int64_t> input, filters, output;
};
SpectralShapes spectral_shapes(const SpectralProblem &problem);

Status explain_spectral(const std::string &text, const PlanFlags &flags);

struct SpectralBench {
    PlanFlags plan;
    std::string variant;
    bool all_variants = false, json = false, include_packing = false, check = true;
    double min_time = 0.3;
};
Status bench_spectral(const std::vector<std::string> &problems, const SpectralBench &flags);

}  // namespace fourfold::cli
