// Filter spectra in the order in which tile_product reads them, conjugated, since correlation multiplies by the conjugate.
// Algorithm only; speed lives in schedules/*/pack_tile_filters.cpp.
//
//     packed[f, k/K, c, i, k%K] = scale * w_i,   w_0 = re, w_1 = -im                            zero for k beyond the last
//                                                w_0 = re, w_1 = -im - re, w_2 = re - im        for Gauss's product
//
// with re + i im = spectra[f, k, c]. scale carries the 1/t^2 of the inverse transform.
#include "generators/pack_tile_filters.h"

#include "generators/post_op.h"
#include "schedules/cpu/pack_tile_filters.h"

using namespace Halide;

namespace {

class PackTileFilters : public Generator<PackTileFilters> {
public:
    /// 1: of at least 8 channels.
    GeneratorParam<int> wide{"wide", 0};

    /// (channel, part, output channel, frequency).
    Input<Buffer<float, 4>> spectra{"spectra"};
    Input<float> scale{"scale"};
    /// (k % K, i, channel, k / K, frequency); K, a multiple of 16, is its first extent, the second tells which form.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var ki("ki"), part("part"), c("c"), ko("ko"), f("f");
        const Expr k = ko * out.dim(0).extent() + ki;
        const Expr last = spectra.dim(2).extent() - 1;
        const Expr re = spectra(c, 0, clamp(k, 0, last), f), im = spectra(c, 1, clamp(k, 0, last), f);
        const Expr gauss = out.dim(1).extent() == 3;
        const Expr value = select(part == 0, re, part == 2, re - im, gauss, -im - re, -im);
        Func values("values");
        values(c, ki, part, ko, f) = select(k <= last, value * scale, 0.0f);
        out(ki, part, c, ko, f) = values(c, ki, part, ko, f);
        stages = {out, values, ki, part, c};
    }

    void schedule() {
        fourfold::require_origin(spectra);
        fourfold::require_origin(out);
        spectra.dim(1).set_extent(2);
        fourfold::cpu::schedule(stages, wide != 0);
    }

private:
    fourfold::PackTileFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PackTileFilters, pack_tile_filters)
