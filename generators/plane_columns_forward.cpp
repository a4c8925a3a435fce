// Real transforms of the columns of a tile, a vector of columns at a time. Algorithm only; speed lives in
// schedules/*/plane_columns_forward.cpp.
//
//     out[k,x] = sum_y in[at(y) + x] exp(-2 pi i k*y/n)
//
// The order of the half spectrum is that of generators/plane_fft.h.
#include "generators/plane_fft.h"
#include "generators/post_op.h"
#include "schedules/cpu/plane_fft.h"
#include "schedules/cpu/transposed_stores.h"

using namespace Halide;

namespace {

class PlaneColumnsForward : public Generator<PlaneColumnsForward> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, a multiple of 8 and not a power of two

    /// Pixels, wherever they lie.
    Input<Buffer<float, 1>> in{"in"};
    /// Where the row of point (i, j) of a column begins, at j*odd + i.
    Input<Buffer<int32_t, 1>> at{"at"};
    /// (lane, x, part, block); columns in whole vectors.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        Var x("x"), l("l"), part("part"), b("b"), j("j"), s("s"), k("k");

        std::vector<Expr> samples;
        for (int i = 0; i < f.odd; i++) {
            samples.push_back(in(unsafe_promise_clamped(at(unsafe_promise_clamped(j * f.odd + i, 0, f.n - 1)) + x, 0, in.dim(0).extent() - 1)));
        }
        std::vector<Expr> half;
        for (const Complex &c : fft::real_forward(samples)) {
            half.push_back(c.re);
            if (half.size() > 1) {
                half.push_back(c.im);
            }
        }
        // Value 0 is k = 0, which is real; then re and im of k = 1 .. odd/2.
        Func first("first"), between("between");
        first(x, j) = Tuple(half);
        between(x, s, j) = mux(s, Tuple(first(x, j)).as_vector());

        std::vector<Expr> reals;
        std::vector<Complex> z;
        for (int i = 0; i < f.even; i++) {
            reals.push_back(between(x, 0, i));
            z.push_back({between(x, max(2 * k - 1, 0), i), between(x, 2 * k, i)});
        }
        Func real("real"), second("second");
        real(x) = fft::parts(fft::real_forward(reals));
        second(x, k) = fft::parts(fft::transform(z, -1));

        RDom r(0, f.even, 0, 2, 0, f.odd / 2 + 1, "r");
        std::vector<Expr> choices;
        for (int p = 0; p < 2; p++) {
            for (int i = 0; i < f.even; i++) {
                const Expr alone = i <= f.even / 2 ? Expr(real(x)[2 * i + p]) : Expr(0.0f);
                choices.push_back(select(r.z == 0, alone, second(x, r.z)[2 * i + p]));
            }
        }
        const fourfold::PlaneBlocks blocks(f, get_target());
        const Expr group = r.z * (f.even / blocks.group) + r.x / blocks.group;
        out(l, x, part, b) = undef<float>();
        out(blocks.lane(group, r.x % blocks.group), x, r.y, blocks.block(group)) = mux(r.y * f.even + r.x, choices);

        stages = {out, first, between, real, second, x, l, part, b, j, s, k, r.x, r.y, r.z, f.odd, f.even, blocks.lanes};
    }

    void schedule() {
        const fourfold::PlaneBlocks blocks(fourfold::LaneFactors(n), get_target());
        fourfold::require_origin(in);
        fourfold::require_origin(at);
        fourfold::require_origin(out);
        at.dim(0).set_extent(n);
        out.dim(0).set_extent(blocks.lanes);
        out.dim(1).set_stride(blocks.lanes);
        out.dim(2).set_extent(2);
        out.dim(3).set_extent(blocks.count);
        fourfold::cpu::schedule(stages);
        get_pipeline().add_custom_lowering_pass(new fourfold::cpu::TransposedStores());
    }

private:
    fourfold::PlaneColumnsForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PlaneColumnsForward, plane_columns_forward)
