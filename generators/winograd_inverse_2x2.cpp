// Winograd's transforms of product tiles to (m + 1) x (m + 1) outputs where filters have 2x2 taps: the phases of 3x3 filters with
// stride 2. 16 output channels at a time. Algorithm only; speed lives in schedules/*/winograd_inverse_2x2.cpp.
//
//     out[row,y,tile,x] = (A^T p A)[y,x],  p[fy,fx] = in[fx,fy,tile,row]
//
// F(m + 1, 2) has the t = m + 2 points of F(m, 3), so that winograd_forward and winograd_filters, whose third taps are zero, serve both.
// m is odd: all points are finite. The ports are those of winograd_inverse.
#include "generators/winograd_interpolate.h"
#include "schedules/cpu/winograd_inverse_2x2.h"

using namespace Halide;

namespace {

class WinogradInverse2x2 : public Generator<WinogradInverse2x2> {
public:
    GeneratorParam<int> m{"m", 3};  ///< of the tile's F(m, 3), odd: it has m + 1 outputs in each axis

    /// (channel, row of tiles, 0, tile, fy, fx).
    Input<Buffer<float, 6>> in{"in"};
    /// (channel, column in the tile, tile, row in the tile, row of tiles); at most m + 1 rows.
    Output<Buffer<float, 5>> out{"out"};

    void generate() {
        namespace winograd = fourfold::winograd;
        stages = winograd::interpolate_tiles(winograd::output_matrix(m, m + 1), in, out);
    }

    void schedule() {
        fourfold::cpu::schedule_inverse_2x2(stages, get_target());
    }

private:
    fourfold::WinogradInverseStages stages;
};

}  // namespace

HALIDE_REGISTER_GENERATOR(WinogradInverse2x2, winograd_inverse_2x2)
