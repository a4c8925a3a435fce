// Winograd's transforms of tiles of m x m gradients of outputs, 16 channels at a time: the adjoint of winograd_inverse. Algorithm
// only; speed lives in schedules/*/winograd_gradient.cpp.
//
//     out[fx,fy,tile,row] = (A g A^T)[fy,fx],  g[y,x] = in[row,y,tile,x]
//
// The ports are those of winograd_forward but for the size of a tile.
#include "generators/winograd_evaluate.h"
#include "schedules/cpu/winograd_gradient.h"

using namespace Halide;

namespace {

class WinogradGradient : public Generator<WinogradGradient> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, column in the tile, tile, row in the tile, row of tiles).
    Input<Buffer<float, 5>> in{"in"};
    /// (channel, row of tiles, 0, tile, fy, fx).
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        stages = winograd::evaluate_tiles(winograd::transposed(winograd::output_matrix(m)), in, out);
    }

    void schedule() {
        fourfold::cpu::schedule_gradient(stages, get_target());
    }

private:
    fourfold::WinogradForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradGradient, winograd_gradient)
