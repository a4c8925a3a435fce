// The answer in double precision, at some or all outputs, and how far a result is from it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "fourfold/problem.h"
#include "problem_data.h"

namespace fourfold::cli {

/// Coordinates of one element of the result: (image, channel, row, column), of bwd-filters (oc, ic/groups, row, column), of
/// unfold (image, channel, tap, pixel).
struct OutputIndex {
    int64_t n = 0, k = 0, p = 0, q = 0;
};

/// Dense arrays in the problem's layout; filters and their gradient always (oc, ic/groups, f0, f1), the columns that fold has as
/// input always (b, ic*f0*f1, o0*o1). Those that the operation
/// does not read, bias and residual may be null.
struct Arrays {
    const float *input = nullptr;
    const float *filters = nullptr;
    const float *bias = nullptr;
    const float *residual = nullptr;
    const float *grad_output = nullptr;
};

Arrays arrays_of(const ProblemData &data);

/// Sizes of the result: of y, of x for bwd-data and fold, of w for bwd-filters, of the columns for unfold.
std::array<int64_t, 4> result_sizes(const Conv2dProblem &problem);

/// Every output when there are at most `limit`, otherwise `limit` of them: the borders, both sides of likely seams of
/// tiles and vectors (multiples of small numbers and powers of two), and random ones. The same in every run.
std::vector<OutputIndex> choose_outputs(const Conv2dProblem &problem, int64_t limit);

/// The plain definition, summed in double, kept apart from the library's own code on purpose.
class Reference {
public:
    /// All outputs when the problem has at most `all_below_flops`, otherwise a sample of 4,096, of filters' gradients with long sums down to 1,024.
    Reference(const Conv2dProblem &problem, const Arrays &arrays, double all_below_flops = 1e9);

    /// max|y - y_ref| / max(|x| conv |w| + |b|) over the chosen outputs (for gradients alike); 0/0 is 0. Infinite when any element of y, chosen
    /// or not, is not finite: so fill y with NaN first, and what was never written shows.
    double max_error(const float *output) const;

    /// The element in which two results, finite ones, differ most. Passing ones differ by no more than the sum of their limits.
    struct Difference {
        double error = 0.0;   ///< |a - b| by max_error()'s scale
        int64_t element = 0;  ///< its place in both
    };
    Difference difference(const float *a, const float *b) const;
    /// |value - y_ref| of one element by the same scale. `arrays`: those that the reference was made from.
    double error_at(int64_t element, float value, const Arrays &arrays) const;

    int64_t checked_outputs() const {
        return static_cast<int64_t>(indices_.size());
    }

private:
    double scaled(double error) const;

    Conv2dProblem problem_;
    std::vector<OutputIndex> indices_;
    std::vector<double> values_;
    double scale_ = 0.0;  ///< max(|x| conv |w| + |b|)
};

/// The limit on max_error of results on data uniform on [-1, 1], by the algorithm's name (design, section 4).
double error_limit(const char *algorithm);

}  // namespace fourfold::cli
