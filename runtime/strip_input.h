// Brings the channels of one strip into the flat form of StripGeometry, or finds that they already are.
#pragma once

#include "arena.h"
#include "geometry.h"
#include "stages.h"

namespace fourfold {

/// x of conv_direct and im2col: element j of a channel at data[channel*channel_stride + j].
struct FlatStrip {
    const float *data = nullptr;
    int64_t channel_stride = 0;
};

class StripInput {
public:
    StripInput(const StripGeometry &geometry, int64_t strip_rows);

    /// Floats of scratch for `channels` channels of which each is read up to `readable` elements.
    double scratch_floats(int64_t channels, int64_t readable) const;

    /// The strip of output rows [first_row, first_row + row_count) of channels [first, first + count) of one image.
    /// `readable` elements of each channel may be read. Dense rows without padding, stride and dilation phases are used
    /// where they lie, unless that would read past the image; everything else goes through the pad stage into scratch.
    bool prepare(const StridedIn &input, int64_t image, int64_t first, int64_t count, int64_t first_row, int64_t row_count, int64_t readable, float *scratch, FlatStrip &strip, KernelContext &context) const;

private:
    const StripGeometry &geometry_;
    int64_t strip_rows_;
    int64_t channel_stride_;
    PadStage pad_;
};

/// The bias of every group as the kernels read it: one for each channel and row of a row block, rounded up to whole register
/// tiles. What the kernels have added crop must not add again: none() is as many negative zeros, which change no bit.
class PaddedBias {
public:
    PaddedBias(const float *data, int64_t group_stride, const float *none)
        : data_(data), group_stride_(group_stride), none_(none) {
    }
    const float *of(int64_t group, int64_t channel) const {
        return data_ + group * group_stride_ + channel;
    }
    const float *none() const {
        return none_;
    }

private:
    const float *data_;
    int64_t group_stride_;
    const float *none_;
};

/// Where PaddedBias lies in the workspace.
class BiasLayout {
public:
    BiasLayout() = default;
    /// `padded`: output channels of a group as the kernels count them.
    BiasLayout(Arena &arena, const Conv2dProblem &problem, int64_t row_block, int64_t padded);
    PaddedBias fill(const float *bias, std::byte *workspace) const;

private:
    int64_t groups_ = 0, outputs_ = 0, row_block_ = 1, padded_ = 0, none_ = 0;
    size_t offset_ = 0;
};

/// Filters in the form that conv_direct and gemm read: (i % m, tap, channel, i / m, group). A row block divides m.
class FilterPacker {
public:
    FilterPacker(const StripGeometry &geometry, int m);
    double packed_floats() const;
    size_t packed_bytes() const;  ///< a multiple of kAlignment
    Status pack(const StridedIn &filters, float *packed, const Execution &execution, int threads) const;

private:
    const Conv2dProblem problem_;
    const int64_t m_, row_block_, taps_;
    std::vector<int32_t> rows_, columns_;
    const Variant *variant_;
};

}  // namespace fourfold
