// Spectra of 16 lanes times the conjugates of others, added up: what bwd-filters sums over images. Algorithm only; speed lives in
// schedules/*/lane_correlation.cpp.
//
//     out[kx,k,l] = total[kx,k,l] + x[kx,k,l] * conj(g[kx,k,l])        (complex)
#include "generators/memory_stage.h"
#include "generators/post_op.h"
#include "schedules/cpu/lane_correlation.h"

using namespace Halide;

namespace {

class LaneCorrelation : public Generator<LaneCorrelation> {
public:
    /// (lane, part, frequency, kx).
    Input<Buffer<float, 4>> x{"x"}, g{"g"};
    /// As out; may be out itself.
    Input<Buffer<float, 4>> total{"total"};
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var l("l"), part("part"), k("k"), kx("kx");
        const Expr xr = x(l, 0, k, kx), xi = x(l, 1, k, kx), gr = g(l, 0, k, kx), gi = g(l, 1, k, kx);
        out(l, part, k, kx) = total(l, part, k, kx) + select(part == 0, xr * gr + xi * gi, xi * gr - xr * gi);
        stages = {out, l};
        part_ = part;
    }

    void schedule() {
        for (auto *port : {&x, &g, &total}) {
            fourfold::require_origin(*port);
            port->dim(0).set_extent(16);
            port->dim(1).set_extent(2).set_stride(16);
            port->dim(2).set_stride(32);
        }
        fourfold::require_origin(out);
        out.dim(0).set_extent(16);
        out.dim(1).set_extent(2).set_stride(16);
        out.dim(2).set_stride(32);
        fourfold::cpu::schedule_lane_correlation(stages, part_, get_target());
    }

private:
    fourfold::MemoryStages stages;
    Var part_;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(LaneCorrelation, lane_correlation)
