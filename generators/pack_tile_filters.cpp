// Filter spectra in the order in which tile_product reads them, conjugated, since correlation multiplies by the conjugate.
// Algorithm only; speed lives in schedules/*/pack_tile_filters.cpp.
//
//     packed[f, k/K, c, part, k%K] = scale * (part == 0 ? 1 : -1) * spectra[f, k, part, c]      zero for k beyond the last
//
// scale carries the 1/t^2 of the inverse transform.
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/pack_tile_filters.h"

using namespace Halide;

namespace {

class PackTileFilters : public Generator<PackTileFilters> {
public:
    /// (channel, part, output channel, frequency).
    Input<Buffer<float, 4>> spectra{"spectra"};
    Input<float> scale{"scale"};
    /// (k % K, part, channel, k / K, frequency); K is its first extent.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        Var ki("ki"), part("part"), c("c"), ko("ko"), f("f");
        const Expr k = ko * out.dim(0).extent() + ki;
        const Expr last = spectra.dim(2).extent() - 1;
        const Expr value = spectra(c, part, clamp(k, 0, last), f);
        out(ki, part, c, ko, f) = select(k <= last, value * select(part == 0, scale, -scale), 0.0f);
        stages = {out, ki};
    }

    void schedule() {
        fourfold::require_origin(spectra);
        fourfold::require_origin(out);
        spectra.dim(1).set_extent(2);
        out.dim(1).set_extent(2);
        fourfold::cpu::schedule_pack_tile_filters(stages, get_target());
    }

private:
    fourfold::MemoryStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PackTileFilters, pack_tile_filters)
