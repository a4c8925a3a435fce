// CPU schedule of pack_tile_filters: 16 outputs x 8 channels at a time, read along channels and transposed in registers by a
// vectorised store of both dimensions, as in block_channels. Fewer than 8 channels go one by one.
//
// Evidence (AMD EPYC, Zen 5, one thread, 2026-11-20): 64 -> 64 5x5 3.7 -> 3.2 ms, 128 -> 128 7x7 8.6 -> 7.4 ms; what is left are
// stores to memory, of which each point's are far apart.
#include "schedules/cpu/pack_tile_filters.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(PackTileFiltersStages &s, bool wide) {
    if (!wide) {
        return;
    }
    Var ko("ko_block"), ki("ki_block"), co("co"), ci("ci");
    s.out.split(s.k, ko, ki, 16, TailStrategy::RoundUp)
        .split(s.c, co, ci, 8, TailStrategy::ShiftInwards)
        .reorder(ki, ci, co, ko, s.part)
        .vectorize(ki)
        .vectorize(ci);
    s.values.compute_at(s.out, co).bound_extent(s.k, 16).bound_extent(s.c, 8).vectorize(s.c).unroll(s.k);
}

}  // namespace fourfold::cpu
