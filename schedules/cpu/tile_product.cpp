// CPU schedule of tile_product: r tiles x v blocks of 16 output channels of complex accumulators.
//
// Registers (AVX-512): 2*r*v accumulators + 2*v of the filters + broadcasts: r=6 v=2 uses 24 + 4 of 32 for 48 FMAs a step of
// 4 loads and 12 broadcasts. A frequency's panel of filters (channels x 32 complex: 16 KB at 64
// channels) is reused by all tiles of the block before the next.
#include "schedules/cpu/tile_product.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(TileProductStages &s, ProductTile tile, const Target &target) {
    const int vec = std::min(16, target.natural_vector_size<float>());
    Var ko("ko"), ki("ki"), to("to"), ti("ti");
    s.out.bound(s.part, 0, 2)
        .split(s.k, ko, ki, 16 * tile.v, TailStrategy::RoundUp)
        .split(s.tile, to, ti, tile.r, TailStrategy::RoundUp)
        .reorder(ki, s.part, ti, to, ko, s.f)
        .vectorize(ki, vec)
        .unroll(ki)
        .unroll(s.part)
        .unroll(ti);
    s.sum.compute_at(s.out, to)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.tile);
    s.sum.update()
        .reorder(s.k, s.tile, s.c)
        .vectorize(s.k, vec)
        .unroll(s.k)
        .unroll(s.tile);
}

}  // namespace fourfold::cpu
