// A ResNet layer: planned, its filters packed once, and run.
#include <cstdio>
#include <vector>

#include "fourfold/fourfold.h"

int main() {
    std::vector<float> x(8 * 64 * 56 * 56, 1.0f), w(64 * 64 * 3 * 3, 0.5f), y(8 * 64 * 56 * 56);

    auto problem = fourfold::Conv2dProblem::parse("b8 ic64 i56 oc64 f3 p1 relu");
    auto layer = fourfold::Conv2dLayer::create(*problem, w.data());
    fourfold::Status status = layer ? layer->run(x.data(), y.data()) : layer.status();  // allocates nothing

    // An inner pixel sums 64 channels x 9 taps of 1 * 0.5.
    std::printf("%sy = %g %s\n", layer ? layer->describe().c_str() : "", static_cast<double>(y[57]), status.message().c_str());
    return y[57] > 287.99f && y[57] < 288.01f ? 0 : 1;
}
