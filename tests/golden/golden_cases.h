// PyTorch's cases in golden/data, as problems and arrays.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "fourfold/problem.h"

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

}  // namespace fourfold::test
