// Columns of 16 lanes' spectra: transform, product with a filter's spectrum, inverse transform; the column never leaves the
// first cache. Algorithm only; speed lives in schedules/*/lane_columns.cpp.
//
//     out[kx,y,l] = sum_k exp(+2 pi i k*y/n) w[kx,k,l] sum_y' exp(-2 pi i k*y'/n) in[kx,y',l]        (complex, unscaled)
//
// Frequencies are in the order of generators/lane_fft.h. With mode = none only the inner sum, scaled, in that order: what
// the others take as w.
#include "generators/lane_fft.h"
#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace {

enum class Mode { lanes, one, none };

class LaneColumns : public Generator<LaneColumns> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, even and not a power of two
    /// A filter to each lane, one filter for all, or no product.
    GeneratorParam<Mode> mode{"mode", Mode::lanes, {{"lanes", Mode::lanes}, {"one", Mode::one}, {"none", Mode::none}}};

    /// (lane, part, row, kx).
    Input<Buffer<float, 4>> in{"in"};
    /// (lane or one, part, frequency, kx); not read when there is no product.
    Input<Buffer<float, 4>> w{"w"};
    Input<float> scale{"scale"};  ///< used when there is no product
    /// (lane, part, row or frequency, kx); may be in.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        Var l("l"), part("part"), y("y"), kx("kx"), j("j"), s("s"), k("k");
        const bool product = mode != Mode::none;

        std::vector<Complex> z;
        for (int i = 0; i < f.odd; i++) {
            z.push_back({in(l, 0, f.place(i, j), kx), in(l, 1, f.place(i, j), kx)});
        }
        Func first("first"), between("between");
        first(l, j, kx) = tuple(fft::transform(z, -1));
        between(l, s, j, kx) = mux(s, Tuple(first(l, j, kx)).as_vector());

        std::vector<Complex> points;
        for (int i = 0; i < f.even; i++) {
            points.push_back({between(l, 2 * k, i, kx), between(l, 2 * k + 1, i, kx)});
        }
        std::vector<Complex> spectrum = fft::transform(points, -1);
        if (product) {
            const Expr lane = mode == Mode::lanes ? Expr(l) : Expr(0);
            for (int i = 0; i < f.even; i++) {
                const Expr wr = w(lane, 0, k * f.even + i, kx), wi = w(lane, 1, k * f.even + i, kx);
                const Complex x = spectrum[i];
                spectrum[i] = {x.re * wr - x.im * wi, x.re * wi + x.im * wr};
            }
            spectrum = fft::transform(spectrum, +1);
        } else {
            for (Complex &x : spectrum) {
                x = {x.re * scale, x.im * scale};
            }
        }
        Func second("second"), back("back"), third("third");
        second(l, k, kx) = tuple(spectrum);

        out(l, part, y, kx) = undef<float>();
        RDom r(0, 2 * (product ? f.odd : f.even), 0, product ? f.even : f.odd, "r");
        if (product) {
            back(l, s, k, kx) = mux(s, Tuple(second(l, k, kx)).as_vector());
            std::vector<Complex> waves;
            for (int i = 0; i < f.odd; i++) {
                waves.push_back({back(l, 2 * j, i, kx), back(l, 2 * j + 1, i, kx)});
            }
            third(l, j, kx) = tuple(fft::transform(waves, +1));
            out(l, r.x % 2, f.place(r.x / 2, r.y), kx) = mux(r.x, Tuple(third(l, r.y, kx)).as_vector());
        } else {
            const Expr to = unsafe_promise_clamped(r.y * f.even + r.x / 2, 0, f.n - 1);
            out(l, r.x % 2, to, kx) = mux(r.x, Tuple(second(l, r.y, kx)).as_vector());
        }

        stages = {out, first, between, second, back, third, l, part, y, kx, j, s, k, r.x, r.y, product, f.odd, f.even};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(w);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(1).set_extent(2).set_stride(16);
        in.dim(2).set_extent(n).set_stride(32);
        if (mode == Mode::lanes) {
            w.dim(0).set_extent(16);
            w.dim(1).set_stride(16);
            w.dim(2).set_stride(32);
        }
        out.dim(0).set_extent(16);
        out.dim(1).set_extent(2).set_stride(16);
        out.dim(2).set_extent(n).set_stride(32);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    static Tuple tuple(const std::vector<fourfold::Complex> &values) {
        std::vector<Expr> flat;
        for (const fourfold::Complex &c : values) {
            flat.push_back(c.re);
            flat.push_back(c.im);
        }
        return Tuple(flat);
    }

    fourfold::LaneColumnsStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(LaneColumns, lane_columns)
