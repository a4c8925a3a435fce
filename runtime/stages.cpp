#include "stages.h"

#include <algorithm>
#include <string>

namespace fourfold {
namespace {

template<typename Planes>
Floats<3> planes3(const Planes &p, int64_t width, int64_t height, int64_t planes) {
    return Floats<3>(p.data, {{width, p.column_stride}, {height, p.row_stride}, {planes, p.plane_stride}});
}

}  // namespace

PadStage PadStage::find(const Conv2dProblem &problem) {
    PadStage stage;
    stage.constant = problem.padding_mode == PaddingMode::kZeros || problem.padding_mode == PaddingMode::kConstant;
    stage.zeros = problem.padding_mode == PaddingMode::kZeros;
    const char *mode = "constant";
    switch (problem.padding_mode) {
    case PaddingMode::kZeros:
        break;
    case PaddingMode::kConstant:
        stage.value = problem.padding_value;
        break;
    case PaddingMode::kReflect:
        mode = "reflect";
        break;
    case PaddingMode::kSymmetric:
        mode = "symmetric";
        break;
    case PaddingMode::kReplicate:
        mode = "replicate";
        break;
    case PaddingMode::kCircular:
        mode = "circular";
        break;
    }
    stage.variant = find_variant("pad", (std::string("mode=") + mode + " " + layout_parameter(problem.layout)).c_str());
    return stage;
}

PadStage PadStage::find_zeros(Conv2dProblem problem) {
    problem.padding_mode = PaddingMode::kZeros;
    return find(problem);
}

bool PadStage::run(const PlanesIn &in, const PlanesOut &out, int64_t step_x, int64_t step_y, int64_t origin_x, int64_t origin_y, KernelContext &context) const {
    const Floats<3> from = planes3(in, in.width, in.height, in.planes);
    const Floats<3> to = planes3(out, out.width, out.height, out.planes);
    if (from.fits() && to.fits()) {
        return call(*variant, context, from, static_cast<int32_t>(step_x), static_cast<int32_t>(step_y), static_cast<int32_t>(origin_x), static_cast<int32_t>(origin_y), value, to);
    }
    if (in.planes > 1) {
        for (int64_t p = 0; p < in.planes; p++) {
            PlanesIn one_in = in;
            PlanesOut one_out = out;
            one_in.planes = one_out.planes = 1;
            one_in.data += p * in.plane_stride;
            one_out.data += p * out.plane_stride;
            if (!run(one_in, one_out, step_x, step_y, origin_x, origin_y, context)) {
                return false;
            }
        }
        return true;
    }
    // The rows that are read at all, if the mode cannot tell that the others are missing.
    const int64_t first = origin_y, last = origin_y + (out.height - 1) * step_y;
    if (constant || (first >= 0 && last < in.height)) {
        const int64_t begin = std::clamp<int64_t>(first, 0, in.height - 1), end = std::clamp<int64_t>(last + 1, begin + 1, in.height);
        if (end - begin < in.height) {
            PlanesIn window = in;
            window.data += begin * in.row_stride;
            window.height = end - begin;
            return run(window, out, step_x, step_y, origin_x, origin_y - begin, context);
        }
    }
    if (out.height > 1) {
        const int64_t half = out.height / 2;
        PlanesOut top = out, bottom = out;
        top.height = half;
        bottom.data += half * out.row_stride;
        bottom.height -= half;
        return run(in, top, step_x, step_y, origin_x, origin_y, context) && run(in, bottom, step_x, step_y, origin_x, origin_y + half * step_y, context);
    }
    return out_of_reach(context);
}

bool PadStage::run_within(const PlanesIn &in, const PlanesOut &out, int64_t used_x, int64_t used_y, int64_t step_x, int64_t step_y, int64_t origin_x, int64_t origin_y, KernelContext &context) const {
    used_x = std::min(used_x, out.width);
    used_y = std::min(used_y, out.height);
    if (zeros || (used_x == out.width && used_y == out.height)) {
        return run(in, out, step_x, step_y, origin_x, origin_y, context);
    }
    for (int64_t p = 0; p < out.planes; p++) {
        for (int64_t y = 0; y < out.height; y++) {
            float *row = out.data + p * out.plane_stride + y * out.row_stride;
            std::fill(row + (y < used_y ? used_x : 0), row + out.width, 0.0f);
        }
    }
    PlanesOut used = out;
    used.width = used_x;
    used.height = used_y;
    return run(in, used, step_x, step_y, origin_x, origin_y, context);
}

CropStage CropStage::find(Layout layout) {
    return {find_variant("crop", layout_parameter(layout))};
}

bool CropStage::run(const PlanesIn &in, const PlanesOut &out, const float *bias, const PlanesIn &residual, const KernelPostOp &post, KernelContext &context) const {
    const bool add = residual.data != nullptr;
    const PlanesIn plus = add ? residual : PlanesIn{out.data, out.width, out.height, out.planes, out.row_stride, out.plane_stride, out.column_stride};
    const Floats<3> from = planes3(in, out.width, out.height, out.planes);
    const Floats<3> to = planes3(out, out.width, out.height, out.planes);
    const Floats<3> other = planes3(plus, out.width, out.height, out.planes);
    if (from.fits() && to.fits() && other.fits()) {
        const Floats<1> biases(bias, {{out.planes, 1}});
        return call(*variant, context, from, biases, other, static_cast<int32_t>(add), 1.0f, post.kind, post.lo, post.hi, to);
    }
    // Half the planes, or half the rows, at a time.
    PlanesIn in_a = in, in_b = in, plus_a = residual, plus_b = residual;
    PlanesOut out_a = out, out_b = out;
    const float *bias_b = bias;
    if (out.planes > 1) {
        const int64_t half = out.planes / 2;
        out_a.planes = half;
        out_b.planes -= half;
        in_b.data += half * in.plane_stride;
        out_b.data += half * out.plane_stride;
        plus_b.data += add ? half * residual.plane_stride : 0;
        bias_b += half;
    } else if (out.height > 1) {
        const int64_t half = out.height / 2;
        out_a.height = half;
        out_b.height -= half;
        in_b.data += half * in.row_stride;
        out_b.data += half * out.row_stride;
        plus_b.data += add ? half * residual.row_stride : 0;
    } else {
        return out_of_reach(context);
    }
    return run(in_a, out_a, bias, plus_a, post, context) && run(in_b, out_b, bias_b, plus_b, post, context);
}

}  // namespace fourfold
