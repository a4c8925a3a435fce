// Filter spectra in the order in which spectral_product reads them. Algorithm only; speed lives in
// schedules/*/pack_spectra.cpp.
//
//     packed[f/l, k, part, f%l] = scale * spectra[k, f, part]      zero for k beyond the last output channel
//
// One input channel and one block of output channels at a time; scale carries the 1/(n0*n1) of the inverse transform.
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/pack_spectra.h"

using namespace Halide;

namespace {

class PackSpectra : public Generator<PackSpectra> {
public:
    /// Spectra (part, frequency, k), readable up to the last frequency rounded up to l.
    Input<Buffer<float, 3>> spectra{"spectra"};
    Input<float> scale{"scale"};
    /// (f % l, part, k, f / l); l is its first extent.
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var fi("fi"), part("part"), k("k"), fo("fo");
        const Expr f = fo * out.dim(0).extent() + fi;
        const Expr last = spectra.dim(2).extent() - 1;
        out(fi, part, k, fo) = select(k <= last, scale * spectra(part, f, clamp(k, 0, last)), 0.0f);
        stages = {out, fi};
    }

    void schedule() {
        fourfold::require_origin(spectra);
        fourfold::require_origin(out);
        out.dim(1).set_extent(2);
        fourfold::cpu::schedule_pack_spectra(stages, get_target());
    }

private:
    fourfold::MemoryStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PackSpectra, pack_spectra)
