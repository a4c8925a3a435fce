// Filter spectra of many channels in the order in which spectral_product reads them: pack_spectra in one launch. Algorithm only;
// speed lives in schedules/cuda/map.h.
//
//     packed[f/l, k/m, c, k%m, part, f%l] = scale * spectra[k, c, f, part]      zero for k beyond the last output channel
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class PackPlanes : public Generator<PackPlanes> {
public:
    /// Spectra (part, frequency, channel, k), readable up to the last frequency rounded up to l.
    Input<Buffer<float, 4>> spectra{"spectra"};
    Input<float> scale{"scale"};
    /// (f % l, part, k % m, channel, k / m, f / l); l and m are the first and third extents.
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        Var fi("fi"), part("part"), ki("ki"), c("c"), ko("ko"), fo("fo");
        const Expr f = fo * out.dim(0).extent() + fi, k = ko * out.dim(2).extent() + ki, last = spectra.dim(3).extent() - 1;
        out(fi, part, ki, c, ko, fo) = select(k <= last, scale * spectra(part, f, c, clamp(k, 0, last)), 0.0f);
    }

    void schedule() {
        fourfold::require_origin(spectra);
        fourfold::require_origin(out);
        out.dim(1).set_extent(2);
        fourfold::cuda::schedule_map(out);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(PackPlanes, pack_planes)
