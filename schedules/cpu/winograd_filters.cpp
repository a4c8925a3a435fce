// CPU schedule of winograd_filters: 16 filters at a time. Paid once per plan.
#include "schedules/cpu/winograd_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(WinogradFiltersStages &s, const Target &target) {
    const int vec = target.natural_vector_size<double>();
    Var ko("ko"), ki("ki");
    s.out.bound(s.part, 0, 1)
        .bound(s.fy, 0, s.t)
        .bound(s.fx, 0, s.t)
        .split(s.k, ko, ki, vec, TailStrategy::RoundUp)
        .reorder(ki, s.part, s.fy, s.fx, ko, s.c)
        .vectorize(ki)
        .unroll(s.fy);
    s.column.compute_at(s.out, s.fx).vectorize(s.k);
    s.lines.compute_at(s.out, ko)
        .bound_extent(s.fx, s.t)
        .bound_extent(s.r, 3)
        .reorder(s.k, s.fx, s.r)
        .vectorize(s.k)
        .unroll(s.fx);
    s.line.compute_at(s.lines, s.r).vectorize(s.k);
}

}  // namespace fourfold::cpu
