// Problems for tests: parsed from one line, or drawn at random.
#pragma once

#include <string>
#include <string_view>

#include "fourfold/problem.h"
#include "support/random.h"

namespace fourfold::test {

/// Parses and validates; throws std::runtime_error otherwise, since the test itself is then wrong.
Conv2dProblem parse_problem(std::string_view text);

/// A valid forward problem of at most `max_macs` multiply-adds, over every option: sizes, strides, dilation, padding modes, groups,
/// flipped filters, post-ops, residual.
Conv2dProblem random_problem(Random &random, double max_macs);

/// The same sizes as another operation; without post-op, residual and flipped filters where that has none.
Conv2dProblem gradient_of(Conv2dProblem problem, Operation operation);

}  // namespace fourfold::test
