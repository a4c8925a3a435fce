#include "reference/conv2d.h"

#include <algorithm>
#include <cmath>

namespace fourfold::reference {

int64_t count_positions(int64_t in, int64_t before, int64_t after, int64_t filter, int64_t dilation, int64_t stride) {
    const int64_t reach = dilation * (filter - 1);
    int64_t count = 0;
    for (int64_t start = 0; start + reach < before + in + after; start += stride) {
        count++;
    }
    return count;
}

int64_t padded_source(int64_t index, int64_t size, PaddingMode mode) {
    const auto inside = [size](int64_t i) { return i >= 0 && i < size; };
    switch (mode) {
    case PaddingMode::kZeros:
    case PaddingMode::kConstant:
        return inside(index) ? index : -1;
    case PaddingMode::kReplicate:
        return index < 0 ? 0 : std::min(index, size - 1);
    case PaddingMode::kReflect:
        if (!inside(index)) {
            index = index < 0 ? -index : 2 * (size - 1) - index;
        }
        return index;
    case PaddingMode::kSymmetric:
        if (!inside(index)) {
            index = index < 0 ? -index - 1 : 2 * size - 1 - index;
        }
        return index;
    case PaddingMode::kCircular:
        while (index < 0) {
            index += size;
        }
        return index % size;
    }
    return -1;
}

namespace {

/// One channel of one image with its padding around it.
void pad_plane(const Conv2dProblem &p, const View &input, int64_t n, int64_t c, std::vector<double> *plane) {
    const int64_t width = p.pad_left + p.in_width + p.pad_right;
    const int64_t height = p.pad_top + p.in_height + p.pad_bottom;
    const double outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0;
    for (int64_t h = 0; h < height; h++) {
        const int64_t row = padded_source(h - p.pad_top, p.in_height, p.padding_mode);
        for (int64_t w = 0; w < width; w++) {
            const int64_t column = padded_source(w - p.pad_left, p.in_width, p.padding_mode);
            (*plane)[h * width + w] = row < 0 || column < 0 ? outside : input(n, c, row, column);
        }
    }
}

double post(const Conv2dProblem &p, double value) {
    switch (p.post_op) {
    case PostOp::kNone:
        return value;
    case PostOp::kRelu:
        return std::max(value, 0.0);
    case PostOp::kClamp:
        return std::min(std::max(value, static_cast<double>(p.clamp_lo)), static_cast<double>(p.clamp_hi));
    }
    return value;
}

}  // namespace

Forward forward(const Conv2dProblem &p, const View &input, const View &filters, const float *bias, const View &residual) {
    Forward result;
    const int64_t o0 = count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h);
    const int64_t o1 = count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w);
    result.out_height = o0;
    result.out_width = o1;

    std::vector<double> y(p.batch * p.out_channels * o0 * o1, 0.0);
    std::vector<double> magnitude(y.size(), 0.0);
    const int64_t plane_width = p.pad_left + p.in_width + p.pad_right;
    std::vector<double> plane((p.pad_top + p.in_height + p.pad_bottom) * plane_width);
    const int64_t group_in = p.in_channels / p.groups;
    const int64_t group_out = p.out_channels / p.groups;
    const bool flip = p.filter_mode == FilterMode::kConvolution;

    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t c = 0; c < p.in_channels; c++) {
            pad_plane(p, input, n, c, &plane);
            const int64_t group = c / group_in;
            for (int64_t k = group * group_out; k < (group + 1) * group_out; k++) {
                double *out = &y[(n * p.out_channels + k) * o0 * o1];
                double *size = &magnitude[(n * p.out_channels + k) * o0 * o1];
                for (int64_t r = 0; r < p.filter_height; r++) {
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        const double w = filters(k, c % group_in, flip ? p.filter_height - 1 - r : r, flip ? p.filter_width - 1 - s : s);
                        for (int64_t i = 0; i < o0; i++) {
                            const double *row = &plane[(i * p.stride_h + r * p.dilation_h) * plane_width + s * p.dilation_w];
                            for (int64_t j = 0; j < o1; j++) {
                                const double term = row[j * p.stride_w] * w;
                                out[i * o1 + j] += term;
                                size[i * o1 + j] += std::fabs(term);
                            }
                        }
                    }
                }
            }
        }
    }

    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t k = 0; k < p.out_channels; k++) {
            for (int64_t i = 0; i < o0; i++) {
                for (int64_t j = 0; j < o1; j++) {
                    const int64_t at = ((n * p.out_channels + k) * o0 + i) * o1 + j;
                    const double b = bias != nullptr ? bias[k] : 0.0;
                    const double extra = p.residual ? residual(n, k, i, j) : 0.0;
                    result.scale = std::max(result.scale, magnitude[at] + std::fabs(b) + std::fabs(extra));
                    y[at] = post(p, y[at] + b + extra);
                }
            }
        }
    }
    result.y = std::move(y);
    return result;
}

