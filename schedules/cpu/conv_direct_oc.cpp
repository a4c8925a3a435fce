#include "schedules/cpu/conv_direct_oc.h"

#include <algorithm>

using namespace Halide;

namespace fourfold::cpu {

void schedule(ConvDirectOcStages &s, PixelTile tile, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    const int width = 16 * tile.v;
    Var jo("jo"), ji("ji"), ko("ko"), ki("ki");
    s.out.split(s.j, jo, ji, tile.r, TailStrategy::GuardWithIf)
        .split(s.k, ko, ki, width, TailStrategy::GuardWithIf)
        .reorder(ki, ji, jo, ko)
        .vectorize(ki, vec)
        .unroll(ki)
        .unroll(ji);
    s.at.compute_at(s.out, jo).bound_extent(s.j, tile.r).unroll(s.j);
    s.total.compute_at(s.out, jo)
        .bound_extent(s.k, width)
        .bound_extent(s.j, tile.r)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.j);
    s.total.update().reorder(s.k, s.j, s.kb).vectorize(s.k, vec).unroll(s.k).unroll(s.j);
    s.block.compute_at(s.total, s.kb)
        .bound_extent(s.k, width)
        .bound_extent(s.j, tile.r)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.j);
    s.block.update().reorder(s.k, s.j, s.d).vectorize(s.k, vec).unroll(s.k).unroll(s.j);
}

}  // namespace fourfold::cpu
