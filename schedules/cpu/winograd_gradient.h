#pragma once

#include "schedules/cpu/winograd_forward.h"

namespace fourfold::cpu {

void schedule_gradient(WinogradForwardStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
