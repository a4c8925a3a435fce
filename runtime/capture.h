// FOURFOLD_CAPTURE: the problems that a program plans, for `fourfold tune --shapes`.
#pragma once

#include "fourfold/problem.h"

namespace fourfold {

/// Writes the problem, once a process, unless the calling thread plans parts or measures choices.
void capture(const Conv2dProblem &problem);

/// While one lives, what the calling thread plans are parts of another plan, and no problems of the program's.
class PlansOfParts {
public:
    PlansOfParts();
    ~PlansOfParts();
    PlansOfParts(const PlansOfParts &) = delete;
    PlansOfParts &operator=(const PlansOfParts &) = delete;
};

}  // namespace fourfold
