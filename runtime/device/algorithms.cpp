// The algorithms of GPUs: adding one adds a line here.
#include "algorithm.h"
#include "device/device_plan.h"

namespace fourfold {

const std::vector<AlgorithmEntry> &device_algorithms() {
    static const std::vector<const char *> kTransforms = {"pad", "cut_planes", "join_planes", "fft_stage", "fft_real", "gather_filters", "pack_planes", "fold_padding", "crop", "filter_gradient", "sum_parts"};
    const auto data_gradient_fft = [](const PlanRequest &request) { return plan_device_adjoint(Algorithm::kFft, plan_device_fft, request); };
    const auto data_gradient_fft_tiled = [](const PlanRequest &request) { return plan_device_adjoint(Algorithm::kFftTiled, plan_device_fft_tiled, request); };
    const auto data_gradient_winograd = [](const PlanRequest &request) { return plan_device_adjoint(Algorithm::kWinograd, plan_device_winograd, request); };
    static const std::vector<AlgorithmEntry> list = {
        {Algorithm::kDirect, "direct", "conv_implicit", plan_device_direct, true, plan_device_filter_gradient_direct, nullptr, plan_device_direct, {"pad", "pack_filters", "fold_padding", "sum_parts"}},
        {Algorithm::kIm2col, "im2col", "conv_implicit", plan_device_im2col, true, plan_device_filter_gradient_im2col, plan_device_columns, plan_device_im2col, {"pad", "pack_filters", "unfold_image", "fold_image", "fold_padding", "sum_parts", "crop"}},
        {Algorithm::kFft, "fft", "spectral_product", plan_device_fft, true, plan_device_filter_gradient_fft, nullptr, data_gradient_fft, kTransforms},
        {Algorithm::kFftTiled, "fft_tiled", "spectral_product", plan_device_fft_tiled, true, plan_device_filter_gradient_fft_tiled, nullptr, data_gradient_fft_tiled, kTransforms},
        {Algorithm::kWinograd, "winograd", "winograd_product", plan_device_winograd, true, plan_device_filter_gradient_winograd, nullptr, data_gradient_winograd, {"pad", "winograd_join", "winograd_pack", "winograd_gradient_pack", "winograd_gradient_join", "cut_planes", "fold_padding", "crop", "filter_gradient", "sum_parts"}},
    };
    return list;
}

}  // namespace fourfold
