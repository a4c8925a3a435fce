// GPU schedule of spectral_product: a warp is a pack of frequencies, so that spectra and packed filters are read side by side; four
// warps of a block take neighbouring blocks of output channels and share the spectra of x in L1. A step of a thread loads
// n pairs of floats and 2*k floats for 4*n*k FMAs. Images are whole tiles: the caller rounds their number up.
#include "schedules/cuda/spectral_product.h"

using namespace Halide;

namespace fourfold::cuda {

void schedule(SpectralProductStages &s, SpectralTile tile) {
    Var fo("fo"), fi("fi"), ko("ko"), kw("kw"), ki("ki"), no("no"), ni("ni"), block("block");
    s.out.bound(s.part, 0, 2)
        .split(s.f, fo, fi, tile.lanes, TailStrategy::RoundUp)
        .split(s.k, ko, ki, 4 * tile.k, TailStrategy::GuardWithIf)
        .split(ki, kw, ki, tile.k, TailStrategy::GuardWithIf)
        .split(s.n, no, ni, tile.n, TailStrategy::RoundUp)
        .reorder(s.part, ki, ni, fi, kw, ko, no, fo, s.g)
        .fuse(ko, no, block)
        .fuse(block, fo, block)
        .fuse(block, s.g, block)
        .gpu_blocks(block)
        .gpu_threads(fi, kw)
        .unroll(s.part)
        .unroll(ki)
        .unroll(ni)
        .never_partition_all();
    s.sum.compute_at(s.out, fi).store_in(MemoryType::Register);
    s.sum.bound_extent(s.f, 1).bound_extent(s.g, 1).bound_extent(s.k, tile.k).bound_extent(s.n, tile.n).unroll(s.k).unroll(s.n);
    s.sum.update().reorder(s.k, s.n, s.c).unroll(s.k).unroll(s.n);
    s.pairs.compute_at(s.sum, s.c).store_in(MemoryType::Register).bound(s.part, 0, 2).bound_extent(s.n, tile.n).vectorize(s.part).unroll(s.n);
}

}  // namespace fourfold::cuda
