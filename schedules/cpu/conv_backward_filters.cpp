// CPU schedule of conv_backward_filters: r output channels x v taps of accumulators, vectors along the pixels.
//
// Registers (AVX-512): r*v accumulators + v vectors of x + one of grad: r=8 v=3 uses 24 + 4 of 32. A step loads r aligned
// vectors of grad and v unaligned ones of x for r*v FMAs. The lanes are summed once a register tile and call.
#include "schedules/cpu/conv_backward_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvBackwardFiltersStages &s, FilterGradientTile tile, const Expr &accumulate, const Target &) {
    Var uo("uo"), ui("ui"), ko("ko"), ki("ki");
    s.out.split(s.u, uo, ui, tile.v, TailStrategy::GuardWithIf)
        .split(s.k, ko, ki, tile.r, TailStrategy::GuardWithIf)
        .reorder(ui, ki, uo, ko, s.g)
        .unroll(ui)
        .unroll(ki);
    s.out.specialize(accumulate != 0);
    s.sum.compute_at(s.out, uo)
        .bound_extent(s.u, tile.v)
        .bound_extent(s.k, tile.r)
        .unroll(s.u)
        .unroll(s.k);
    s.sum.update().reorder(s.rl, s.u, s.k).atomic().vectorize(s.rl).unroll(s.u).unroll(s.k);
    s.lanes.compute_at(s.out, uo)
        .bound_extent(s.l, s.vector)
        .bound_extent(s.u, tile.v)
        .bound_extent(s.k, tile.r)
        .vectorize(s.l)
        .unroll(s.u)
        .unroll(s.k);
    s.lanes.update().reorder(s.l, s.u, s.k, s.j).vectorize(s.l).unroll(s.u).unroll(s.k);
}

}  // namespace fourfold::cpu
