#pragma once

#include "generators/filter_gradient.h"

namespace fourfold::cuda {

void schedule(FilterGradientStages &stages, int m);

}  // namespace fourfold::cuda
