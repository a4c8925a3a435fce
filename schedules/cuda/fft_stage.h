#pragma once

#include "generators/fft_stage.h"

namespace fourfold::cuda {

void schedule(FftStageStages &stages);

}  // namespace fourfold::cuda
