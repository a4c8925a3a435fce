// CPU schedules of the lane transforms.
#pragma once

#include "generators/lane_fft.h"

namespace fourfold::cpu {

void schedule(LaneRowsForwardStages &stages, const Halide::Target &target);
void schedule(LaneColumnsStages &stages, const Halide::Target &target);
void schedule(LaneRowsInverseStages &stages, const Halide::Target &target);

}  // namespace fourfold::cpu
