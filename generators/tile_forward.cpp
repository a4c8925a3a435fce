// Forward transforms of overlapping tiles, 16 channels at a time. Algorithm only; speed lives in schedules/*/tile_forward.cpp.
//
//     out[kx,ky,tile,part,cb,l] = part of sum_{y,x < t} in[cb,y,tile,x,l] exp(-2 pi i (ky*y + kx*x)/t),  0 <= kx <= t/2
//
// Channels are the innermost dimension of in and out, so that transforms work on vectors of channels, without a shuffle: in
// straight-line code, or with `by` in two loops. Filters are tiles too, output channels their lanes.
#include "generators/tile_forward.h"

#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "generators/split_fft.h"
#include "schedules/cpu/tile_forward.h"

using namespace Halide;

namespace {

class TileForward : public Generator<TileForward> {
public:
    GeneratorParam<int> t{"t", 16};  ///< tile size, even
    /// Transforms in two loops, the second of so many points, which divide t (generators/split_fft.h); 0: straight-line.
    GeneratorParam<int> by{"by", 0};

    /// (channel % 16, column in the tile, tile, row in the tile, channel / 16).
    Input<Buffer<float, 5>> in{"in"};
    /// (channel % 16, channel / 16, part, tile, ky, kx).
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        if (by == 0) {
            generate_straight();
        } else {
            generate_split();
        }
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(1).set_extent(t);
        out.dim(0).set_extent(16);
        out.dim(2).set_extent(2);
        out.dim(4).set_extent(t);
        out.dim(5).set_extent(t / 2 + 1);
        if (by == 0) {
            fourfold::cpu::schedule(stages, get_target());
        } else {
            fourfold::cpu::schedule(split, get_target());
        }
    }

private:
    void generate_straight() {
        namespace fft = fourfold::small_fft;
        Var l("l"), cb("cb"), part("part"), tile("tile"), kx("kx"), ky("ky"), s("s"), y("y");
        const int n = t;

        std::vector<Expr> samples;
        for (int x = 0; x < n; x++) {
            samples.push_back(in(l, x, tile, y, cb));
        }
        std::vector<Expr> half;
        for (const fourfold::Complex &c : fft::real_forward(samples)) {
            half.push_back(fft::defined_or_zero(c.re));
            half.push_back(fft::defined_or_zero(c.im));
        }
        Func row("row"), rows("rows"), column("column");
        row(l, y, tile, cb) = Tuple(half);
        rows(l, s, y, tile, cb) = mux(s, Tuple(row(l, y, tile, cb)).as_vector());

        std::vector<fourfold::Complex> z;
        for (int i = 0; i < n; i++) {
            z.push_back({rows(l, 2 * kx, i, tile, cb), rows(l, 2 * kx + 1, i, tile, cb)});
        }
        std::vector<Expr> spectrum;
        for (const fourfold::Complex &c : fft::transform(z, -1)) {
            spectrum.push_back(fft::defined_or_zero(c.re));
            spectrum.push_back(fft::defined_or_zero(c.im));
        }
        column(l, kx, tile, cb) = Tuple(spectrum);
        out(l, cb, part, tile, ky, kx) = mux(2 * ky + part, Tuple(column(l, kx, tile, cb)).as_vector());

        stages = {out, column, rows, row, l, cb, part, tile, kx, ky, s, y, n};
    }

    void generate_split() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        using fourfold::steps_tuple;
        const int n = t;
        const fourfold::SplitTransform f(n, by);
        // Up to 24 real points are transformed in registers, or nearly.
        const bool split_rows = n > 24;
        Var l("l"), cb("cb"), part("part"), tile("tile"), kx("kx"), ky("ky"), s("s"), q("q"), i("i"), k("k");
        Func row("row"), rows("rows"), row_first("row_first"), row_between("row_between"), row_second("row_second");
        RVar rows_s, rows_k;

