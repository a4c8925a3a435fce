#pragma once

#include "generators/im2row.h"

namespace fourfold::cpu {

void schedule(Im2rowStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
