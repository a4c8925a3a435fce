// CPU schedule of pack_filters: in the order of the output, so that stores stream; the strided reads of the filters are
// paid once per plan and stay scalar.
#include "schedules/cpu/pack_filters.h"

namespace fourfold::cpu {

void schedule_pack_filters(MemoryStages &, const Halide::Target &) {
}

}  // namespace fourfold::cpu
