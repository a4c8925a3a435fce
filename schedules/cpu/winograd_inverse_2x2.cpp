// CPU schedule of winograd_inverse_2x2: winograd_inverse's, with a row and a column more to write.
#include "schedules/cpu/winograd_inverse_2x2.h"

namespace fourfold::cpu {

void schedule_inverse_2x2(WinogradInverseStages &s, const Halide::Target &target) {
    schedule_winograd_columns(s, target);
}

}  // namespace fourfold::cpu
