// CPU schedule of winograd_correlation: the register tile of winograd_product, r channels x v blocks of 16 outputs; see there for the
// registers. The channels of a tile lie side by side, so the broadcasts of a step come from one or two cache lines.
#include "schedules/cpu/winograd_correlation.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule_correlation(WinogradProductStages &s, WinogradProductTile tile, const Expr &accumulate, const Target &target) {
    schedule_real_tile(s, tile, target);
    s.out.specialize(accumulate != 0);
}

}  // namespace fourfold::cpu
