#include "image_strips.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "fourfold/layer.h"
#include "geometry.h"

namespace fourfold::cli {

Status convolve_in_strips(const Conv2dProblem &problem, ConstView filters, const float *bias, const PlanOptions &options, const float *x, float *y, ConstView residual) {
    const int64_t out_rows = problem.out_height(), width = problem.in_width, out_width = problem.out_width();
    Conv2dProblem strip = problem;
    strip.batch = 1;
    strip.pad_top = strip.pad_bottom = 0;
    std::optional<Conv2dLayer> layer;
    AlignedBuffer copy;
    int64_t rows = out_rows;
    for (Status status; !layer; rows = (rows + 1) / 2) {
        strip.in_height = (rows - 1) * problem.stride_h + problem.dilation_h * (problem.filter_height - 1) + 1;
        const size_t copied = static_cast<size_t>(strip.input_elements()) * sizeof(float);
        PlanOptions left = options;
        left.workspace_limit -= std::min(copied, left.workspace_limit);
        // Modes are bound to the image's height only where they pad it.
        Result<Conv2dLayer> made = Conv2dLayer::create(strip, filters, bias, left);
        status = made.status();
        if (made && copied <= options.workspace_limit) {
            copy = AlignedBuffer(copied);
            if (copy.data() == nullptr) {
                return {StatusCode::kResourceExhausted, "memory ran out for a strip of the image"};
            }
            layer = std::move(*made);
            break;
        }
        if (!made && status.code() != StatusCode::kResourceExhausted) {
            return status;
        }
        if (rows == 1) {
            const std::string limit = fmt::format("the image does not fit a workspace of {} bytes even a row at a time: a copy of what one output row reads takes {}", options.workspace_limit, copied);
            return {StatusCode::kResourceExhausted, made || left.workspace_limit == 0 ? limit : limit + ", and of what is left: " + status.message()};
        }
    }
    auto *const from = static_cast<float *>(copy.data());
    const float filler = problem.padding_mode == PaddingMode::kConstant ? problem.padding_value : 0.0f;
    const int64_t strips = (out_rows + rows - 1) / rows;
    for (int64_t done = 0; done < problem.batch * strips; ++done) {
        // The last strip ends with the image, and repeats some rows.
        const int64_t image = done / strips, first = std::min(done % strips * rows, out_rows - rows);
        for (int64_t i = 0; i < problem.in_channels * strip.in_height; ++i) {
            const int64_t plane = image * problem.in_channels + i / strip.in_height;
            const int64_t source = padding_source(problem.padding_mode, first * problem.stride_h - problem.pad_top + i % strip.in_height, problem.in_height);
            if (source < 0) {
                std::fill_n(from + i * width, width, filler);
            } else {
                std::memcpy(from + i * width, x + (plane * problem.in_height + source) * width, static_cast<size_t>(width) * sizeof(float));
            }
        }
        const int64_t plane = out_rows * out_width;
        const auto rows_of = [&](auto *data) { return TensorView(data + image * problem.out_channels * plane + first * out_width, problem.out_channels * plane, plane, out_width, 1); };
        if (Status status = layer->run(from, rows_of(y), residual.data != nullptr ? rows_of(residual.data) : ConstView()); !status) {
            return status;
        }
    }
    return {};
}

}  // namespace fourfold::cli
