// CPU schedule of im2row: 16 columns x 8 pixels at a time, read along rows, transposed in registers by a vectorised store of
// both dimensions, as in block_channels. Blocks of columns run outside, so that the 16 distances are worked out once a row.
#include "schedules/cpu/im2row.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(Im2rowStages &s, const Target &) {
    Var uo("uo"), ui("ui"), qo("qo"), qi("qi");
    s.out.split(s.u, uo, ui, 16, TailStrategy::RoundUp)
        .split(s.q, qo, qi, 8, TailStrategy::RoundUp)
        .reorder(ui, qi, qo, s.p, uo)
        .vectorize(ui)
        .vectorize(qi);
    s.patches.compute_at(s.out, qo).bound_extent(s.q, 8).bound_extent(s.u, 16).vectorize(s.q).unroll(s.u);
}

}  // namespace fourfold::cpu
