#pragma once

#include "generators/fold.h"

namespace fourfold::cpu {

/// `n`: vectors of a register tile. `stride`: the distance of out's columns.
void schedule(FoldStages &stages, int n, const Halide::Expr &stride, const Halide::Target &target);

}  // namespace fourfold::cpu
