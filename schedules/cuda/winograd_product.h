#pragma once

#include "generators/winograd_product.h"

namespace fourfold::cuda {

/// r neighbouring tiles times 16*v output channels in the registers of a thread.
void schedule_winograd_product(WinogradProductStages &stages, int r, int v);

}  // namespace fourfold::cuda
