// Winograd's transforms of overlapping tiles of t x t, t = m + 2, 16 channels at a time. Algorithm only; speed lives in
// schedules/*/winograd_forward.cpp.
//
//     out[fx,fy,tile,row] = (B^T d B)[fy,fx],  d[y,x] = in[row,y,tile,x]
//
// Channels are the innermost dimension of in and out, so that the transform of a tile is straight-line code on vectors of
// channels. The ports are those of tile_forward with one part instead of two.
#include "generators/winograd_evaluate.h"
#include "schedules/cpu/winograd_forward.h"

using namespace Halide;

namespace {

class WinogradForward : public Generator<WinogradForward> {
public:
    GeneratorParam<int> m{"m", 4};  ///< outputs of a tile in each axis

    /// (channel, column in the tile, tile, row in the tile, row of tiles).
    Input<Buffer<float, 5>> in{"in"};
    /// (channel, row of tiles, 0, tile, fy, fx).
    Output<Buffer<float, 6>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        stages = winograd::evaluate_tiles(winograd::input_matrix(m), in, out);
    }

    void schedule() {
        fourfold::cpu::schedule(stages, get_target());
    }

private:
    fourfold::WinogradForwardStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradForward, winograd_forward)