namespace {

/// Calls term(n, k, i, j, c, r, s, row, column) for every product of the forward convolution; c is within the group, r and s are
/// the caller's filter indices, row or column is -1 where the padding's constant is read.
template<typename Term>
void for_each_term(const Conv2dProblem &p, int64_t o0, int64_t o1, Term term) {
    const bool flip = p.filter_mode == FilterMode::kConvolution;
    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t k = 0; k < p.out_channels; k++) {
            for (int64_t c = 0; c < p.in_channels / p.groups; c++) {
                for (int64_t r = 0; r < p.filter_height; r++) {
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        for (int64_t i = 0; i < o0; i++) {
                            const int64_t row = padded_source(i * p.stride_h + r * p.dilation_h - p.pad_top, p.in_height, p.padding_mode);
                            for (int64_t j = 0; j < o1; j++) {
                                const int64_t column = padded_source(j * p.stride_w + s * p.dilation_w - p.pad_left, p.in_width, p.padding_mode);
                                term(n, k, i, j, c, flip ? p.filter_height - 1 - r : r, flip ? p.filter_width - 1 - s : s, row, column);
                            }
                        }
                    }
                }
            }
        }
    }
}

}  // namespace

Forward backward_data(const Conv2dProblem &p, const View &grad_output, const View &filters, const float *bias, const View &residual) {
    const int64_t o0 = count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h);
    const int64_t o1 = count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w);
    Forward result;
    result.out_height = p.in_height;
    result.out_width = p.in_width;
    result.y.assign(p.batch * p.in_channels * p.in_height * p.in_width, 0.0);
    std::vector<double> magnitude(result.y.size(), 0.0);
    for_each_term(p, o0, o1, [&](int64_t n, int64_t k, int64_t i, int64_t j, int64_t c, int64_t r, int64_t s, int64_t row, int64_t column) {
        if (row < 0 || column < 0) {
            return;
        }
        const int64_t channel = k / (p.out_channels / p.groups) * (p.in_channels / p.groups) + c;
        const double value = static_cast<double>(grad_output(n, k, i, j)) * filters(k, c, r, s);
        const int64_t at = ((n * p.in_channels + channel) * p.in_height + row) * p.in_width + column;
        result.y[at] += value;
        magnitude[at] += std::fabs(value);
    });
    size_t at = 0;
    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t c = 0; c < p.in_channels; c++) {
            for (int64_t i = 0; i < p.in_height; i++) {
                for (int64_t j = 0; j < p.in_width; j++, at++) {
                    const double b = bias != nullptr ? bias[c] : 0.0;
                    const double extra = p.residual ? residual(n, c, i, j) : 0.0;
                    result.scale = std::max(result.scale, magnitude[at] + std::fabs(b) + std::fabs(extra));
                    result.y[at] = post(p, result.y[at] + b + extra);
                }
            }
        }
    }
    return result;
}

