#pragma once

#include "schedules/cpu/winograd_inverse.h"

namespace fourfold::cpu {

void schedule_filters_gradient(WinogradInverseStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
