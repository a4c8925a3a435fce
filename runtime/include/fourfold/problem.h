/// @file
/// Conv2dProblem: what to compute, as a plain value. Everything here is constexpr unless it makes text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fourfold/status.h"

namespace fourfold {

/// What a problem computes; the equations are those of Conv2dProblem.
enum class Operation {
    kForward,          ///< y from x and w
    kBackwardData,     ///< the gradient in x, which is also the transposed convolution
    kBackwardFilters,  ///< the gradient in w, and in the bias
    kUnfold,           ///< patches as columns (im2col)
    kFold,             ///< the adjoint of unfold (col2im)
    kSpectral,         ///< products of half spectra: a SpectralProblem, not a Conv2dProblem
};
/// Correlation: y[p] = sum_r x[p + r] w[r], as networks use it. Convolution: the filter is flipped in both axes.
enum class FilterMode {
    kCorrelation,  ///< the filter as it is
    kConvolution,  ///< the filter flipped
};
/// Order of the four dimensions in memory, last one fastest.
enum class Layout {
    kNchw,  ///< image, channel, row, column
    kNhwc,  ///< image, row, column, channel
};
/// What x reads as outside the image. A problem with more padding than its mode allows is refused.
enum class PaddingMode {
    kZeros,      ///< 0
    kConstant,   ///< Conv2dProblem::padding_value
    kReflect,    ///< mirrored, the edge not repeated; pad <= i - 1
    kSymmetric,  ///< mirrored, the edge repeated; pad <= i
    kReplicate,  ///< the nearest pixel of the edge
    kCircular,   ///< the other side; pad <= i
};
/// Applied to every result last, after bias and residual.
enum class PostOp {
    kNone,   ///< the result as it is
    kRelu,   ///< max(y, 0)
    kClamp,  ///< min(max(y, clamp_lo), clamp_hi)
};

/// A forward convolution and, through `operation`, its relatives. Sizes in elements; i is always the forward input's size.
///
///     y[n,k,p,q] = post(bias[k] + sum_{c,r,s} xpad[n, c, p*stride_h + r*dilation_h, q*stride_w + s*dilation_w] * w[k,c,r,s])
///
/// x (b, ic, i0, i1), w (oc, ic/groups, f0, f1), bias (oc), y (b, oc, o0, o1), float32. Channel k of group g reads the
/// group's ic/groups input channels only; depthwise is groups = ic.
///
/// The relatives are its gradients, for the same sizes (gx of x's shape, gy of y's, gw of w's):
///
///     bwd-data     gx = gradient of sum(gy * y) in x, then bias (ic values), residual and post-op on gx, as in a layer
///     bwd-filters  gw = gradient of sum(gy * y) in w, gb[k] = sum_{n,p,q} gy[n,k,p,q]
///
/// both of the plain convolution: the post-op's own gradient is the caller's (Dumoulin & Visin, arXiv:1603.07285, section 4, has
/// transposed convolution). And the two halves of a convolution by matrix
/// product (im2col, col2im), in PyTorch's layout of columns whatever the images' layout; oc and groups do not matter:
///
///     unfold       columns[n, (c*f0 + r)*f1 + s, p*o1 + q] = xpad[n, c, p*stride_h + r*dilation_h, q*stride_w + s*dilation_w]
///     fold         the adjoint of unfold: x[n,c,i,j] = the sum of all elements of columns that unfold reads from x[n,c,i,j]
struct Conv2dProblem {
    Operation operation = Operation::kForward;          ///< what is computed
    int64_t batch = 1;                                  ///< b, images
    int64_t in_channels = 1;                            ///< ic
    int64_t in_height = 1;                              ///< i0, rows
    int64_t in_width = 1;                               ///< i1, columns
    int64_t out_channels = 1;                           ///< oc
    int64_t filter_height = 1;                          ///< f0
    int64_t filter_width = 1;                           ///< f1
    int64_t stride_h = 1;                               ///< rows from one output to the next
    int64_t stride_w = 1;                               ///< columns
    int64_t pad_top = 0;                                ///< rows added above
    int64_t pad_bottom = 0;                             ///< below; negative in some transposed(): bwd-data with zeros only
    int64_t pad_left = 0;                               ///< columns added before
    int64_t pad_right = 0;                              ///< after; negative as pad_bottom
    int64_t dilation_h = 1;                             ///< rows from one filter tap to the next; 1 is dense
    int64_t dilation_w = 1;                             ///< columns
    int64_t groups = 1;                                 ///< of channels, convolved apart
    PaddingMode padding_mode = PaddingMode::kZeros;     ///< what the padding reads as
    float padding_value = 0.0f;                         ///< for PaddingMode::kConstant
    FilterMode filter_mode = FilterMode::kCorrelation;  ///< whether the filter is flipped
    Layout layout = Layout::kNchw;                      ///< of images and filters
    PostOp post_op = PostOp::kNone;                     ///< applied last
    float clamp_lo = 0.0f;                              ///< for PostOp::kClamp
    float clamp_hi = 0.0f;                              ///< for PostOp::kClamp
    bool residual = false;                              ///< adds a tensor of y's shape before the post-op

