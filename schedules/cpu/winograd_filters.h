#pragma once

#include "generators/winograd_filters.h"

namespace fourfold::cpu {

void schedule(WinogradFiltersStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