Forward backward_filters(const Conv2dProblem &p, const View &input, const View &grad_output) {
    const int64_t o0 = count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h);
    const int64_t o1 = count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w);
    const double outside = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0;
    const int64_t inputs = p.in_channels / p.groups, outputs = p.out_channels / p.groups;
    Forward result;
    result.out_height = p.filter_height;
    result.out_width = p.filter_width;
    result.y.assign(p.out_channels * inputs * p.filter_height * p.filter_width, 0.0);
    std::vector<double> magnitude(result.y.size(), 0.0);
    for_each_term(p, o0, o1, [&](int64_t n, int64_t k, int64_t i, int64_t j, int64_t c, int64_t r, int64_t s, int64_t row, int64_t column) {
        const double x = row < 0 || column < 0 ? outside : input(n, k / outputs * inputs + c, row, column);
        const double value = x * grad_output(n, k, i, j);
        const int64_t at = ((k * inputs + c) * p.filter_height + r) * p.filter_width + s;
        result.y[at] += value;
        magnitude[at] += std::fabs(value);
    });
    result.scale = *std::max_element(magnitude.begin(), magnitude.end());
    return result;
}

namespace {

/// Calls term(n, c, tap, pixel, row, column) for every element of the columns; row or column is -1 where the padding's constant
/// is read.
template<typename Term>
void for_each_column(const Conv2dProblem &p, Term term) {
    const int64_t o0 = count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h);
    const int64_t o1 = count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w);
    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t c = 0; c < p.in_channels; c++) {
            for (int64_t r = 0; r < p.filter_height; r++) {
                for (int64_t s = 0; s < p.filter_width; s++) {
                    for (int64_t i = 0; i < o0; i++) {
                        const int64_t row = padded_source(i * p.stride_h + r * p.dilation_h - p.pad_top, p.in_height, p.padding_mode);
                        for (int64_t j = 0; j < o1; j++) {
                            const int64_t column = padded_source(j * p.stride_w + s * p.dilation_w - p.pad_left, p.in_width, p.padding_mode);
                            term(n, c, r * p.filter_width + s, i * o1 + j, row, column);
                        }
                    }
                }
            }
        }
    }
}

}  // namespace

Forward unfold(const Conv2dProblem &p, const View &input) {
    Forward result;
    result.out_height = p.filter_height * p.filter_width;
    for_each_column(p, [&](int64_t n, int64_t c, int64_t, int64_t pixel, int64_t row, int64_t column) {
        const double value = row >= 0 && column >= 0 ? input(n, c, row, column) : p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0;
        result.y.push_back(value);
        result.scale = std::max(result.scale, std::fabs(value));
        result.out_width = std::max(result.out_width, pixel + 1);
    });
    return result;
}

Forward fold(const Conv2dProblem &p, const View &columns) {
    Forward result;
    result.out_height = p.in_height;
    result.out_width = p.in_width;
    result.y.assign(p.batch * p.in_channels * p.in_height * p.in_width, 0.0);
    std::vector<double> magnitude(result.y.size(), 0.0);
    for_each_column(p, [&](int64_t n, int64_t c, int64_t tap, int64_t pixel, int64_t row, int64_t column) {
        if (row >= 0 && column >= 0) {
            const int64_t at = ((n * p.in_channels + c) * p.in_height + row) * p.in_width + column;
            result.y[at] += columns(n, c, tap, pixel);
            magnitude[at] += std::fabs(columns(n, c, tap, pixel));
        }
    });
    result.scale = *std::max_element(magnitude.begin(), magnitude.end());
    return result;
}

Forward bias_gradient(const Conv2dProblem &p, const View &grad_output) {
    const int64_t o0 = count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h);
    const int64_t o1 = count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w);
    Forward result;
    for (int64_t k = 0; k < p.out_channels; k++) {
        double sum = 0.0, magnitude = 0.0;
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t i = 0; i < o0; i++) {
                for (int64_t j = 0; j < o1; j++) {
                    sum += grad_output(n, k, i, j);
                    magnitude += std::fabs(grad_output(n, k, i, j));
                }
            }
        }
        result.y.push_back(sum);
        result.scale = std::max(result.scale, magnitude);
    }
    return result;
}

}  // namespace fourfold::reference
