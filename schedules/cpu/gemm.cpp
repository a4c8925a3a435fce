// CPU schedule of gemm: see register_tile.h for the loop nest and conv_direct.cpp for the register argument. The right
// operand stays row-major: its n contiguous vectors per k are whole cache lines, so packing it again would only cost.
#include "schedules/cpu/gemm.h"

namespace fourfold::cpu {

void schedule(GemmStages &s, const Halide::Expr &one_block, RegisterTile tile, const Halide::Target &target) {
    schedule_register_tile(s.out, s.total, s.block, s.j, s.i, {s.k}, s.kb, one_block, tile, target);
}

}  // namespace fourfold::cpu
