#pragma once

#include "generators/pack_tile_filters.h"

namespace fourfold::cpu {

/// `wide`: at least 8 channels.
void schedule(PackTileFiltersStages &stages, bool wide);

}  // namespace fourfold::cpu
