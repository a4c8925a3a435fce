// PyTorch's cases in golden/data, as problems and arrays.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "fourfold/problem.h"
#include "support/run_plan.h"

namespace fourfold::test {

struct GoldenCase {
    std::string name;
    Conv2dProblem problem;

    /// The file of one operand: "input", "filters", "bias", "output", "grad_output", ...
    std::string path(const std::string &operand) const;
};

/// GoogleTest prints a parameter by this name.
inline void PrintTo(const GoldenCase &c, std::ostream *out) {
    *out << c.problem.to_string();
}

/// Throws std::runtime_error when cases.json cannot be read.
const std::vector<GoldenCase> &golden_cases();
const GoldenCase &golden_case(const std::string &name);

/// Operands of the case's problem, or of a gradient or a filter mode of the same sizes, with PyTorch's data in them. Gradients have no bias.
Operands golden_operands(const GoldenCase &c, const Conv2dProblem &problem);
/// PyTorch's result of these operands, with the scale of the reference.
reference::Forward golden_result(const GoldenCase &c, const reference::Forward &reference, Operation operation);
/// The case in convolution mode: with its filters flipped the result is the same.
Operands golden_flipped(const GoldenCase &c);

}  // namespace fourfold::test
