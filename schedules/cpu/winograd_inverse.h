#pragma once

#include "generators/winograd_inverse.h"

namespace fourfold::cpu {

void schedule(WinogradInverseStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
