// Inverse transforms of product tiles, 16 output channels at a time, cut to their valid part. Algorithm only; speed lives in
// schedules/*/tile_inverse.cpp.
//
//     out[kb,y,tile,x,l] = sum_{ky,kx < t} in[kx,ky,tile,kb,l] exp(+2 pi i (ky*y + kx*x)/t),   y, x < step
//
// unscaled, with in complex and known for kx <= t/2 only. Of the two columns kx = 0 and t/2, which are Hermitian in ky, only
// ky <= t/2 is read: the product need not compute the rest.
#include "generators/tile_inverse.h"

#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "generators/split_fft.h"
#include "schedules/cpu/tile_inverse.h"

using namespace Halide;

namespace {

class TileInverse : public Generator<TileInverse> {
public:
    GeneratorParam<int> t{"t", 16};  ///< tile size, even
    /// Transforms in two loops, the first of so many points, which divide t (generators/split_fft.h); 0: straight-line.
    GeneratorParam<int> by{"by", 0};

    /// (channel % 16, channel / 16, part, tile, ky, kx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel % 16, column, tile, row, channel / 16); columns and rows up to the step.
    Output<Buffer<float, 5>> out{"out"};

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
        in.dim(2).set_extent(2);
        in.dim(4).set_extent(t);
        in.dim(5).set_extent(t / 2 + 1);
        out.dim(0).set_extent(16);
        if (by == 0) {
            fourfold::cpu::schedule(stages, get_target());
        } else {
            fourfold::cpu::schedule(split, get_target());
        }
    }

private:
    void generate_straight() {
        namespace fft = fourfold::small_fft;
        Var l("l"), x("x"), tile("tile"), y("y"), kb("kb"), s("s"), kx("kx");
        const int n = t;

        const Expr hermitian = kx == 0 || kx == n / 2;
        std::vector<fourfold::Complex> z;
        for (int ky = 0; ky < n; ky++) {
            if (ky <= n / 2) {
                z.push_back({in(l, kb, 0, tile, ky, kx), in(l, kb, 1, tile, ky, kx)});
                continue;
            }
            const Expr from = select(hermitian, n - ky, ky);
            const Expr im = in(l, kb, 1, tile, clamp(from, 0, n - 1), kx);
            z.push_back({in(l, kb, 0, tile, clamp(from, 0, n - 1), kx), im * select(hermitian, -1.0f, 1.0f)});
        }
        std::vector<Expr> values;
        for (const fourfold::Complex &c : fft::transform(z, +1)) {
            values.push_back(fft::defined_or_zero(c.re));
            values.push_back(fft::defined_or_zero(c.im));
        }
        Func column("column"), columns("columns"), row("row");
        column(l, kx, tile, kb) = Tuple(values);
        columns(l, s, kx, tile, kb) = mux(s, Tuple(column(l, kx, tile, kb)).as_vector());

        std::vector<fourfold::Complex> half;
        for (int k = 0; k <= n / 2; k++) {
            // The outer two columns are real after the inverse in y.
            const Expr re = columns(l, 2 * y, k, tile, kb);
            half.push_back({re, k == 0 || k == n / 2 ? Expr() : Expr(columns(l, 2 * y + 1, k, tile, kb))});
        }
        row(l, y, tile, kb) = Tuple(fft::real_inverse(half, n));
        out(l, x, tile, y, kb) = mux(x, Tuple(row(l, y, tile, kb)).as_vector());

        stages = {out, row, columns, column, l, x, tile, y, kb, s, kx, n};
    }

