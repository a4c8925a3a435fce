// CPU schedule of winograd_product: r tiles x v blocks of 16 output channels in registers.
#include "schedules/cpu/winograd_product.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(WinogradProductStages &s, WinogradProductTile tile, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    const int width = 16 * tile.v;
    Var ko("ko"), ki("ki"), to("to"), ti("ti");
    s.out.bound(s.part, 0, 1)
        .split(s.k, ko, ki, width, TailStrategy::RoundUp)
        .split(s.tile, to, ti, tile.r, TailStrategy::RoundUp)
        .reorder(ki, s.part, ti, to, ko, s.f)
        .vectorize(ki, vec)
        .unroll(ki)
        .unroll(ti);
    s.total.compute_at(s.out, to)
        .bound_extent(s.k, width)
        .bound_extent(s.tile, tile.r)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.tile);
    s.total.update().reorder(s.k, s.tile, s.cb).vectorize(s.k, vec).unroll(s.k).unroll(s.tile);
    s.sum.compute_at(s.total, s.cb)
        .bound_extent(s.k, width)
        .bound_extent(s.tile, tile.r)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.tile);
    s.sum.update().reorder(s.k, s.tile, s.c).vectorize(s.k, vec).unroll(s.k).unroll(s.tile);
}

}  // namespace fourfold::cpu
