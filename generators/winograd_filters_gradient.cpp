// Winograd's transforms of sums of products to gradients of 3x3 filters, 16 output channels at a time: the adjoint of
// winograd_filters. Algorithm only; speed lives in schedules/*/winograd_filters_gradient.cpp.
//
//     out[row,y,c,x] = (G^T p G)[y,x],  p[fy,fx] = in[fx,fy,c,row]
//
// The ports are those of winograd_inverse, input channels c in place of tiles.
#include "generators/winograd_interpolate.h"
#include "schedules/cpu/winograd_filters_gradient.h"

using namespace Halide;

namespace {

class WinogradFiltersGradient : public Generator<WinogradFiltersGradient> {
public:
    GeneratorParam<int> m{"m", 4};  ///< gradients of outputs of a tile in each axis

    /// (output channel, 0, 0, input channel, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (output channel, column, input channel, row, 0).
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        stages = winograd::interpolate_tiles(winograd::transposed(winograd::filter_matrix(m)), in, out);
    }

    void schedule() {
        fourfold::cpu::schedule_filters_gradient(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradFiltersGradient, winograd_filters_gradient)
