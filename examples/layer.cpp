// One network layer, twice: its sizes as values, and as template arguments that the compiler checks.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "fourfold/fourfold.h"

int main() {
    // A 3x3 layer of ResNet with ReLU, for two images.
    using Layer = fourfold::SizedConv2dLayer<2, 64, 56, 56, 64, 3, 3, 1, 1>;
    std::vector<float> x(Layer::Input::kElements), w(Layer::Filters::kElements), bias(64, 0.1f), y(Layer::Output::kElements), z(y.size());
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = std::sin(static_cast<float>(i));
    }
    for (size_t i = 0; i < w.size(); i++) {
        w[i] = 0.05f * std::cos(static_cast<float>(i));
    }

    fourfold::Conv2dProblem problem = Layer::kProblem;
    problem.post_op = fourfold::PostOp::kRelu;
    fourfold::Result<fourfold::Conv2dLayer> layer = fourfold::Conv2dLayer::create(problem, w.data(), bias.data());
    fourfold::Result<Layer> sized = Layer::create(Layer::Filters(w.data()), bias.data(), fourfold::PostOp::kRelu);
    if (!layer || !sized) {
        return std::puts((layer ? sized.status() : layer.status()).message().c_str()), 1;
    }
    std::printf("%s", layer->describe().c_str());
    fourfold::Status status = layer->run(x.data(), y.data());
    if (status) {
        status = sized->run(Layer::Input(x.data()), Layer::Output(z.data()));
    }
    if (!status) {
        return std::puts(status.message().c_str()), 1;
    }
    std::printf("y[0] = %g, largest y %g\n", static_cast<double>(y[0]), static_cast<double>(*std::max_element(y.begin(), y.end())));
    return y == z ? 0 : 1;
}
