// The answer in double precision, at some or all outputs, and how far a result is from it.
#pragma once

#include <cstdint>
#include <vector>

#include "fourfold/problem.h"

namespace fourfold::cli {

/// One output's coordinates.
struct OutputIndex {
    int64_t n = 0, k = 0, p = 0, q = 0;
};

/// Dense arrays of a forward problem, in its layout; filters always (oc, ic/groups, f0, f1). Bias and residual may be null.
struct ForwardArrays {
    const float *input = nullptr;
    const float *filters = nullptr;
    const float *bias = nullptr;
    const float *residual = nullptr;
};

/// Every output when there are at most `limit`, otherwise `limit` of them: the borders, both sides of likely seams of
/// tiles and vectors (multiples of small numbers and powers of two), and random ones. The same in every run.
std::vector<OutputIndex> choose_outputs(const Conv2dProblem &problem, int64_t limit);

/// The plain definition, summed in double, kept apart from the library's own code on purpose.
class Reference {
public:
    /// All outputs when the problem has at most `all_below_flops`, otherwise a sample of some thousands.
    Reference(const Conv2dProblem &problem, const ForwardArrays &arrays, double all_below_flops = 1e9);

    /// max|y - y_ref| / max(|x| conv |w| + |b|) over the chosen outputs; 0/0 is 0. Infinite when any element of y, chosen
    /// or not, is not finite: so fill y with NaN first, and what was never written shows.
    double max_error(const float *output) const;

    int64_t checked_outputs() const {
        return static_cast<int64_t>(indices_.size());
    }

private:
    Conv2dProblem problem_;
    std::vector<OutputIndex> indices_;
    std::vector<double> values_;
    double scale_ = 0.0;  ///< max(|x| conv |w| + |b|)
};

/// The limit on max_error of results on data uniform on [-1, 1], by the algorithm's name (design, section 4).
double error_limit(const char *algorithm);

}  // namespace fourfold::cli
