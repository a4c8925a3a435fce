// Whether filters of rank one are better done as two passes.
#pragma once

#include "fourfold/plan.h"

namespace fourfold {

/// Whether a SeparablePlan can be made and is expected to be faster than the Plan that kAuto makes with these options: on one thread, as
/// choices are, so that the result does not depend on their number; by what was measured of that plan, or else by predictions as the
/// tables correct them.
bool two_passes_are_faster(const Conv2dProblem &problem, ConstView filters, PlanOptions options);

}  // namespace fourfold
