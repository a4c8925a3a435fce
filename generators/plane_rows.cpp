// The rows of a tile's spectra, a vector of frequencies of its columns at a time: transform, product with a filter's spectrum, inverse
// transform. Algorithm only; speed lives in schedules/*/plane_rows.cpp.
//
//     out[q,x] = sum_k exp(+2 pi i k*x/n) w[q,k] sum_x' exp(-2 pi i k*x'/n) in[q,x']        (complex, unscaled)
//
// Frequencies are in the order of generators/plane_fft.h. With mode = none only the inner sum, scaled, in that order: what the
// others take as w.
#include "generators/plane_fft.h"
#include "generators/post_op.h"
#include "schedules/cpu/plane_fft.h"

using namespace Halide;

namespace {

enum class Mode { product, none };

class PlaneRows : public Generator<PlaneRows> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, a multiple of 8 and not a power of two
    GeneratorParam<Mode> mode{"mode", Mode::product, {{"product", Mode::product}, {"none", Mode::none}}};

    /// (lane, x, part, block).
    Input<Buffer<float, 4>> in{"in"};
    /// Which x is point (i, j) of a row, at j*odd + i.
    Input<Buffer<int32_t, 1>> at{"at"};
    /// (lane, frequency, part, block); not read when there is no product.
    Input<Buffer<float, 4>> w{"w"};
    Input<float> scale{"scale"};  ///< used when there is no product
    /// (lane, x, part, block), and may be in; without product (lane, frequency, part, block).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        Var l("l"), x("x"), part("part"), b("b"), j("j"), s("s"), k("k");
        const bool product = mode != Mode::none;
        const auto place = [&](const Expr &i, const Expr &from) {
            return unsafe_promise_clamped(at(unsafe_promise_clamped(from * f.odd + i, 0, f.n - 1)), 0, f.n - 1);
        };

        std::vector<Complex> z;
        for (int i = 0; i < f.odd; i++) {
            z.push_back({in(l, place(i, j), 0, b), in(l, place(i, j), 1, b)});
        }
        Func first("first"), between("between");
        first(l, j, b) = fft::parts(fft::transform_by_primes(z, -1));
        between(l, s, j, b) = mux(s, Tuple(first(l, j, b)).as_vector());

        std::vector<Complex> points;
        for (int i = 0; i < f.even; i++) {
            points.push_back({between(l, 2 * k, i, b), between(l, 2 * k + 1, i, b)});
        }
        std::vector<Complex> spectrum = fft::transform(points, -1);
        if (product) {
            for (int i = 0; i < f.even; i++) {
                const Expr wr = w(l, k * f.even + i, 0, b), wi = w(l, k * f.even + i, 1, b);
                const Complex v = spectrum[i];
                spectrum[i] = {v.re * wr - v.im * wi, v.re * wi + v.im * wr};
            }
            spectrum = fft::transform(spectrum, +1);
        } else {
            for (Complex &v : spectrum) {
                v = {v.re * scale, v.im * scale};
            }
        }
        Func second("second"), back("back"), third("third");
        second(l, k, b) = fft::parts(spectrum);

        out(l, x, part, b) = undef<float>();
        RDom r(0, 2 * (product ? f.odd : f.even), 0, product ? f.even : f.odd, "r");
        if (product) {
            back(l, s, k, b) = mux(s, Tuple(second(l, k, b)).as_vector());
            std::vector<Complex> waves;
            for (int i = 0; i < f.odd; i++) {
                waves.push_back({back(l, 2 * j, i, b), back(l, 2 * j + 1, i, b)});
            }
            third(l, j, b) = fft::parts(fft::transform_by_primes(waves, +1));
            out(l, place(r.x / 2, r.y), r.x % 2, b) = mux(r.x, Tuple(third(l, r.y, b)).as_vector());
        } else {
            const Expr to = unsafe_promise_clamped(r.y * f.even + r.x / 2, 0, f.n - 1);
            out(l, to, r.x % 2, b) = mux(r.x, Tuple(second(l, r.y, b)).as_vector());
        }

        stages = {out, first, between, second, back, third, l, x, part, b, j, s, k, r.x, r.y, product, f.odd, f.even, fourfold::PlaneBlocks(f, get_target()).lanes};
    }

    void schedule() {
        const int lanes = stages.lanes;
        fourfold::require_origin(in);
        fourfold::require_origin(at);
        fourfold::require_origin(w);
        fourfold::require_origin(out);
        at.dim(0).set_extent(n);
        in.dim(0).set_extent(lanes);
        in.dim(1).set_extent(n).set_stride(lanes);
        in.dim(2).set_extent(2);
        if (stages.product) {
            w.dim(0).set_extent(lanes);
            w.dim(1).set_stride(2 * lanes);
            w.dim(2).set_stride(lanes);
            out.dim(1).set_extent(n).set_stride(lanes);
        } else {
            out.dim(1).set_extent(n).set_stride(2 * lanes);
        }
        out.dim(0).set_extent(lanes);
        out.dim(2).set_extent(2);
        fourfold::cpu::schedule(stages);
    }

private:
    fourfold::PlaneRowsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PlaneRows, plane_rows)
