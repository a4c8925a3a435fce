#pragma once

#include "generators/complex_transpose.h"

namespace fourfold::cpu {

void schedule(ComplexTransposeStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
