// The variants that can compute a spectral product, for the tuner.
#pragma once

#include <string>
#include <vector>

#include "fourfold/spectral.h"

namespace fourfold {

struct SpectralCandidate {
    std::string variant;     ///< as SpectralOptions::variant takes it
    double predicted = 0.0;  ///< seconds of one thread
};

/// Of this machine's ISA level, those of complex_gemm first. The problem is valid.
std::vector<SpectralCandidate> spectral_candidates(const SpectralProblem &problem);

}  // namespace fourfold