    void generate_split() {
        namespace fft = fourfold::small_fft;
        using fourfold::Complex;
        using fourfold::steps_tuple;
        const int n = t;
        const fourfold::SplitTransform f(n, by);
        const bool split_rows = n > 16;
        Var l("l"), x("x"), tile("tile"), y("y"), kb("kb"), s("s"), kx("kx"), i("i"), k("k");

        const Expr hermitian = kx == 0 || kx == n / 2;
        const auto point = [&](int ky) {
            if (ky <= n / 2) {
                return Complex{in(l, kb, 0, tile, ky, kx), in(l, kb, 1, tile, ky, kx)};
            }
            const Expr from = clamp(select(hermitian, n - ky, ky), 0, n - 1);
            return Complex{in(l, kb, 0, tile, from, kx), in(l, kb, 1, tile, from, kx) * select(hermitian, -1.0f, 1.0f)};
        };
        std::vector<std::vector<Complex>> steps;
        for (int step = 0; step < f.b; step++) {
            std::vector<Complex> z;
            for (int c = 0; c < f.a; c++) {
                z.push_back(point(f.frequency(c, step)));
            }
            steps.push_back(f.part(z, step));
        }
        Func first("column_first"), between("column_between"), second("column_second"), columns("columns");
        first(l, k, kx, tile, kb) = steps_tuple(k, steps);
        between(l, s, k, kx, tile, kb) = mux(s, Tuple(first(l, k, kx, tile, kb)).as_vector());
        std::vector<Complex> parts;
        for (int step = 0; step < f.b; step++) {
            parts.push_back({between(l, 2 * i, step, kx, tile, kb), between(l, 2 * i + 1, step, kx, tile, kb)});
        }
        second(l, i, kx, tile, kb) = steps_tuple(0, {fft::transform(parts, +1)});
        columns(l, s, i, kx, tile, kb) = mux(s, Tuple(second(l, i, kx, tile, kb)).as_vector());

        const auto wave = [&](int at) {
            const Expr i_at = f.i_of(y), s_at = 2 * f.j_of(y);
            const int from = at > n / 2 ? n - at : at;
            // The outer two columns are real after the inverse in y.
            const Complex c = {columns(l, s_at, i_at, from, tile, kb), from == 0 || from == n / 2 ? Expr() : Expr(columns(l, s_at + 1, i_at, from, tile, kb))};
            return at > n / 2 ? fft::conjugate(c) : c;
        };
        Func row("row"), row_first("row_first"), row_between("row_between"), row_second("row_second");
        RVar r_j, r_i;
        if (split_rows) {
            steps.clear();
            for (int step = 0; step < f.half(); step++) {
                std::vector<Complex> z;
                for (int c = 0; c < f.a; c++) {
                    z.push_back(wave(f.frequency(c, step)));
                }
                steps.push_back(f.part_real(z, step));
            }
            row_first(l, k, y, tile, kb) = steps_tuple(k, steps);
            row_between(l, s, k, y, tile, kb) = mux(s, Tuple(row_first(l, k, y, tile, kb)).as_vector());
            parts.clear();
            for (int step = 0; step < f.half(); step++) {
                parts.push_back({row_between(l, 2 * i, step, y, tile, kb), f.is_real(step) ? Expr() : Expr(row_between(l, 2 * i + 1, step, y, tile, kb))});
            }
            row_second(l, i, y, tile, kb) = Tuple(fft::real_inverse(parts, f.b));
            RDom r(0, f.b, 0, f.a, "r");
            const Expr to = f.place(r.y, r.x), width = out.dim(1).extent();
            r.where(to < width);
            out(l, x, tile, y, kb) = undef<float>();
            out(l, unsafe_promise_clamped(to, 0, width - 1), tile, y, kb) = mux(r.x, Tuple(row_second(l, r.y, y, tile, kb)).as_vector());
            r_j = r.x;
            r_i = r.y;
        } else {
            std::vector<Complex> half;
            for (int at = 0; at <= n / 2; at++) {
                half.push_back(wave(at));
            }
            row(l, y, tile, kb) = Tuple(fft::real_inverse(half, n));
            out(l, x, tile, y, kb) = mux(x, Tuple(row(l, y, tile, kb)).as_vector());
        }

        split = {out, row, row_first, row_between, row_second, columns, first, between, second, l, x, tile, y, kb, s, kx, i, k, r_j, r_i, n, f.a, f.b, split_rows};
    }

    fourfold::TileInverseStages stages;
    fourfold::TileInverseSplitStages split;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileInverse, tile_inverse)
