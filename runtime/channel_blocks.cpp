#include "channel_blocks.h"

#include <algorithm>
#include <numeric>

#include "arena.h"
#include "kernel.h"
#include "registry.h"

namespace fourfold {
namespace {

int64_t lattice(int64_t stride, int64_t dilation, int64_t taps) {
    return taps == 1 ? 1 : dilation / std::gcd(stride, dilation);
}

/// The first k in [0, count] with k*step + origin >= 0.
int64_t inside_from(int64_t origin, int64_t step, int64_t count) {
    return std::clamp<int64_t>(origin >= 0 ? 0 : ceil_div(-origin, step), 0, count);
}

}  // namespace

ChannelBlocks::ChannelBlocks(const Conv2dProblem &p)
    : problem_(p), lattice_h_(lattice(p.stride_h, p.dilation_h, p.filter_height)), lattice_w_(lattice(p.stride_w, p.dilation_w, p.filter_width)), channels_(p.in_channels / p.groups), rows_(tap_positions(p.filter_height, p.dilation_h, 0), p.stride_h * lattice_h_), columns_(tap_positions(p.filter_width, p.dilation_w, 0), p.stride_w * lattice_w_), pad_(PadStage::find(p)), transpose_(*find_variant("block_channels", "layout=nchw")), block_(*find_variant("block_channels", layout_parameter(p.layout))), unblock_(*find_variant("unblock_channels", layout_parameter(p.layout))), post_(kernel_post_op(p)) {
}

bool ChannelBlocks::load(const StridedIn &input, int64_t image, int64_t group, int64_t first, int64_t count, int64_t top, int64_t height, int64_t width, float *blocked, float *scratch, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int64_t phase_columns = static_cast<int64_t>(columns_.phases.size());
    const int64_t step_y = p.stride_h * lattice_h_;
    const int64_t plane = height * width + kLanes;
    for (int64_t v = first; v < first + count;) {
        // A run of real channels of one phase.
        const int64_t phase = v / channels_, c = v % channels_;
        const int64_t run = std::min(first + count - v, channels_ - c);
        const int64_t row = phase / phase_columns, column = phase % phase_columns;
        const int64_t origin_x = columns_.phases[column] - p.pad_left, origin_y = top * p.stride_h + rows_.phases[row] - p.pad_top;
        const int64_t used_x = p.out_width() + lattice_w_ * columns_.reach[column];
        const int64_t used_y = ceil_div(p.out_height() - top, lattice_h_) + rows_.reach[row];
        const int64_t channel = group * channels_ + c;
        if (run == count && load_rows(input, image, channel, count, origin_x, origin_y, used_x, used_y, height, width, blocked, context)) {
            return true;
        }
        if (context.text[0] != '\0') {
            return false;
        }
        const PlanesIn in = {input.data + image * input.s[0] + channel * input.s[1], p.in_width, p.in_height, run, input.s[2], input.s[1], input.s[3]};
        const PlanesOut out = {scratch + (v - first) * plane, width, height, run, width, plane};
        if (!pad_.run_within(in, out, used_x, used_y, p.stride_w, step_y, origin_x, origin_y, context)) {
            return false;
        }
        v += run;
    }
    const Floats<3> planes(scratch, {{width, 1}, {height, width}, {count, plane}});
    const Floats<3> channels(blocked, {{kLanes, 1}, {width, kLanes}, {height, width * kLanes}});
    return call(transpose_, context, planes, channels);
}

/// Transposes or copies the rows that lie in the image from where they are, and fills in what surrounds them. False, without a
/// message, where that cannot be done.
bool ChannelBlocks::load_rows(const StridedIn &input, int64_t image, int64_t channel, int64_t count, int64_t origin_x, int64_t origin_y, int64_t used_x, int64_t used_y, int64_t height, int64_t width, float *blocked, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int64_t step_y = p.stride_h * lattice_h_;
    used_x = std::clamp<int64_t>(used_x, 0, width);
    used_y = std::clamp<int64_t>(used_y, 0, height);
    // Inside the image: columns [x0, x1), rows [y0, y1).
    const int64_t x0 = inside_from(origin_x, p.stride_w, used_x), x1 = std::max(x0, inside_from(origin_x - p.in_width, p.stride_w, used_x));
    const int64_t y0 = inside_from(origin_y, step_y, used_y), y1 = std::max(y0, inside_from(origin_y - p.in_height, step_y, used_y));
    // The transposition takes 8 neighbouring columns at a time, the last ones again; the copy anything.
    if (!pad_.constant || (p.layout == Layout::kNchw && (p.stride_w != 1 || x1 - x0 < 8))) {
        return false;
    }
    const float *from = input.data + image * input.s[0] + channel * input.s[1] + (origin_y + y0 * step_y) * input.s[2] + (origin_x + x0 * p.stride_w) * input.s[3];
    const Floats<3> planes(y1 > y0 ? from : input.data, {{x1 - x0, input.s[3] * p.stride_w}, {y1 - y0, input.s[2] * step_y}, {count, input.s[1]}});
    if (!planes.fits()) {
        return false;
    }
    const auto fill = [](float *begin, float *end, float value) { std::fill(begin, end, value); };
    for (int64_t y = 0; y < height; y++) {
        float *row = blocked + y * width * kLanes;
        if (y >= used_y) {
            fill(row, row + width * kLanes, 0.0f);
        } else if (y < y0 || y >= y1) {
            fill(row, row + used_x * kLanes, pad_.value);
            fill(row + used_x * kLanes, row + width * kLanes, 0.0f);
        } else {
            fill(row, row + x0 * kLanes, pad_.value);
            fill(row + x1 * kLanes, row + used_x * kLanes, pad_.value);
            fill(row + used_x * kLanes, row + width * kLanes, 0.0f);
        }
    }
    const Floats<3> inside(blocked + (y0 * width + x0) * kLanes, {{kLanes, 1}, {x1 - x0, kLanes}, {y1 - y0, width * kLanes}});
    return y1 == y0 || x1 == x0 || call(block_, context, planes, inside);
}

bool ChannelBlocks::store(const float *blocked, int64_t pitch, const float *bias, const ForwardTensors &t, int64_t image, int64_t channel, int64_t count, int64_t top, int64_t height, KernelContext &context) const {
    const int64_t *s = t.output.s, *r = t.residual.s;
    const bool add = t.residual.data != nullptr;
    const int64_t width = problem_.out_width();
    // Output rows and planes too far apart for 32-bit indices are finished in smaller pieces.
    constexpr int64_t reach = int64_t{1} << 28;
    const int64_t out_row = s[2] * lattice_h_, residual_row = add ? r[2] * lattice_h_ : out_row;
    const int64_t band = std::clamp<int64_t>(reach / std::max(out_row, residual_row), 1, height);
    const int64_t at_once = count == 1 ? 1 : std::clamp<int64_t>(reach / std::max(s[1], add ? r[1] : 0), 1, count);
    for (int64_t i = 0; i < count; i += at_once) {
        for (int64_t y = 0; y < height; y += band) {
            const int64_t planes = std::min(at_once, count - i), rows = std::min(band, height - y);
            const Floats<3> source(blocked + y * pitch * kLanes + i, {{kLanes, 1}, {pitch, kLanes}, {rows, pitch * kLanes}});
            const int64_t row = top + y * lattice_h_;
            float *target = t.output.data + image * s[0] + (channel + i) * s[1] + row * s[2];
            const Floats<3> out(target, {{width, s[3]}, {rows, out_row}, {planes, s[1]}});
            const float *plus = add ? t.residual.data + image * r[0] + (channel + i) * r[1] + row * r[2] : target;
            const Floats<3> residual(plus, {{width, add ? r[3] : s[3]}, {rows, residual_row}, {planes, add ? r[1] : s[1]}});
            const Floats<1> biases(bias + i, {{planes, 1}});
            if (!call(unblock_, context, source, biases, residual, static_cast<int32_t>(add), post_.kind, post_.lo, post_.hi, out)) {
                return false;
            }
        }
    }
    return true;
}

}  // namespace fourfold
