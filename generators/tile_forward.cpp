// Forward transforms of overlapping tiles, 16 channels at a time. Algorithm only; speed lives in schedules/*/tile_forward.cpp.
//
//     out[kx,ky,tile,part,cb,l] = part of sum_{y,x < t} in[cb,y,tile,x,l] exp(-2 pi i (ky*y + kx*x)/t),  0 <= kx <= t/2
//
// Channels are the innermost dimension of in and out, so that a transform of one tile is straight-line code on vectors of
// channels, without a shuffle. Filters are tiles too, one per output channel.
#include "generators/tile_forward.h"

#include "generators/post_op.h"
#include "generators/small_fft.h"
#include "schedules/cpu/tile_forward.h"

using namespace Halide;

namespace {

class TileForward : public Generator<TileForward> {
public:
    GeneratorParam<int> t{"t", 16};  ///< tile size, even

    /// (channel % 16, column in the tile, tile, row in the tile, channel / 16).
    Input<Buffer<float, 5>> in{"in"};
    /// (channel % 16, channel / 16, part, tile, ky, kx).
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
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

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_extent(16);
        in.dim(1).set_extent(t);
        out.dim(0).set_extent(16);
        out.dim(2).set_extent(2);
        out.dim(4).set_extent(t);
        out.dim(5).set_extent(t / 2 + 1);
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::TileForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(TileForward, tile_forward)
