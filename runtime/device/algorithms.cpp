// The algorithms of GPUs: adding one adds a line here.
#include "algorithm.h"
#include "device/device_plan.h"

namespace fourfold {

const std::vector<AlgorithmEntry> &device_algorithms() {
    static const std::vector<AlgorithmEntry> list = {
        {Algorithm::kIm2col, "im2col", "conv_implicit", plan_device_im2col, true},
    };
    return list;
}

}  // namespace fourfold
