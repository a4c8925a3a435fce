// A Halide library of somebody else's: a parallel loop, a temporary on the heap, and a condition that can fail.
#include "Halide.h"

using namespace Halide;

namespace {

class Second : public Generator<Second> {
public:
    Input<Buffer<float, 2>> x{"x"};
    Output<Buffer<float, 2>> y{"y"};

    void generate() {
        Var i("i"), j("j");
        Func sums("sums");
        RDom k(0, x.dim(0).extent());
        sums(i, j) = 0.0f;
        sums(i, j) += x(k, j) * cast<float>(i + 1);
        y(i, j) = sums(i, j) + x(i, j);
        sums.compute_root().parallel(j);
        y.parallel(j);
    }
};

}  // namespace

HALIDE_REGISTER_GENERATOR(Second, second)
