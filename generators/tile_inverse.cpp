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
#include "schedules/cpu/tile_inverse.h"

using namespace Halide;

namespace {

class TileInverse : public Generator<TileInverse> {
public:
    GeneratorParam<int> t{"t", 16};  ///< tile size, even

    /// (channel % 16, channel / 16, part, tile, ky, kx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel % 16, column, tile, row, channel / 16); columns and rows up to the step.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
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

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(2).set_extent(2);
        in.dim(4).set_extent(t);
        in.dim(5).set_extent(t / 2 + 1);
        out.dim(0).set_extent(16);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::TileInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileInverse, tile_inverse)
