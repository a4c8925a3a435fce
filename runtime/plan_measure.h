// Plan choice by measuring when the plan is made: Effort::kMeasure.
#pragma once

#include "fourfold/plan.h"

namespace fourfold {

/// Times the likely plans of a problem that has no record on this machine, in turns, and remembers the times for this process.
/// What cannot be timed (memory) is left to the tables. `options` are resolved.
void measure_choices(const Conv2dProblem &problem, const PlanOptions &options);

/// Whether the calling thread is inside measure_choices: the plans that it makes are nobody's.
bool measuring_choices();

}  // namespace fourfold
