// The parts of a filter gradient (filter_gradient) added up, into the caller's filters. Algorithm only; speed lives in
// schedules/cuda/map.h.
//
//     out[k,c,r,s] = sum_z parts[z, k, c*taps + t],    t = r*f1 + s, or counted from the end where `flip` is not 0
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class SumParts : public Generator<SumParts> {
public:
    /// (channel*taps + tap, k, part).
    Input<Buffer<float, 3>> parts{"parts"};
    Input<int32_t> flip{"flip"};
    /// (s, r, channel, k).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var s("s"), r("r"), c("c"), k("k");
        const Expr width = out.dim(0).extent(), taps = width * out.dim(1).extent();
        const Expr t = r * width + s;
        const Expr place = unsafe_promise_clamped(c * taps + select(flip != 0, taps - 1 - t, t), 0, parts.dim(0).extent() - 1);
        RDom z(0, parts.dim(2).extent(), "z");
        sum(s, r, c, k) = 0.0f;
        sum(s, r, c, k) += parts(place, k, z);
        out(s, r, c, k) = sum(s, r, c, k);
    }

    void schedule() {
        fourfold::require_origin(parts);
        fourfold::require_origin(out);
        out.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map_of_sums(out, {sum});
    }

private:
    Func sum{"sum"};
};

}  // namespace

HALIDE_REGISTER_GENERATOR(SumParts, sum_parts)