    /// floor((i0 + pad_top + pad_bottom - dilation_h*(f0-1) - 1) / stride_h) + 1; 0 or less when the filter does not fit.
    /// Source: Dumoulin & Visin, arXiv:1603.07285, relationship 15.
    constexpr int64_t out_height() const {
        return out_size(in_height, pad_top + pad_bottom, dilation_h, filter_height, stride_h);
    }
    /// The same of columns.
    constexpr int64_t out_width() const {
        return out_size(in_width, pad_left + pad_right, dilation_w, filter_width, stride_w);
    }

    /// Padding by name, as copies: no padding at all; every position where filter and image overlap; o = ceil(i / s),
    /// the odd row or column of padding after, as TensorFlow does.
    constexpr Conv2dProblem valid() const {
        Conv2dProblem p = *this;
        p.pad_top = p.pad_bottom = p.pad_left = p.pad_right = 0;
        return p;
    }
    /// Padding dilation*(filter - 1) on every side.
    constexpr Conv2dProblem full() const {
        Conv2dProblem p = *this;
        p.pad_top = p.pad_bottom = dilation_h * (filter_height - 1);
        p.pad_left = p.pad_right = dilation_w * (filter_width - 1);
        return p;
    }
    /// Padding such that o = ceil(i / stride), the odd row or column after.
    constexpr Conv2dProblem same() const {
        Conv2dProblem p = *this;
        const int64_t h = same_total(in_height, stride_h, dilation_h, filter_height);
        const int64_t w = same_total(in_width, stride_w, dilation_w, filter_width);
        p.pad_top = h / 2;
        p.pad_bottom = h - h / 2;
        p.pad_left = w / 2;
        p.pad_right = w - w / 2;
        return p;
    }

