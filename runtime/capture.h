// What a program plans: FOURFOLD_CAPTURE, for `fourfold tune --shapes`, and FOURFOLD_VERBOSE.
#pragma once

#include <string>

#include "fourfold/problem.h"
#include "fourfold/spectral.h"

namespace fourfold {

/// Writes the problem, once a process, unless the calling thread plans parts or measures choices.
void capture(const Conv2dProblem &problem);
void capture(const SpectralProblem &problem);
/// Whether FOURFOLD_VERBOSE asks for what follows: a plan and what decided.
bool is_verbose();
void say_planned(const std::string &problem, const std::string &choice, Tier tier, const std::string &why);

/// While one lives, what the calling thread plans are parts of another plan, and no problems of the program's.
class PlansOfParts {
public:
    PlansOfParts();
    ~PlansOfParts();
    PlansOfParts(const PlansOfParts &) = delete;
    PlansOfParts &operator=(const PlansOfParts &) = delete;
};
/// Whether the calling thread has one.
bool planning_parts();

}  // namespace fourfold
