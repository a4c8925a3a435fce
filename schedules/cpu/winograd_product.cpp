// CPU schedule of winograd_product: r tiles x v blocks of 16 output channels in registers.
//
// Registers (AVX-512): r*v accumulators + v of the filters + broadcasts: r=4 v=4 uses 16 + 4 + 1 of 32 for 16 FMAs a step of 4
// loads and 4 broadcasts. The outer loop over output blocks keeps a panel of filters (channels x 16*v) near while all tiles
// of the block pass; the panels themselves are read once, in order.
//
// Measured on a Zen 5 server core, 2026-11-20, peak 260 to 270 GFLOP/s, 36 points, GFLOP/s of the tiles asked for:
//
//     tiles, channels -> outputs    4,4   8,2   10,2   6,4   8,3   12,2   14,2   16,1
//     16, 256 -> 256                 225   229    160   203   182    116    108    158
//     49, 128 -> 128                 224   208    232   215   186    193    205    165
//     196, 64 -> 64                  247   240    241   238   157    238    214    182
//     49, 512 -> 512                 182   134    180   140   136    136    106    107     37 MB of filters, beyond L3
//     16, 512 -> 512                 152   150    127   152   159     72     85     72     the same
//
// 4,4 and 8,2 reach 255 to 262 (95 % and more) when the machine is otherwise idle. Large tiles of registers lose by tiles that
// only fill up, v = 3 by outputs. Halide's prefetch of the filters 8, 32, 128 or a panel's channels ahead cost 1 to 15 %.
#include "schedules/cpu/winograd_product.h"

namespace fourfold::cpu {

void schedule(WinogradProductStages &s, WinogradProductTile tile, const Halide::Target &target) {
    schedule_real_tile(s, tile, target);
}

}  // namespace fourfold::cpu
