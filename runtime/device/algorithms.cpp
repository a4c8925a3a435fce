// The algorithms of GPUs: adding one adds a line here.
#include "algorithm.h"
#include "device/device_plan.h"

namespace fourfold {

const std::vector<AlgorithmEntry> &device_algorithms() {
    static const std::vector<AlgorithmEntry> list = {
        {Algorithm::kDirect, "direct", "conv_implicit", plan_device_direct, true, plan_device_filter_gradient_direct, nullptr, plan_device_direct},
        {Algorithm::kIm2col, "im2col", "conv_implicit", plan_device_im2col, true, plan_device_filter_gradient_im2col, plan_device_columns, plan_device_im2col},
        {Algorithm::kFft, "fft", "spectral_product", plan_device_fft, true},
        {Algorithm::kFftTiled, "fft_tiled", "spectral_product", plan_device_fft_tiled, true},
        {Algorithm::kWinograd, "winograd", "winograd_product", plan_device_winograd, true},
    };
    return list;
}

}  // namespace fourfold
