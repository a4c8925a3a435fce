// The inverse of plane_columns_forward, unscaled: half spectra of columns to columns of pixels, a vector at a time. Algorithm only; speed
// lives in schedules/*/plane_columns_inverse.cpp.
//
//     out[y,x] = sum_{k < n} X[k,x] exp(+2 pi i k*y/n)      with X[n-k] = conj(X[k]) and in the known half of X
#include "generators/plane_fft.h"
#include "generators/post_op.h"
#include "schedules/cpu/plane_fft.h"
#include "schedules/cpu/transposed_stores.h"

using namespace Halide;

namespace {

class PlaneColumnsInverse : public Generator<PlaneColumnsInverse> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, a multiple of 8 and not a power of two

    /// (lane, x, part, block).
    Input<Buffer<float, 4>> in{"in"};
    /// Which row is point (i, j) of a column, at j*odd + i.
    Input<Buffer<int32_t, 1>> at{"at"};
    /// (column, row); columns in whole vectors.
    Output<Buffer<float, 2>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        const fourfold::PlaneBlocks blocks(f, get_target());
        Var x("x"), y("y"), l("l"), part("part"), b("b"), j("j"), s("s"), k("k");

        const int group = blocks.group;
        // Those of k mod odd = 0 apart, or the others' would be asked for with them.
        Func turned_reals("turned_reals"), turned("turned");
        turned_reals(x, l, part, b) = in(blocks.lane(b, l), x, part, blocks.block(b));
        turned(x, l, part, b) = in(blocks.lane(b, l), x, part, blocks.block(b));
        std::vector<Complex> half, z;
        for (int i = 0; i <= f.even / 2; i++) {
            half.push_back({turned_reals(x, i % group, 0, i / group), i == 0 || i == f.even / 2 ? Expr() : Expr(turned_reals(x, i % group, 1, i / group))});
        }
        for (int i = 0; i < f.even; i++) {
            const Expr at_group = k * (f.even / group) + i / group;
            z.push_back({turned(x, i % group, 0, at_group), turned(x, i % group, 1, at_group)});
        }
        Func real("real"), first("first"), between("between");
        real(x) = Tuple(fft::real_inverse(half, f.even));
        first(x, k) = fft::parts(fft::transform(z, +1));
        std::vector<Expr> choices;
        for (int i = 0; i < 2 * f.even; i++) {
            const Expr other = first(x, k)[i];
            // Nothing reads imaginary parts at k = 0.
            choices.push_back(select(k == 0, i % 2 == 0 ? Expr(real(x)[i / 2]) : Expr(0.0f), other));
        }
        between(x, s, k) = mux(s, choices);

        std::vector<Complex> waves;
        for (int i = 0; i <= f.odd / 2; i++) {
            waves.push_back({between(x, 2 * j, i), i == 0 ? Expr() : Expr(between(x, 2 * j + 1, i))});
        }
        Func second("second");
        second(x, j) = Tuple(fft::real_inverse(waves, f.odd));
        RDom r(0, f.odd, 0, f.even, "r");
        const Expr row = unsafe_promise_clamped(at(unsafe_promise_clamped(r.y * f.odd + r.x, 0, f.n - 1)), 0, f.n - 1);
        out(x, y) = undef<float>();
        out(x, row) = mux(r.x, Tuple(second(x, r.y)).as_vector());

        stages = {out, turned_reals, turned, real, first, between, second, x, y, l, part, b, j, s, k, r.x, r.y, f.odd, f.even, blocks.lanes, group};
    }

    void schedule() {
        const fourfold::PlaneBlocks blocks(fourfold::LaneFactors(n), get_target());
        fourfold::require_origin(in);
        fourfold::require_origin(at);
        fourfold::require_origin(out);
        at.dim(0).set_extent(n);
        in.dim(0).set_extent(blocks.lanes);
        in.dim(1).set_stride(blocks.lanes);
        in.dim(2).set_extent(2);
        in.dim(3).set_extent(blocks.count);
        out.dim(1).set_extent(n);
        fourfold::cpu::schedule(stages);
        get_pipeline().add_custom_lowering_pass(new fourfold::cpu::TransposedStores());
    }

private:
    fourfold::PlaneColumnsInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PlaneColumnsInverse, plane_columns_inverse)
