// CPU schedule of winograd_gradient: winograd_forward's, with m lines to read instead of t.
#include "schedules/cpu/winograd_gradient.h"

namespace fourfold::cpu {

void schedule_gradient(WinogradForwardStages &s, const Halide::Target &target) {
    schedule_winograd_tiles(s, target);
}

}  // namespace fourfold::cpu
