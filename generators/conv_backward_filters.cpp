// The gradient of the filters over one run of flattened pixels. Algorithm only; speed lives in
// schedules/*/conv_backward_filters.cpp.
//
//     out[g,k,u] = total[g,k,u] + sum_j grad[g,k,j] * x[g, c, j + offset[t]]       u = c*taps + t
//
// grad and x are as in conv_direct: flat, in the pitch of the padded input, so that every tap is one constant distance. grad
// is zero between its rows. Pixels are the lanes, summed at the end: no transposition, and any number of channels will do.
#include "generators/conv_backward_filters.h"

#include <algorithm>

#include "generators/post_op.h"
#include "schedules/cpu/conv_backward_filters.h"

using namespace Halide;

namespace {

class ConvBackwardFilters : public Generator<ConvBackwardFilters> {
public:
    GeneratorParam<int> r{"r", 8};  ///< output channels of a register tile
    GeneratorParam<int> v{"v", 3};  ///< taps and input channels of a register tile

    /// Gradient of the output (j, k, group); j a multiple of 16.
    Input<Buffer<float, 3>> grad{"grad"};
    /// Padded, decimated input, flat: (j, channel, group). Readable up to grad's last j plus offset_max.
    Input<Buffer<float, 3>> x{"x"};
    /// Distance in x of each tap from its output pixel, in [0, offset_max].
    Input<Buffer<int32_t, 1>> offset{"offset"};
    Input<int32_t> offset_max{"offset_max"};
    /// (channel*taps + tap, k, group); read only when accumulate is not 0, and may then be out itself.
    Input<Buffer<float, 3>> total{"total"};
    Input<int32_t> accumulate{"accumulate"};
    /// (channel*taps + tap, k, group).
    Output<Buffer<float, 3>> out{"out"};

    void generate() {
        Var u("u"), k("k"), g("g"), l("l");
        const int vector = std::min(16, get_target().natural_vector_size<float>());
        RDom j(0, grad.dim(0).extent() / vector, "j");
        RDom rl(0, vector, "rl");
        const Expr taps = offset.dim(0).extent();
        // The last register tile's surplus repeats what the last element needs.
        const Expr uu = min(u, out.dim(0).extent() - 1), kk = min(k, out.dim(1).extent() - 1);
        const Expr tap_offset = unsafe_promise_clamped(offset(unsafe_promise_clamped(uu % taps, 0, taps - 1)), 0, offset_max);

        Func lanes("lanes"), sum("sum");
        lanes(l, u, k, g) = 0.0f;
        lanes(l, u, k, g) += grad(j * vector + l, kk, g) * x(j * vector + l + tap_offset, uu / taps, g);
        sum(u, k, g) = 0.0f;
        sum(u, k, g) += lanes(rl, u, k, g);
        out(u, k, g) = sum(u, k, g) + select(accumulate != 0, total(u, k, g), 0.0f);

        stages = {out, sum, lanes, u, k, g, l, rl.x, j.x, vector};
    }

    void schedule() {
        fourfold::require_origin(grad);
        fourfold::require_origin(x);
        fourfold::require_origin(offset);
        fourfold::require_origin(total);
        fourfold::require_origin(out);
        fourfold::cpu::schedule(stages, {r, v}, accumulate, get_target());
    }

private:
    fourfold::ConvBackwardFiltersStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(ConvBackwardFilters, conv_backward_filters)
