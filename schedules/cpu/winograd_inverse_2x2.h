#pragma once

#include "schedules/cpu/winograd_inverse.h"

namespace fourfold::cpu {

void schedule_inverse_2x2(WinogradInverseStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
