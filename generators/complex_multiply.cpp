// Complex products of planes of interleaved frequencies, where callers keep them channel-first. Algorithm only; speed lives in
// schedules/*/complex_multiply.cpp.
//
//     out[n,k,f] = total[n,k,f] + sum_c x[n,c,f] * w[k,c,f]        w conjugated where sign is -1        (complex64)
//
// As in complex_gemm nothing is split: with j counting interleaved floats, two real sums over c
//
//     re[j] = sum_c x[c,j] * Re(w[c,j / 2]),   im[j] = sum_c x[c,j] * Im(w[c,j / 2])
//
// and at the end out[j] = re[j] + sign*im[j ^ 1], the sign turned where j is even.
#include "generators/complex_multiply.h"

#include "generators/post_op.h"
#include "schedules/cpu/complex_multiply.h"

using namespace Halide;

namespace {

class ComplexMultiply : public Generator<ComplexMultiply> {
public:
    GeneratorParam<int> r{"r", 1};  ///< planes of x in a register tile
    GeneratorParam<int> w{"w", 1};  ///< planes of w in a register tile
    GeneratorParam<int> v{"v", 4};  ///< vectors of frequencies in a register tile

    /// (j, depth, n).
    Input<Buffer<float, 3>> x{"x"};
    /// (j, depth, k).
    Input<Buffer<float, 3>> filters{"filters"};
    Input<float> sign{"sign"};
    /// As out; read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 3>> total{"total"};
    Input<int32_t> accumulate{"accumulate"};
    /// (j, k, n).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var j("j"), k("k"), n("n");
        RDom c(0, x.dim(1).extent(), "c");
        Func sum("sum"), combined("combined"), right("right");
        // Tiles beyond the edges repeat the last plane, and read frequencies under a mask.
        const auto load = [&](auto &planes, const Expr &plane, const Expr &depth) {
            return fourfold::load_if(likely(j < planes.dim(0).extent()), planes(unsafe_promise_clamped(j, 0, planes.dim(0).max()), depth, min(plane, planes.dim(2).max())));
        };
        Var d("d");
        right(j, d, k) = load(filters, k, d);
        // The even and the odd neighbour, written so that each is one shuffle: see complex_gemm.
        const int width = v * natural_vector_size<float>();
        const Expr first = j / width * width, at = j % width, other = at ^ 1;
        const auto in_tile = [&](const Expr &e) { return unsafe_promise_clamped(first + e, first, first + width - 1); };
        const Expr even = in_tile(select(other > at, at, other)), odd = in_tile(select(other > at, other, at));
        sum(j, k, n) = Tuple(0.0f, 0.0f);
        const Expr left = load(x, n, c);
        sum(j, k, n) = Tuple(sum(j, k, n)[0] + left * right(even, c, k), sum(j, k, n)[1] + left * right(odd, c, k));
        combined(j, k, n) = sum(j, k, n)[0] + select(other > at, -sign, sign) * sum(in_tile(other), k, n)[1];
        out(j, k, n) = combined(j, k, n) + select(accumulate != 0, total(j, k, n), 0.0f);
        stages = {out, combined, sum, right, j, k, n, c.x};
    }

    void schedule() {
        fourfold::require_origin(x);
        fourfold::require_origin(filters);
        fourfold::require_origin(total);
        fourfold::require_origin(out);
        fourfold::cpu::schedule(stages, {r, w, v}, accumulate, get_target());
    }

private:
    fourfold::ComplexMultiplyStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ComplexMultiply, complex_multiply)
