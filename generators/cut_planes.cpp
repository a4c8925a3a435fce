// Planes for transforms, cut from images where they lie: the whole image, or tiles that overlap, or the phases of a stride. Algorithm
// only; speed lives in schedules/cuda/map.h.
//
//     out[v,c,y,x] = in[n,c, (ty*advance_y + y)*step_y + origin_y, (tx*advance_x + x)*step_x + origin_x]     y < used_y, x < used_x
//                    0                                                                                       elsewhere
//
// Tiles v are numbered through, tx fastest, then ty, then images n. Places outside the image are `value`.
#include "generators/post_op.h"
#include "schedules/cuda/map.h"

using namespace Halide;

namespace {

class CutPlanes : public Generator<CutPlanes> {
public:
    /// (column, row, channel, image), any strides.
    Input<Buffer<float, 4>> in{"in"};
    Input<int32_t> tiles_x{"tiles_x"}, tiles_y{"tiles_y"};  ///< of an image
    Input<int32_t> advance_x{"advance_x"}, advance_y{"advance_y"};
    Input<int32_t> step_x{"step_x"}, step_y{"step_y"}, origin_x{"origin_x"}, origin_y{"origin_y"};
    Input<int32_t> used_x{"used_x"}, used_y{"used_y"};
    Input<float> value{"value"};
    /// (column, row, channel, tile).
    Output<Buffer<float, 4>> out{"out"};

    void generate() {
        Var x("x"), y("y"), c("c"), v("v");
        const Expr width = in.dim(0).extent(), height = in.dim(1).extent();
        const Expr column = (v % tiles_x * advance_x + x) * step_x + origin_x, row = (v / tiles_x % tiles_y * advance_y + y) * step_y + origin_y;
        const Expr n = unsafe_promise_clamped(v / (tiles_x * tiles_y), 0, in.dim(3).extent() - 1);
        const Expr inside = column >= 0 && column < width && row >= 0 && row < height;
        const Expr at = in(clamp(column, 0, width - 1), clamp(row, 0, height - 1), c, n);
        out(x, y, c, v) = select(x >= used_x || y >= used_y, 0.0f, inside, at, value);
    }

    void schedule() {
        fourfold::require_origin(in);
        fourfold::require_origin(out);
        in.dim(0).set_stride(Expr());
        fourfold::cuda::schedule_map(out);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(CutPlanes, cut_planes)
