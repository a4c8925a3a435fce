// Images whose plan would exceed the workspace limit, a strip of rows at a time.
#pragma once

#include "fourfold/plan.h"

namespace fourfold::cli {

/// A forward NCHW problem by one layer for strips of so many output rows of one image of the batch as fit options.workspace_limit
/// together with the copy of the rows that they read, padding included. x, y and residual are dense. Errors: those of Conv2dLayer;
/// kResourceExhausted when not even one row fits.
Status convolve_in_strips(const Conv2dProblem &problem, ConstView filters, const float *bias, const PlanOptions &options, const float *x, float *y, ConstView residual);

}  // namespace fourfold::cli
