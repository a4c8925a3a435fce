// The inverse of lane_rows_forward, unscaled: half spectra of the rows of 16 lanes to real rows. Algorithm only; speed lives
// in schedules/*/lane_rows_inverse.cpp.
//
//     out[y,x,l] = sum_{k < n} X[k,y,l] exp(+2 pi i k*x/n)      with X[n-k] = conj(X[k]) and in the known half of X
#include "generators/lane_fft.h"
#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace {

class LaneRowsInverse : public Generator<LaneRowsInverse> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, even and not a power of two

    /// (lane, part, kx, row).
    Input<Buffer<float, 4>> in{"in"};
    /// (lane, column, row).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        Var l("l"), x("x"), y("y"), j("j"), s("s"), k("k");

        std::vector<Complex> half, z;
        for (int i = 0; i <= f.even / 2; i++) {
            half.push_back({in(l, 0, i, y), i == 0 || i == f.even / 2 ? Expr() : Expr(in(l, 1, i, y))});
        }
        for (int i = 0; i < f.even; i++) {
            const Expr from = unsafe_promise_clamped(f.even / 2 + 1 + max(k - 1, 0) * f.even + i, 0, f.n / 2);
            z.push_back({in(l, 0, from, y), in(l, 1, from, y)});
        }
        Func real("real"), first("first"), between("between");
        real(l, y) = Tuple(fft::real_inverse(half, f.even));
        std::vector<Expr> values;
        for (const Complex &c : fft::transform(z, +1)) {
            values.push_back(c.re);
            values.push_back(c.im);
        }
        first(l, k, y) = Tuple(values);
        std::vector<Expr> choices;
        for (int i = 0; i < 2 * f.even; i++) {
            const Expr other = first(l, k, y)[i];
            // Nothing reads imaginary parts at k = 0.
            choices.push_back(select(k == 0, i % 2 == 0 ? Expr(real(l, y)[i / 2]) : Expr(0.0f), other));
        }
        between(l, s, k, y) = mux(s, choices);

        std::vector<Complex> waves;
        for (int i = 0; i <= f.odd / 2; i++) {
            waves.push_back({between(l, 2 * j, i, y), i == 0 ? Expr() : Expr(between(l, 2 * j + 1, i, y))});
        }
        Func second("second");
        second(l, j, y) = Tuple(fft::real_inverse(waves, f.odd));
        RDom r(0, f.odd, 0, f.even, "r");
        out(l, x, y) = undef<float>();
        out(l, f.place(r.x, r.y), y) = mux(r.x, Tuple(second(l, r.y, y)).as_vector());

        stages = {out, real, first, between, second, l, x, y, j, s, k, r.x, r.y, f.odd, f.even};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(1).set_extent(2).set_stride(16);
        in.dim(2).set_extent(n / 2 + 1);
        out.dim(0).set_extent(16);
        out.dim(1).set_extent(n).set_stride(16);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::LaneRowsInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(LaneRowsInverse, lane_rows_inverse)
