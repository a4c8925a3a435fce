#pragma once

#include "generators/tile_product.h"

namespace fourfold::cpu {

struct ProductTile {
    int r;  ///< tiles
    int v;  ///< blocks of 16 output channels
};

/// The register tile, which tile_correlation shares: sums of r tiles and v blocks in registers, panel after panel of filters.
inline void schedule_complex_tile(TileProductStages &s, ProductTile tile, const Halide::Target &target) {
    using namespace Halide;
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

void schedule(TileProductStages &stages, ProductTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
