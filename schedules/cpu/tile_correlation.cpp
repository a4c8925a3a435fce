// CPU schedule of tile_correlation: the register tile of tile_product, r channels x v blocks of 16 outputs of complex
// accumulators; see there for the registers. The channels of a tile lie side by side, so the broadcasts of a step come from
// two cache lines.
#include "schedules/cpu/tile_correlation.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_correlation(TileProductStages &s, ProductTile tile, const Expr &accumulate, const Target &target) {
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
    s.out.specialize(accumulate != 0);
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
