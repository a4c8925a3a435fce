// What several generators share: the post-op, loads under a mask, and buffers that start at zero.
#pragma once

#include "Halide.h"

namespace fourfold {

/// post: 0 none, 1 clamp to [lo, hi] (ReLU is clamp(0, inf)). Comparisons are written so that NaN passes through.
inline Halide::Expr post_op(Halide::Expr v, Halide::Expr post, Halide::Expr lo, Halide::Expr hi) {
    const Halide::Expr clamped = Halide::select(v < lo, lo, v > hi, hi, v);
    return Halide::select(post == 0, v, clamped);
}

/// The value, a load, where the condition holds; undefined elsewhere, but nothing is read there: vectors load under a mask.
inline Halide::Expr load_if(const Halide::Expr &condition, const Halide::Expr &value) {
    return Halide::Internal::Call::make(value.type(), Halide::Internal::Call::if_then_else, {condition, value}, Halide::Internal::Call::PureIntrinsic);
}

/// All buffers of the runtime start at index 0; saying so simplifies every address.
template<typename Port>
void require_origin(Port &port) {
    for (int d = 0; d < port.dimensions(); d++) {
        port.dim(d).set_min(0);
    }
}

}  // namespace fourfold
