// Per frequency a complex (rows x depth)(depth x columns) GEMM of interleaved numbers, as callers keep their spectra. Algorithm
// only; speed lives in schedules/*/complex_gemm.cpp.
//
//     out[f,n,k] = total[f,n,k] + sum_c x[f,n,c] * w[f,c,k]        x conjugated where sign is -1        (complex64)
//
// Nothing is split into real and imaginary parts: with j counting interleaved floats, two real sums over c
//
//     re[j] = sum_c Re(x[c]) * w[c,j],   im[j] = sum_c Im(x[c]) * w[c,j]
//
// take the four multiplications of a complex one, with a broadcast of x against a plain vector of w; only at the end are
// neighbours exchanged: out[j] = re[j] + sign*im[j ^ 1], the sign turned where j is even.
#include "generators/complex_gemm.h"

#include "generators/post_op.h"
#include "schedules/cpu/complex_gemm.h"

using namespace Halide;

namespace {

class ComplexGemm : public Generator<ComplexGemm> {
public:
    GeneratorParam<int> r{"r", 2};   ///< rows of a register tile
    GeneratorParam<int> w{"w", 32};  ///< complex columns of a register tile

    /// (part, depth, row, frequency).
    Input<Buffer<float, 4>> x{"x"};
    /// (j % 2w, depth, j / 2w, frequency).
    Input<Buffer<float, 4>> packed{"packed"};
    Input<float> sign{"sign"};
    /// As out; read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 3>> total{"total"};
    Input<int32_t> accumulate{"accumulate"};
    /// (j, row, frequency).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var j("j"), n("n"), f("f");
        RDom c(0, packed.dim(1).extent(), "c");
        const int width = 2 * w;
        Func sum("sum"), combined("combined");
        // The last tile repeats the last row instead of reading on.
        const Expr row = min(n, x.dim(2).max());
        const Expr value = packed(j % width, c, j / width, f);
        sum(j, n, f) = Tuple(0.0f, 0.0f);
        sum(j, n, f) = Tuple(sum(j, n, f)[0] + x(0, c, row, f) * value, sum(j, n, f)[1] + x(1, c, row, f) * value);
        // Written with ^ and a comparison, neighbours are exchanged by one shuffle of a register. Any form with j % 2, which Halide
        // simplifies j & 1 to as well, is vectorised as even and odd halves, which go through memory: unaligned loads of fresh stores.
        const Expr first = j / width * width, at = j % width;
        const Expr other = unsafe_promise_clamped(first + (at ^ 1), first, first + width - 1);
        combined(j, n, f) = sum(j, n, f)[0] + select((at ^ 1) > at, -sign, sign) * sum(other, n, f)[1];
        out(j, n, f) = combined(j, n, f) + select(accumulate != 0, total(j, n, f), 0.0f);
        stages = {out, combined, sum, j, n, f, c.x, [this](const Var &loop, int ahead) { stages.out.prefetch(x, loop, loop, ahead, PrefetchBoundStrategy::NonFaulting); }};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(packed);
        fourfold::require_origin(total);
        fourfold::require_origin(out);
        x.dim(0).set_extent(2);
        x.dim(1).set_stride(Expr());
        packed.dim(0).set_extent(2 * w);
        packed.dim(1).set_stride(Expr());
        fourfold::cpu::schedule(stages, {r, w}, accumulate, get_target());
    }

private:
    fourfold::ComplexGemmStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ComplexGemm, complex_gemm)
