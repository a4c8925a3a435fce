#pragma once

#include "generators/place_filters.h"

namespace fourfold::cpu {

void schedule(PlaceFiltersStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
