// Predictions for a machine other than this one, for tools that judge its table.
#pragma once

#include "fourfold/plan.h"

namespace fourfold {

/// From now on machine() is `m`: plans are made as its name and caches would have them. To be called while nothing else uses the library. The
/// ISA level stays this processor's, which has to run the variants.
void assume_machine(const MachineInfo &m);

}  // namespace fourfold
