// CPU schedule of winograd_forward: tile by tile, lines first into t*t vectors on the stack (2.3 KB at t = 6), then column by
// column straight to the output. At t = 6 that is 144 operations and 144 loads and stores of vectors a tile and 16 channels.
//
// Measured on a Zen 5 server core, 2026-11-20, a tile of 16 channels: t = 4 12 ns, t = 6 33 ns, t = 8 104 ns (AVX-512; 65 to
// 90 GB/s of points at t <= 6; at t = 8 registers spill, 96 moves of 600). On AVX2 t = 6 takes three times as long.
#include "schedules/cpu/winograd_forward.h"

namespace fourfold::cpu {

void schedule(WinogradForwardStages &s, const Halide::Target &target) {
    schedule_winograd_tiles(s, target);
}

}  // namespace fourfold::cpu
