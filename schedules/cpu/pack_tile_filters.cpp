// CPU schedule of pack_tile_filters: in the order of the output; paid once per plan, so the strided reads stay scalar.
#include "schedules/cpu/pack_tile_filters.h"

namespace fourfold::cpu {

void schedule_pack_tile_filters(MemoryStages &, const Halide::Target &) {
}

}  // namespace fourfold::cpu
