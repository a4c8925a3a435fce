// Compiled once for each WRONG, and must not compile, for the reason that CMakeLists.txt names; with WRONG=0 it must.
#include "fourfold/layer.h"

template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 3, 3>;
#if WRONG == 1
template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 0, 3>;
#elif WRONG == 2
template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 3, 3, 0>;
#elif WRONG == 3
template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 3, 3, 1, 0, 1, 3>;
#elif WRONG == 4
template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 9, 3>;
#elif WRONG == 6
template class fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 3, 3, 1, -1>;
#elif WRONG == 7
template class fourfold::SizedConv2dLayer<1, 1 << 21, 1 << 20, 1 << 20, 8, 3, 3>;  // 2^61 elements
#elif WRONG == 8
template class fourfold::SizedConv2dLayer<(int64_t{1} << 48) + 1, 1, 8, 8, 8, 3, 3>;
#endif

using First = fourfold::SizedConv2dLayer<1, 4, 8, 8, 8, 3, 3, 2, 1>;
#if WRONG == 5
using Second = fourfold::SizedConv2dLayer<1, 8, 8, 8, 8, 3, 3>;  // First writes 4x4 pixels
#else
using Second = fourfold::SizedConv2dLayer<1, 8, 4, 4, 8, 3, 3>;
#endif

fourfold::Status chain(First &first, Second &second, const float *x, float *y, float *z) {
    const First::Output between(y);
    if (fourfold::Status status = first.run(First::Input(x), between); !status) {
        return status;
    }
    return second.run(between, Second::Output(z));
}