    /// A transposed convolution in the terms of PyTorch's ConvTranspose2d: each input element spreads a filter over the output,
    ///
    ///     o = (i - 1)*stride - 2*padding + dilation*(filter - 1) + output_padding + 1      per axis
    ///
    /// with filters (in_channels, out_channels/groups, filter_height, filter_width) and a bias of out_channels values.
    struct Transposed {
        int64_t batch = 1;             ///< images
        int64_t in_channels = 1;       ///< of the layer's input
        int64_t in_height = 1;         ///< of the layer's input
        int64_t in_width = 1;          ///< of the layer's input
        int64_t out_channels = 1;      ///< of the layer's output
        int64_t filter_height = 1;     ///< f0, taps
        int64_t filter_width = 1;      ///< f1, taps
        int64_t stride_h = 1;          ///< output rows from where one input row goes to where the next does
        int64_t stride_w = 1;          ///< the same of columns
        int64_t padding_h = 0;         ///< rows cut from the output at top and bottom
        int64_t padding_w = 0;         ///< columns cut from it left and right
        int64_t output_padding_h = 0;  ///< rows added at its bottom, at least 0 and less than max(stride_h, dilation_h)
        int64_t output_padding_w = 0;  ///< columns added at its right, at least 0 and less than max(stride_w, dilation_w)
        int64_t dilation_h = 1;        ///< output rows from one tap to the next
        int64_t dilation_w = 1;        ///< the same of columns
        int64_t groups = 1;            ///< of channels, each on its own
    };
    /// The layer as what it is, the bwd-data operation of a forward convolution whose input is the layer's output: in_channels
    /// and in_height are those of the layer's output, out_channels and out_height() those of its input. Its tensors are
    /// grad_output (the layer's input), filters, bias and grad_input (the layer's output). error() refuses what is made of a
    /// layer that cannot be.
    static constexpr Conv2dProblem transposed(const Transposed &layer) {
        Conv2dProblem p;
        p.operation = Operation::kBackwardData;
        p.batch = layer.batch;
        p.in_channels = layer.out_channels;
        p.out_channels = layer.in_channels;
        p.filter_height = layer.filter_height;
        p.filter_width = layer.filter_width;
        p.stride_h = layer.stride_h;
        p.stride_w = layer.stride_w;
        p.dilation_h = layer.dilation_h;
        p.dilation_w = layer.dilation_w;
        p.groups = layer.groups;
        if (!is_output_padding(layer.output_padding_h, layer.stride_h, layer.dilation_h) || !is_output_padding(layer.output_padding_w, layer.stride_w, layer.dilation_w)) {
            p.pad_top = saturated(layer.output_padding_h);
            p.pad_left = saturated(layer.output_padding_w);
            p.pad_bottom = p.pad_right = kBadOutputPadding;
            return p;
        }
        p.in_height = transposed_size(layer.in_height, layer.stride_h, layer.padding_h, layer.dilation_h, layer.filter_height, layer.output_padding_h);
        p.in_width = transposed_size(layer.in_width, layer.stride_w, layer.padding_w, layer.dilation_w, layer.filter_width, layer.output_padding_w);
        p.pad_top = layer.padding_h;
        p.pad_left = layer.padding_w;
        // With output padding of a whole stride (PyTorch allows it under dilation) less padding, or a negative one, keeps the
        // filter positions.
        p.pad_bottom = layer.padding_h < 0 ? layer.padding_h : layer.padding_h - whole_strides(layer.output_padding_h, layer.stride_h);
        p.pad_right = layer.padding_w < 0 ? layer.padding_w : layer.padding_w - whole_strides(layer.output_padding_w, layer.stride_w);
        return p;
    }

    /// Multiply-adds times two of the direct algorithm: 2*b*oc*o0*o1*(ic/groups)*f0*f1. The numerator of every GFLOP/s.
    constexpr double flops() const {
        return 2.0 * static_cast<double>(batch) * static_cast<double>(out_channels) * static_cast<double>(out_height()) * static_cast<double>(out_width()) *
               static_cast<double>(in_channels / groups) * static_cast<double>(filter_height) * static_cast<double>(filter_width);
    }
    /// Of x: b*ic*i0*i1.
    constexpr int64_t input_elements() const {
        return batch * in_channels * in_height * in_width;
    }
    /// Of w: oc*(ic/groups)*f0*f1.
    constexpr int64_t filter_elements() const {
        return out_channels * (in_channels / groups) * filter_height * filter_width;
    }
    /// Of y: b*oc*o0*o1.
    constexpr int64_t output_elements() const {
        return batch * out_channels * out_height() * out_width();
    }
    /// Of the columns that unfold writes and fold reads.
    constexpr int64_t column_elements() const {
        return batch * in_channels * filter_height * filter_width * out_height() * out_width();
    }
    /// Whether this is unfold or fold, which have columns in place of filters and outputs.
    constexpr bool moves_columns() const {
        return operation == Operation::kUnfold || operation == Operation::kFold;
    }

