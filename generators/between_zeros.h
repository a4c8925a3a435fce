// A plane with zeros around it, which the depthwise stages read instead of looking at its edges.
#pragma once

#include <vector>

#include "generators/post_op.h"

namespace fourfold {

/// image(x, y, c) = in(x + origin_x, y + origin_y, c) for y in [0, rows), zero where that is beyond in. No load looks outside. Returns the rows
/// of the updates of image: above in, within, below.
template<typename Port>
std::vector<Halide::RVar> between_zeros(Halide::Func image, Port &in, const Halide::Expr &origin_x, const Halide::Expr &origin_y, const Halide::Expr &rows, const Halide::Var &x, const Halide::Var &y, const Halide::Var &c) {
    using namespace Halide;
    const Expr width = in.dim(0).extent(), height = in.dim(1).extent();
    const Expr column = x + origin_x;
    const Expr inside = column >= 0 && column < width;
    const Expr begin = clamp(-origin_y, 0, rows), end = clamp(height - origin_y, begin, rows);
    RDom above(0, begin, "above"), within(begin, end - begin, "within"), below(end, rows - end, "below");
    const Expr at = in(unsafe_promise_clamped(column, 0, width - 1), unsafe_promise_clamped(within.x + origin_y, 0, height - 1), c);
    image(x, y, c) = undef<float>();
    image(x, above.x, c) = 0.0f;
    image(x, within.x, c) = select(inside, load_if(inside, at), 0.0f);
    image(x, below.x, c) = 0.0f;
    return {above.x, within.x, below.x};
}

}  // namespace fourfold
