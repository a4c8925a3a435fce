#include "stages.h"

#include <string>

namespace fourfold {
namespace {

Floats<3> planes3(const float *data, int64_t width, int64_t height, int64_t planes, int64_t row_stride, int64_t plane_stride) {
    return Floats<3>(data, {{width, 1}, {height, row_stride}, {planes, plane_stride}});
}

}  // namespace

PadStage PadStage::find(const Conv2dProblem &problem) {
    PadStage stage;
    const char *mode = "mode=constant";
    switch (problem.padding_mode) {
    case PaddingMode::kZeros:
        break;
    case PaddingMode::kConstant:
        stage.value = problem.padding_value;
        break;
    case PaddingMode::kReflect:
        mode = "mode=reflect";
        break;
    case PaddingMode::kSymmetric:
        mode = "mode=symmetric";
        break;
    case PaddingMode::kReplicate:
        mode = "mode=replicate";
        break;
    case PaddingMode::kCircular:
        mode = "mode=circular";
        break;
    }
    stage.variant = find_variant("pad", mode);
    return stage;
}

bool PadStage::run(const PlanesIn &in, const PlanesOut &out, int64_t step_x, int64_t step_y, int64_t origin_x, int64_t origin_y, KernelContext &context) const {
    const auto call_on = [&](int64_t first, int64_t count) {
        const Floats<3> from = planes3(in.data + first * in.plane_stride, in.width, in.height, count, in.row_stride, in.plane_stride);
        const Floats<3> to = planes3(out.data + first * out.plane_stride, out.width, out.height, count, out.row_stride, out.plane_stride);
        if (count > 1 && (!from.fits() || !to.fits())) {
            return -1;
        }
        return call(*variant, context, from, static_cast<int32_t>(step_x), static_cast<int32_t>(step_y), static_cast<int32_t>(origin_x), static_cast<int32_t>(origin_y), value, to) ? 1 : 0;
    };
    const int whole = call_on(0, in.planes);
    if (whole >= 0) {
        return whole == 1;
    }
    for (int64_t p = 0; p < in.planes; p++) {
        if (call_on(p, 1) != 1) {
            return false;
        }
    }
    return true;
}

CropStage CropStage::find() {
    return {find_variant("crop")};
}

bool CropStage::run(const PlanesIn &in, const PlanesOut &out, const float *bias, const PlanesIn &residual, const KernelPostOp &post, KernelContext &context) const {
    const bool add = residual.data != nullptr;
    const auto call_on = [&](int64_t first, int64_t count) {
        const Floats<3> from = planes3(in.data + first * in.plane_stride, out.width, out.height, count, in.row_stride, in.plane_stride);
        const Floats<3> to = planes3(out.data + first * out.plane_stride, out.width, out.height, count, out.row_stride, out.plane_stride);
        const Floats<3> plus = add ? planes3(residual.data + first * residual.plane_stride, out.width, out.height, count, residual.row_stride, residual.plane_stride) : planes3(out.data + first * out.plane_stride, out.width, out.height, count, out.row_stride, out.plane_stride);
        if (count > 1 && (!from.fits() || !to.fits() || !plus.fits())) {
            return -1;
        }
        const Floats<1> biases(bias + first, {{count, 1}});
        return call(*variant, context, from, biases, plus, static_cast<int32_t>(add), 1.0f, post.kind, post.lo, post.hi, to) ? 1 : 0;
    };
    const int whole = call_on(0, out.planes);
    if (whole >= 0) {
        return whole == 1;
    }
    for (int64_t p = 0; p < out.planes; p++) {
        if (call_on(p, 1) != 1) {
            return false;
        }
    }
    return true;
}

}  // namespace fourfold
