// CPU schedules of the plane transforms.
#pragma once

#include "generators/plane_fft.h"

namespace fourfold::cpu {

void schedule(PlaneColumnsForwardStages &stages);
void schedule(PlaneRowsStages &stages);
void schedule(PlaneColumnsInverseStages &stages);

}  // namespace fourfold::cpu
