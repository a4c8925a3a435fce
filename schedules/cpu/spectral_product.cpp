// CPU schedule of spectral_product: lanes are frequencies, a register tile is n images x k output channels of complex
// accumulators.
//
// Registers (AVX-512): 2*n*k accumulators + 2 of x + 2 of w: n=3 k=4 uses 24 + 4 of 32. A step loads 2*n + 2*k vectors for
// 4*n*k FMAs; x is deinterleaved by two shuffles that k output channels share.
// The blocks of output channels run outside the images, so that each filter spectrum is read from memory once.
#include "schedules/cpu/spectral_product.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(SpectralProductStages &s, SpectralTile tile, const Target &target) {
    const int vec = std::min(target.natural_vector_size<float>(), tile.lanes);
    Var fo("fo"), fi("fi"), fv("fv"), ko("ko"), ki("ki"), no("no"), ni("ni");
    s.out.split(s.f, fo, fi, tile.lanes, TailStrategy::RoundUp)
        .split(fi, fv, fi, vec, TailStrategy::RoundUp)
        .split(s.k, ko, ki, tile.k, TailStrategy::GuardWithIf)
        .split(s.n, no, ni, tile.n, TailStrategy::GuardWithIf)
        .reorder(s.part, fi, ki, ni, fv, no, ko, fo, s.g)
        .unroll(s.part)
        .vectorize(fi)
        .unroll(ki)
        .unroll(ni);
    s.sum.compute_at(s.out, fv)
        .bound_extent(s.f, vec)
        .bound_extent(s.k, tile.k)
        .bound_extent(s.n, tile.n)
        .vectorize(s.f)
        .unroll(s.k)
        .unroll(s.n);
    s.sum.update()
        .reorder(s.f, s.k, s.n, s.c)
        .vectorize(s.f)
        .unroll(s.k)
        .unroll(s.n);
}

}  // namespace fourfold::cpu
