// Real transforms of the rows of 16 planes at once, one to a lane. Algorithm only; speed lives in
// schedules/*/lane_rows_forward.cpp.
//
//     out[kx,y,part,l] = part of sum_{x < width} in[at[l] + y*pitch + x] exp(-2 pi i k(kx)*x/n)
//
// The half spectrum has n/2 + 1 frequencies, in the order of generators/lane_fft.h: first those that `odd` divides, then
// k mod odd = 1 .. odd/2, of which each stands for its conjugate too.
#include "generators/lane_fft.h"
#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "schedules/cpu/lane_fft.h"

using namespace Halide;

namespace {

class LaneRowsForward : public Generator<LaneRowsForward> {
public:
    GeneratorParam<int> n{"n", 24};  ///< points, even and not a power of two

    /// Rows of pixels, wherever they lie.
    Input<Buffer<float, 1>> in{"in"};
    /// Where each lane's first row begins.
    Input<Buffer<int32_t, 1>> at{"at"};
    /// Elements between rows, and pixels of a row, at least 8; further points are zero.
    Input<int32_t> pitch{"pitch"}, width{"width"};
    /// (lane, part, kx, row).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        const fourfold::LaneFactors f(n);
        Var l("l"), part("part"), kx("kx"), x("x"), y("y"), j("j"), s("s"), k("k");

        Func plane("plane"), turned("turned"), line("line");
        plane(x, l, y) = in(unsafe_promise_clamped(at(l) + y * pitch + x, 0, in.dim(0).extent() - 1));
        turned(l, x, y) = plane(x, l, y);
        // Blocks of 8 columns, the last of which moves back to stay within the row.
        RDom block(0, 8, 0, (width + 7) / 8, "block");
        RDom beyond(width, f.n - width, "beyond");
        const Expr column = unsafe_promise_clamped(min(block.y * 8, width - 8) + block.x, 0, f.n - 1);
        line(l, x, y) = undef<float>();
        line(l, column, y) = turned(l, column, y);
        line(l, beyond, y) = 0.0f;

        std::vector<Expr> samples;
        for (int i = 0; i < f.odd; i++) {
            samples.push_back(line(l, f.place(i, j), y));
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
        first(l, j, y) = Tuple(half);
        between(l, s, j, y) = mux(s, Tuple(first(l, j, y)).as_vector());

        std::vector<Expr> reals;
        std::vector<Complex> z;
        for (int i = 0; i < f.even; i++) {
            reals.push_back(between(l, 0, i, y));
            z.push_back({between(l, max(2 * k - 1, 0), i, y), between(l, 2 * k, i, y)});
        }
        Func real("real"), second("second");
        std::vector<Expr> real_values, values;
        for (const Complex &c : fft::real_forward(reals)) {
            real_values.push_back(c.re);
            real_values.push_back(fft::defined_or_zero(c.im));
        }
        for (const Complex &c : fft::transform(z, -1)) {
            values.push_back(c.re);
            values.push_back(c.im);
        }
        real(l, y) = Tuple(real_values);
        second(l, k, y) = Tuple(values);
        RDom r(0, 2 * f.even, 0, f.odd / 2 + 1, "r");
        r.where(r.y > 0 || r.x < f.even + 2);
        std::vector<Expr> choices;
        for (int i = 0; i < 2 * f.even; i++) {
            const Expr other = second(l, r.y, y)[i];
            choices.push_back(i < f.even + 2 ? select(r.y == 0, real(l, y)[i], other) : other);
        }
        const Expr to = unsafe_promise_clamped(select(r.y == 0, 0, f.even / 2 + 1 + (r.y - 1) * f.even) + r.x / 2, 0, f.n / 2);
        out(l, part, kx, y) = undef<float>();
        out(l, r.x % 2, to, y) = mux(r.x, choices);

        stages = {out, plane, turned, line, first, between, real, second, l, part, kx, x, y, j, s, k, r.x, r.y, block.x, block.y, beyond.x, f.odd, f.even};
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(at);
        fourfold::require_origin(out);
        at.dim(0).set_extent(16);
        out.dim(0).set_extent(16);
        out.dim(1).set_extent(2).set_stride(16);
        out.dim(2).set_extent(n / 2 + 1);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::LaneRowsForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(LaneRowsForward, lane_rows_forward)