        // Rows lie in the order in which columns read them.
        const Expr y = f.place(q / f.b, q % f.b);
        if (split_rows) {
            std::vector<Expr> samples;
            for (int j = 0; j < f.b; j++) {
                samples.push_back(in(l, f.place(i, j), tile, y, cb));
            }
            row_first(l, i, q, tile, cb) = steps_tuple(0, {fft::real_forward(samples)});
            row_between(l, s, i, q, tile, cb) = mux(s, Tuple(row_first(l, i, q, tile, cb)).as_vector());
            // Step k has the frequencies (c, k), of which those beyond n/2 stand for their conjugates.
            std::vector<std::vector<Complex>> steps;
            std::vector<Expr> to, is_used;
            for (int step = 0; step < f.half(); step++) {
                std::vector<Complex> x;
                for (int c = 0; c < f.a; c++) {
                    const Expr im = row_between(l, 2 * step + 1, c, q, tile, cb);
                    x.push_back({row_between(l, 2 * step, c, q, tile, cb), f.is_real(step) ? Expr() : im});
                }
                std::vector<bool> used;
                x = f.join_real(x, step, used);
                for (int c = 0; c < f.a; c++) {
                    const int frequency = f.frequency(c, step);
                    const bool mirrored = frequency > n / 2;
                    x[c] = mirrored ? fft::conjugate(x[c]) : x[c];
                    to.push_back(mirrored ? n - frequency : frequency);
                    is_used.push_back(cast<bool>(Expr(used[c] ? 1 : 0)));
                }
                steps.push_back(x);
            }
            row_second(l, k, q, tile, cb) = steps_tuple(k, steps);
            RDom r(0, 2 * f.a, 0, f.half(), "r");
            const Expr at = r.x / 2 + f.a * r.y;
            r.where(mux(at, is_used));
            rows(l, s, q, tile, cb) = undef<float>();
            rows(l, unsafe_promise_clamped(2 * mux(at, to) + r.x % 2, 0, n + 1), q, tile, cb) = mux(r.x, Tuple(row_second(l, r.y, q, tile, cb)).as_vector());
            rows_s = r.x;
            rows_k = r.y;
        } else {
            std::vector<Expr> samples;
            for (int x = 0; x < n; x++) {
                samples.push_back(in(l, x, tile, y, cb));
            }
            row(l, q, tile, cb) = steps_tuple(0, {fft::real_forward(samples)});
            rows(l, s, q, tile, cb) = mux(s, Tuple(row(l, q, tile, cb)).as_vector());
        }

        std::vector<Complex> points;
        for (int j = 0; j < f.b; j++) {
            points.push_back({rows(l, 2 * kx, i * f.b + j, tile, cb), rows(l, 2 * kx + 1, i * f.b + j, tile, cb)});
        }
        Func first("column_first"), between("column_between"), second("column_second");
        first(l, i, kx, tile, cb) = steps_tuple(0, {fft::transform(points, -1)});
        between(l, s, i, kx, tile, cb) = mux(s, Tuple(first(l, i, kx, tile, cb)).as_vector());
        std::vector<std::vector<Complex>> steps;
        std::vector<Expr> to;
        for (int step = 0; step < f.b; step++) {
            std::vector<Complex> x;
            for (int c = 0; c < f.a; c++) {
                x.push_back({between(l, 2 * step, c, kx, tile, cb), between(l, 2 * step + 1, c, kx, tile, cb)});
                to.push_back(f.frequency(c, step));
            }
            steps.push_back(f.join(x, step));
        }
        second(l, k, kx, tile, cb) = steps_tuple(k, steps);
        RDom r(0, 2 * f.a, 0, f.b, "r");
        out(l, cb, part, tile, ky, kx) = undef<float>();
        out(l, cb, r.x % 2, tile, unsafe_promise_clamped(mux(r.x / 2 + f.a * r.y, to), 0, n - 1), kx) = mux(r.x, Tuple(second(l, r.y, kx, tile, cb)).as_vector());

        split = {out, first, between, second, rows, row, row_first, row_between, row_second, l, cb, part, tile, kx, ky, s, q, i, k, r.x, r.y, rows_s, rows_k, n, f.a, f.b, split_rows};
    }

    fourfold::TileForwardStages stages;
    fourfold::TileForwardSplitStages split;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileForward, tile_forward)
