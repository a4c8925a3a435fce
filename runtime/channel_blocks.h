// Between images and vectors of 16 channels: how the algorithms that transform tiles read and write tensors.
//
// With stride s and dilation d, tap r of an axis reads s*p + r*d - pad for output p. Writing p = L*p' + a with the lattice
// L = d / gcd(s, d), that is s*L*p' + (s*a + r*d - pad): for each a a problem of its own, without dilation, on every L-th
// output, whose s/gcd(s, d) phases are further channels. (Source: the usual decimation, once in the filter's index and once
// in the output's.)
#pragma once

#include "algorithm.h"
#include "geometry.h"
#include "stages.h"

namespace fourfold {

class ChannelBlocks {
public:
    static constexpr int64_t kLanes = 16;  ///< channels to a vector

    explicit ChannelBlocks(const Conv2dProblem &problem);

    /// The lattice of each axis, and the taps of one of its problems: shifts and reach count every L-th output.
    int64_t lattice_h() const {
        return lattice_h_;
    }
    int64_t lattice_w() const {
        return lattice_w_;
    }
    const AxisTaps &rows() const {
        return rows_;
    }
    const AxisTaps &columns() const {
        return columns_;
    }
    int64_t phases() const {
        return static_cast<int64_t>(rows_.phases.size() * columns_.phases.size());
    }
    /// Input channels of a group with the phases among them: channel phase * (in_channels / groups) + c.
    int64_t channels() const {
        return phases() * channels_;
    }

    /// Floats that load needs for a region of height x width.
    static int64_t scratch_floats(int64_t height, int64_t width) {
        return kLanes * (height * width + kLanes);
    }
    /// blocked[y][x][l] = what the tap of shift 0 of channel first + l reads for output (top + L_h*y, x), for y < height,
    /// x < width; zero where no tap of an output reads. At most 16 channels; lanes from `count` on are finite. Row y begins
    /// at vector y*width; width is a multiple of 16.
    bool load(const StridedIn &input, int64_t image, int64_t group, int64_t first, int64_t count, int64_t top, int64_t height, int64_t width, float *blocked, float *scratch, KernelContext &context) const;

    /// Output rows top + L_h*y, y < height, of output channels [channel, channel + count), at most 16, from
    /// blocked[y][x][l], x < out_width, finished with bias (from `channel` on), residual and post-op. `pitch` is blocked's,
    /// in vectors; 16 floats after its last row may be read.
    bool store(const float *blocked, int64_t pitch, const float *bias, const ForwardTensors &tensors, int64_t image, int64_t channel, int64_t count, int64_t top, int64_t height, KernelContext &context) const;

private:
    bool load_rows(const StridedIn &input, int64_t image, int64_t channel, int64_t count, int64_t origin_x, int64_t origin_y, int64_t used_x, int64_t used_y, int64_t height, int64_t width, float *blocked, KernelContext &context) const;

    const Conv2dProblem problem_;
    const int64_t lattice_h_, lattice_w_, channels_;
    const AxisTaps rows_, columns_;
    const PadStage pad_;
    const Variant &transpose_, &block_, &unblock_;  ///< planes to vectors; the same or, in NHWC, a copy; and back
    const KernelPostOp post_;
};

}  // namespace fourfold
