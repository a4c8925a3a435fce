#pragma once

#include <algorithm>

#include "generators/winograd_product.h"
#include "schedules/cpu/register_tile.h"

namespace fourfold::cpu {

struct WinogradProductTile {
    int r;  ///< tiles
    int v;  ///< blocks of 16 output channels
};

/// The register tile, which winograd_correlation shares: sums of r tiles and v blocks in registers, panel after panel.
inline void schedule_real_tile(WinogradProductStages &s, WinogradProductTile tile, const Halide::Target &target) {
    using namespace Halide;
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
    accumulate_in_registers(s.total, s.out, to, s.k, width, s.tile, tile.r, {s.cb}, vec);
    accumulate_in_registers(s.sum, s.total, s.cb, s.k, width, s.tile, tile.r, {s.c}, vec);
}

void schedule(WinogradProductStages &stages, WinogradProductTile tile, const Halide::Target &target);

}  // namespace fourfold::cpu
