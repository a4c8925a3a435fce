// CPU schedule of winograd_filters_gradient: winograd_inverse's, with 3 rows and columns to write. Once for each pair of channels.
#include "schedules/cpu/winograd_filters_gradient.h"

namespace fourfold::cpu {

void schedule_filters_gradient(WinogradInverseStages &s, const Halide::Target &target) {
    schedule_winograd_columns(s, target);
}

}  // namespace fourfold::cpu
