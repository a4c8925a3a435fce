// CPU schedule of winograd_filters: filter by filter; paid once per plan.
#include "schedules/cpu/winograd_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(WinogradFiltersStages &s, const Target &) {
    s.out.bound(s.part, 0, 1)
        .bound(s.fy, 0, s.t)
        .bound(s.fx, 0, s.t)
        .reorder(s.part, s.fy, s.fx, s.ki, s.c, s.ko)
        .unroll(s.fy);
    s.column.compute_at(s.out, s.fx);
    s.lines.compute_at(s.out, s.ki)
        .bound_extent(s.fx, s.t)
        .bound_extent(s.r, 3)
        .reorder(s.fx, s.r)
        .unroll(s.fx);
    s.line.compute_at(s.lines, s.r);
}

}  // namespace fourfold::cpu