    /// nullptr when the problem is valid, otherwise what is wrong. Usable in static_assert(p.error() == nullptr).
    constexpr const char *error() const {
        // Sizes over 2^48 could overflow the 64-bit sums below; no memory holds them.
        for (int64_t v : {batch, in_channels, in_height, in_width, out_channels, filter_height, filter_width, stride_h, stride_w, dilation_h, dilation_w, groups}) {
            if (v < 1) {
                return "every size, stride, dilation and the group count must be at least 1";
            }
            if (v > kMaxSize) {
                return "a size, stride or dilation is over 2^48";
            }
        }
        if (pad_bottom == kBadOutputPadding) {
            return kOutputPadding;
        }
        // Rows and columns at the end of a gradient that the forward problem does not read: negative padding after.
        const bool surplus = operation == Operation::kBackwardData && padding_mode == PaddingMode::kZeros;
        if (pad_top < 0 || pad_left < 0 || (!surplus && (pad_bottom < 0 || pad_right < 0))) {
            return "padding must not be negative";
        }
        for (int64_t v : {pad_top, pad_bottom, pad_left, pad_right}) {
            if (v > kMaxSize || v < -kMaxSize) {
                return "padding is over 2^48";
            }
        }
        if (in_channels % groups != 0) {
            return "groups must divide the input channels";
        }
        if (out_channels % groups != 0) {
            return "groups must divide the output channels";
        }
        if (dilation_h > kMaxSize / filter_height || dilation_w > kMaxSize / filter_width) {
            return "the dilated filter is over 2^48 in one axis";
        }
        const int64_t pad_h = pad_top > pad_bottom ? pad_top : pad_bottom;
        const int64_t pad_w = pad_left > pad_right ? pad_left : pad_right;
        if (padding_mode == PaddingMode::kReflect && (pad_h > in_height - 1 || pad_w > in_width - 1)) {
            return "reflect padding must be at most the input size minus 1";
        }
        if (padding_mode == PaddingMode::kSymmetric && (pad_h > in_height || pad_w > in_width)) {
            return "symmetric padding must be at most the input size";
        }
        if (padding_mode == PaddingMode::kCircular && (pad_h > in_height || pad_w > in_width)) {
            return "circular padding must be at most the input size";
        }
        if (out_height() < 1 || out_width() < 1) {
            return "the dilated filter is larger than the padded input";
        }
        if (!fits(batch, in_channels, in_height, in_width) || !fits(out_channels, in_channels / groups, filter_height, filter_width) ||
            !fits(batch, out_channels, out_height(), out_width())) {
            return kTooManyElements;
        }
        if (post_op == PostOp::kClamp && !(clamp_lo <= clamp_hi)) {
            return "clamp needs lo <= hi";
        }
        if (operation == Operation::kBackwardFilters && (post_op != PostOp::kNone || residual)) {
            return "bwd-filters takes no post-op and no residual; give it the gradient before the post-op";
        }
        if (moves_columns()) {
            if (post_op != PostOp::kNone || residual || filter_mode != FilterMode::kCorrelation) {
                return "unfold and fold take no post-op, no residual and no flipped filters";
            }
            if (!fits(batch * in_channels, filter_height * filter_width, out_height(), out_width())) {
                return kTooManyElements;
            }
        }
        return nullptr;
    }

    /// error() as a Status whose sentence names the offending values.
    Status validate() const;

    /// The one-line form, e.g. "fwd b8 ic64 i56x56 oc64 f3x3 p1,1,1,1": fixed order, defaults left out.
    std::string to_string() const;

