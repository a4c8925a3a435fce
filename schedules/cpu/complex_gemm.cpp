// CPU schedule of complex_gemm: r rows x w complex columns; the blocks of columns run outside the rows, so that a panel of the
// right operand (depth x w complex numbers: 8 KB at depth 64, w=16) stays in L1 while the rows pass.
//
// Registers (AVX-512): 2*r*w/8 accumulators + w/8 of the right operand: r=6 w=16 uses 24 + 2 of 32; x comes as broadcasts in
// the FMAs' memory operands. A step is 24 FMAs for 14 loads.
#include "schedules/cpu/complex_gemm.h"

using namespace Halide;

namespace fourfold::cpu {

void schedule(ComplexGemmStages &s, ComplexTile tile, const Expr &accumulate, const Target &target) {
    const int vec = target.natural_vector_size<float>();
    Var jo("jo"), ji("ji"), no("no"), ni("ni");
    s.out.split(s.j, jo, ji, 2 * tile.w, TailStrategy::GuardWithIf)
        .split(s.n, no, ni, tile.r, TailStrategy::GuardWithIf)
        .reorder(ji, ni, no, jo, s.f)
        .vectorize(ji, vec)
        .unroll(ji)
        .unroll(ni);
    s.out.specialize(accumulate == 0);
    s.combined.compute_at(s.out, no)
        .bound(s.part, 0, 2)
        .bound_extent(s.k, tile.w)
        .bound_extent(s.n, tile.r)
        .reorder(s.part, s.k, s.n)
        .unroll(s.part)
        .vectorize(s.k, std::min(vec, tile.w))
        .unroll(s.k)
        .unroll(s.n);
    s.sum.compute_at(s.out, no)
        .bound_extent(s.j, 2 * tile.w)
        .bound_extent(s.n, tile.r)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.n);
    s.sum.update()
        .reorder(s.j, s.n, s.c)
        .vectorize(s.j, vec)
        .unroll(s.j)
        .unroll(s.n);
}

}  // namespace fourfold::cpu
