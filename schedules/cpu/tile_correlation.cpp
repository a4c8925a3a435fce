// CPU schedule of tile_correlation: the register tile of tile_product, r channels x v blocks of 16 outputs of complex
// accumulators; see there for the registers. The channels of a tile lie side by side, so the broadcasts of a step come from
// two cache lines.
#include "schedules/cpu/tile_correlation.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_correlation(TileProductStages &s, ProductTile tile, const Expr &accumulate, const Target &target) {
    schedule_complex_tile(s, tile, target);
    s.out.specialize(accumulate != 0);
}

}  // namespace fourfold::cpu