    /// Reads the one-line form: tokens in any order, separated by blanks or '_'. Does not validate the sizes.
    static Result<Conv2dProblem> parse(std::string_view text);

    /// Equal in every member.
    friend constexpr bool operator==(const Conv2dProblem &a, const Conv2dProblem &b) {
        return a.operation == b.operation && a.batch == b.batch && a.in_channels == b.in_channels && a.in_height == b.in_height && a.in_width == b.in_width &&
               a.out_channels == b.out_channels && a.filter_height == b.filter_height && a.filter_width == b.filter_width && a.stride_h == b.stride_h &&
               a.stride_w == b.stride_w && a.pad_top == b.pad_top && a.pad_bottom == b.pad_bottom && a.pad_left == b.pad_left && a.pad_right == b.pad_right &&
               a.dilation_h == b.dilation_h && a.dilation_w == b.dilation_w && a.groups == b.groups && a.padding_mode == b.padding_mode &&
               a.padding_value == b.padding_value && a.filter_mode == b.filter_mode && a.layout == b.layout && a.post_op == b.post_op &&
               a.clamp_lo == b.clamp_lo && a.clamp_hi == b.clamp_hi && a.residual == b.residual;
    }
    /// Different in a member.
    friend constexpr bool operator!=(const Conv2dProblem &a, const Conv2dProblem &b) {
        return !(a == b);
    }

private:
    static constexpr int64_t kMaxSize = int64_t{1} << 48;
    static constexpr const char *kTooManyElements = "a tensor would have over 2^60 elements";
    static constexpr const char *kOutputPadding = "output padding must be at least 0 and less than the larger of stride and dilation";
    /// As pad_bottom: transposed() was given an output padding that cannot be, which is in pad_top and pad_left.
    static constexpr int64_t kBadOutputPadding = -(int64_t{1} << 62);

    static constexpr bool is_output_padding(int64_t value, int64_t stride, int64_t dilation) {
        return value == 0 || (value > 0 && (value < stride || value < dilation));
    }
    /// So that sums with kBadOutputPadding stay in range.
    static constexpr int64_t saturated(int64_t value) {
        constexpr int64_t most = int64_t{1} << 60;
        return value < -most ? -most : value > most ? most : value;
    }
    /// Of a transposed convolution's output: over kMaxSize where it would overflow, 1 where error() refuses something else.
    static constexpr int64_t transposed_size(int64_t in, int64_t stride, int64_t padding, int64_t dilation, int64_t filter, int64_t output_padding) {
        if (in < 1) {
            return in;
        }
        if (stride < 1 || stride > kMaxSize || padding < 0 || padding > kMaxSize || dilation < 1 || dilation > kMaxSize || filter < 1) {
            return 1;
        }
        if (in - 1 > kMaxSize / stride || filter - 1 > kMaxSize / dilation) {
            return kMaxSize + 1;
        }
        return (in - 1) * stride - 2 * padding + dilation * (filter - 1) + output_padding + 1;
    }
    static constexpr int64_t whole_strides(int64_t output_padding, int64_t stride) {
        return stride > 0 ? output_padding / stride * stride : 0;
    }
    static constexpr int64_t out_size(int64_t in, int64_t pad, int64_t dilation, int64_t filter, int64_t stride) {
        const int64_t room = in + pad - dilation * (filter - 1) - 1;
        return room < 0 ? 0 : room / stride + 1;
    }
    static constexpr int64_t same_total(int64_t in, int64_t stride, int64_t dilation, int64_t filter) {
        const int64_t total = ((in + stride - 1) / stride - 1) * stride + dilation * (filter - 1) + 1 - in;
        return total > 0 ? total : 0;
    }
    static constexpr bool fits(int64_t a, int64_t b, int64_t c, int64_t d) {
        constexpr int64_t limit = int64_t{1} << 60;
        return a <= limit / b && a * b <= limit / c && a * b * c <= limit / d;
    }
};

}  // namespace fourfold
