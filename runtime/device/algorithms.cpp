// The algorithms of GPUs: adding one adds a line here.
#include "algorithm.h"
#include "device/device_plan.h"

namespace fourfold {

const std::vector<AlgorithmEntry> &device_algorithms() {
    static const std::vector<const char *> kTransforms = {"pad", "cut_planes", "join_planes", "fft_stage", "fft_real", "gather_filters", "pack_planes"};
    static const std::vector<AlgorithmEntry> list = {
        {Algorithm::kDirect, "direct", "conv_implicit", plan_device_direct, true, plan_device_filter_gradient_direct, nullptr, plan_device_direct, {"pad", "pack_filters", "fold_padding", "sum_parts"}},
        {Algorithm::kIm2col, "im2col", "conv_implicit", plan_device_im2col, true, plan_device_filter_gradient_im2col, plan_device_columns, plan_device_im2col, {"pad", "pack_filters", "unfold_image", "fold_image", "fold_padding", "sum_parts", "crop"}},
        {Algorithm::kFft, "fft", "spectral_product", plan_device_fft, true, nullptr, nullptr, nullptr, kTransforms},
        {Algorithm::kFftTiled, "fft_tiled", "spectral_product", plan_device_fft_tiled, true, nullptr, nullptr, nullptr, kTransforms},
        {Algorithm::kWinograd, "winograd", "winograd_product", plan_device_winograd, true, nullptr, nullptr, nullptr, {"pad", "winograd_join", "winograd_pack"}},
    };
    return list;
}

}  // namespace fourfold
