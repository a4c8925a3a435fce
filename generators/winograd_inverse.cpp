// Winograd's transforms of product tiles to m x m outputs, 16 output channels at a time. Algorithm only; speed lives in
// schedules/*/winograd_inverse.cpp.
//
//     out[row,y,tile,x] = (A^T p A)[y,x],  p[fy,fx] = in[fx,fy,tile,row]
//
// The ports are those of tile_inverse with one part instead of two.
#include "generators/winograd_interpolate.h"
#include "schedules/cpu/winograd_inverse.h"

using namespace Halide;

namespace {

class WinogradInverse : public Generator<WinogradInverse> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, row of tiles, 0, tile, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel, column in the tile, tile, row in the tile, row of tiles); at most m rows.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        stages = winograd::interpolate_tiles(winograd::output_matrix(m), in, out);
    }

    void schedule() {
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradInverse, winograd_inverse)
