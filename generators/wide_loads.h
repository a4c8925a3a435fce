// What 16-byte loads of four floats ask of a buffer.
#pragma once

#include "Halide.h"

namespace fourfold {

/// Every index that is a multiple of `count`, 2 or 4, along dimension `inner`, of stride 1, is one of count * 4 bytes: the first element is, and
/// all other strides are multiples.
template<typename Port>
void require_wide_loads(Port &port, int inner = 0, int count = 4) {
    port.set_host_alignment(4 * count);
    for (int d = 0; d < port.dimensions(); d++) {
        if (d != inner) {
            port.dim(d).set_stride(port.dim(d).stride() / count * count);
        }
    }
}

}  // namespace fourfold
