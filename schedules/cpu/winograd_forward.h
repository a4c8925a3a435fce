#pragma once

#include "generators/winograd_forward.h"

namespace fourfold::cpu {

void schedule(WinogradForwardStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
