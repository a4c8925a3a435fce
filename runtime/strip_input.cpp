#include "strip_input.h"

#include <algorithm>
#include <cstring>

#include "parallel.h"

namespace fourfold {

StripInput::StripInput(const StripGeometry &geometry, int64_t strip_rows)
    : geometry_(geometry), strip_rows_(strip_rows), channel_stride_(geometry.phases() * geometry.plane_elements(strip_rows)), pad_(PadStage::find(geometry.problem)) {
    // Channels a multiple of 4 KiB apart would fight for the same few lines of L1.
    if (channel_stride_ % 1024 == 0) {
        channel_stride_ += 16;
    }
}

double StripInput::scratch_floats(int64_t channels, int64_t readable) const {
    return static_cast<double>(channels - 1) * static_cast<double>(channel_stride_) + static_cast<double>(std::max(readable, channel_stride_));
}

bool StripInput::prepare(const StridedIn &input, int64_t image, int64_t first, int64_t count, int64_t first_row, int64_t row_count, int64_t readable, float *scratch, FlatStrip &strip, KernelContext &context) const {
    const Conv2dProblem &p = geometry_.problem;
    const float *plane = input.data + image * input.s[0] + first * input.s[1];
    if (geometry_.in_place_shape && input.s[3] == 1 && input.s[2] == p.in_width) {
        const int64_t begin = first_row * p.in_width;
        const bool inside = begin + readable <= p.in_height * p.in_width;
        if (inside && (count - 1) * input.s[1] + readable < (int64_t{1} << 29)) {
            strip = {plane + begin, input.s[1]};
            return true;
        }
    }
    const PlanesIn in = {plane, p.in_width, p.in_height, count, input.s[2], input.s[1], input.s[3]};
    const int64_t rows = geometry_.plane_rows(row_count);
    int64_t phase = 0;
    for (int64_t a : geometry_.rows.phases) {
        for (int64_t b : geometry_.columns.phases) {
            const PlanesOut out = {scratch + phase * geometry_.plane_elements(strip_rows_), geometry_.pitch, rows, count, geometry_.pitch, channel_stride_};
            if (!pad_.run(in, out, p.stride_w, geometry_.step_rows(), b - p.pad_left, first_row * geometry_.step_rows() + a - p.pad_top, context)) {
                return false;
            }
            phase++;
        }
    }
    // Lanes past the last row compute garbage that nobody stores, but denormals left in the workspace would slow them.
    const int64_t end = (count - 1) * channel_stride_ + std::max(readable, channel_stride_);
    const int64_t written = (count - 1) * channel_stride_ + (geometry_.phases() - 1) * geometry_.plane_elements(strip_rows_) + rows * geometry_.pitch;
    if (end > written) {
        std::memset(scratch + written, 0, static_cast<size_t>(end - written) * sizeof(float));
    }
    strip = {scratch, channel_stride_};
    return true;
}

BiasLayout::BiasLayout(Arena &arena, const Conv2dProblem &problem, int64_t row_block, int64_t padded)
    : groups_(problem.groups), outputs_(problem.out_channels / problem.groups), row_block_(row_block), padded_(padded), none_(std::max(padded, problem.groups)), offset_(arena.reserve_floats(static_cast<double>(padded) * static_cast<double>(problem.groups) + static_cast<double>(std::max(padded, problem.groups)))) {
}

PaddedBias BiasLayout::fill(const float *bias, std::byte *workspace) const {
    float *data = floats_at(workspace, offset_);
    float *none = data + groups_ * padded_;
    std::fill(data, none, 0.0f);
    std::fill_n(none, none_, -0.0f);
    for (int64_t g = 0; bias != nullptr && g < groups_; g++) {
        for (int64_t k = 0; k < outputs_; k++) {
            std::fill_n(data + g * padded_ + k * row_block_, row_block_, bias[g * outputs_ + k]);
        }
    }
    return PaddedBias(data, padded_, none);
}

FilterPacker::FilterPacker(const StripGeometry &geometry, int m)
    : problem_(geometry.problem), m_(m), row_block_(geometry.row_block), taps_(geometry.taps()), variant_(find_variant("pack_filters")) {
    geometry.filter_taps(rows_, columns_);
}

double FilterPacker::packed_floats() const {
    const Conv2dProblem &p = problem_;
    return static_cast<double>(round_up(p.out_channels / p.groups * row_block_, m_)) * static_cast<double>(p.groups) * static_cast<double>(p.in_channels / p.groups) * static_cast<double>(taps_);
}

size_t FilterPacker::packed_bytes() const {
    Arena arena;
    arena.reserve_floats(packed_floats());
    return arena.bytes();
}

Status FilterPacker::pack(const StridedIn &filters, float *packed, const Execution &execution, int threads) const {
    const Conv2dProblem &p = problem_;
    const int64_t channels = p.in_channels / p.groups, outputs = p.out_channels / p.groups;
    const int64_t blocks = ceil_div(outputs * row_block_, m_);
    const int64_t block = m_ * taps_ * channels;
    // One call per block of m output channels, or, where a group has only one, per run of groups.
    const int64_t groups_at_once = blocks == 1 ? std::max<int64_t>(1, std::min(p.groups, (int64_t{1} << 22) / block)) : 1;
    const int64_t group_runs = ceil_div(p.groups, groups_at_once);
    return parallel_for(execution, threads, group_runs * blocks, [&](int64_t task, int, KernelContext &context) {
        const int64_t g = task / blocks * groups_at_once, io = task % blocks;
        const int64_t groups = std::min(groups_at_once, p.groups - g);
        const int64_t block_channels = m_ / row_block_;
        const int64_t first = g * outputs + io * block_channels;
        const int64_t count = std::min(block_channels, outputs - io * block_channels);
        const KernelBuffer<float, 5> w(filters.data + first * filters.s[0], {{p.filter_width, filters.s[3]}, {p.filter_height, filters.s[2]}, {channels, filters.s[1]}, {count, filters.s[0]}, {groups, filters.s[0] * outputs}});
        const KernelBuffer<float, 5> out(packed + (g * blocks + io) * block, {{m_, 1}, {taps_, m_}, {channels, m_ * taps_}, {1, block}, {groups, block}});
        return call(*variant_, context, w, Ints<2>(rows_.data(), {{taps_, 1}, {row_block_, taps_}}), Ints<1>(columns_.data(), {{taps_, 1}}), out);
    });
}

}  // namespace fourfold
