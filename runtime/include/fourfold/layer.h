/// @file
/// Conv2dLayer: a convolution that owns what it needs, for those who would rather not hold plan, packed filters and workspace.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "fourfold/plan.h"

namespace fourfold {

/// One convolution with its filters and bias: fwd, or bwd-data, which is also the transposed convolution
/// (Conv2dProblem::transposed). Since it sees the filters' values, it computes filters of rank one as two passes (SeparablePlan)
/// where the caller names no algorithm and records or the cost model say that is faster.
///
///     Result<Conv2dLayer> layer = Conv2dLayer::create(problem, w.data(), bias.data());
///     Status status = layer->run(x.data(), y.data());
///
/// Movable, not copyable. One call of run() at a time: the workspace is the layer's own. Plan is for several.
class Conv2dLayer {
public:
    /// Filters (oc, ic/groups, f0, f1) and bias (one value for each channel of the result, or null) are read here and not
    /// needed afterwards. Errors: those of Plan::create; kInvalidArgument (another operation, null filters);
    /// kResourceExhausted (no memory for filters or workspace).
    static Result<Conv2dLayer> create(const Conv2dProblem &problem, ConstView filters, const float *bias = nullptr, const PlanOptions &options = {});

    /// Leaves the other without a plan: its run() then fails, and nothing else may be asked of it.
    Conv2dLayer(Conv2dLayer &&) noexcept;
    /// The same.
    Conv2dLayer &operator=(Conv2dLayer &&) noexcept;
    ~Conv2dLayer();

    /// fwd: x -> y, bwd-data: gy -> gx. `residual` is needed where problem().residual says so. Allocates nothing, throws
    /// nothing. Errors: kInvalidArgument, the output then untouched.
    Status run(ConstView input, MutableView output, ConstView residual = {}, const ExecutionContext &context = {});

    /// The problem that it was made for.
    const Conv2dProblem &problem() const;
    /// Whether the filters are of rank one and computed as two passes.
    bool separable() const;
    /// Bytes that the layer owns, besides the bias.
    size_t workspace_bytes() const;
    /// The same of packed filters; 0 where separable().
    size_t packed_filter_bytes() const;
    /// The cost model's time for one run, in seconds.
    double predicted_seconds() const;
    /// Several lines for people: those of the plan.
    std::string describe() const;

private:
    struct Impl;
    Conv2dLayer();
    static Result<Conv2dLayer> make(const Conv2dProblem &problem, ConstView filters, const float *bias, const PlanOptions &options);
    std::unique_ptr<Impl> impl_;
};

/// A dense float32 array in the caller's memory whose sizes (N, C, H, W) are part of its type.
template<typename T, int64_t N, int64_t C, int64_t H, int64_t W>
struct SizedView {
    static constexpr int64_t kElements = N * C * H * W;  ///< that `data` must hold

    T *data = nullptr;  ///< the first element

    SizedView() = default;
    /// Of kElements elements.
    explicit SizedView(T *pointer)
        : data(pointer) {
    }
    /// A view of what may be written is one of what may be read.
    template<typename U, typename = std::enable_if_t<std::is_convertible_v<U *, T *>>>
    SizedView(SizedView<U, N, C, H, W> other)  // NOLINT: implicit by design
        : data(other.data) {
    }
};

/// The problem of a SizedConv2dLayer.
constexpr Conv2dProblem sized_problem(int64_t batch, int64_t in_channels, int64_t in_height, int64_t in_width, int64_t out_channels, int64_t filter_height, int64_t filter_width, int64_t stride,
                                      int64_t padding, int64_t dilation, int64_t groups) {
    Conv2dProblem p;
    p.batch = batch;
    p.in_channels = in_channels;
    p.in_height = in_height;
    p.in_width = in_width;
    p.out_channels = out_channels;
    p.filter_height = filter_height;
    p.filter_width = filter_width;
    p.stride_h = p.stride_w = stride;
    p.pad_top = p.pad_bottom = p.pad_left = p.pad_right = padding;
    p.dilation_h = p.dilation_w = dilation;
    p.groups = groups;
    return p;
}

/// A forward layer, NCHW, whose sizes are template arguments: the compiler refuses impossible sizes, and arrays of other sizes.
/// Stride, padding (zeros) and dilation are those of both axes.
///
///     using First = SizedConv2dLayer<1, 3, 224, 224, 64, 7, 7, 2, 3>;
///     using Second = SizedConv2dLayer<1, 64, 112, 112, 64, 3, 3, 1, 1>;     // reads what First writes, or does not compile
template<int64_t Batch, int64_t InChannels, int64_t InHeight, int64_t InWidth, int64_t OutChannels, int64_t FilterHeight, int64_t FilterWidth, int64_t Stride = 1, int64_t Padding = 0,
         int64_t Dilation = 1, int64_t Groups = 1>
class SizedConv2dLayer {
    static_assert(Batch >= 1 && InChannels >= 1 && InHeight >= 1 && InWidth >= 1 && OutChannels >= 1 && FilterHeight >= 1 && FilterWidth >= 1, "every size of a layer must be at least 1");
    static_assert(Stride >= 1 && Dilation >= 1 && Groups >= 1 && Padding >= 0, "stride, dilation and groups of a layer must be at least 1, and padding at least 0");
    static_assert(Groups < 1 || (InChannels % Groups == 0 && OutChannels % Groups == 0), "groups must divide the channels of a layer");
    static_assert(InHeight + 2 * Padding >= Dilation * (FilterHeight - 1) + 1 && InWidth + 2 * Padding >= Dilation * (FilterWidth - 1) + 1, "the dilated filter of a layer is larger than its padded input");

public:
    /// The problem, without post-op.
    static constexpr Conv2dProblem kProblem = sized_problem(Batch, InChannels, InHeight, InWidth, OutChannels, FilterHeight, FilterWidth, Stride, Padding, Dilation, Groups);
    static_assert(kProblem.error() == nullptr, "the sizes of a layer are too large");

    /// x, (Batch, InChannels, InHeight, InWidth).
    using Input = SizedView<const float, Batch, InChannels, InHeight, InWidth>;
    /// w, (OutChannels, InChannels/Groups, FilterHeight, FilterWidth).
    using Filters = SizedView<const float, OutChannels, InChannels / Groups, FilterHeight, FilterWidth>;
    /// y, whose sizes follow.
    using Output = SizedView<float, Batch, OutChannels, kProblem.out_height(), kProblem.out_width()>;

    /// As Conv2dLayer::create; `post_op` is kNone or kRelu; kClamp, which has bounds, is kInvalidArgument. Other errors: those of
    /// Conv2dLayer::create.
    static Result<SizedConv2dLayer> create(Filters filters, const float *bias = nullptr, PostOp post_op = PostOp::kNone, const PlanOptions &options = {}) {
        if (post_op != PostOp::kNone && post_op != PostOp::kRelu) {
            return Status(StatusCode::kInvalidArgument, "a sized layer takes no bounds for clamp; Conv2dLayer does");
        }
        Conv2dProblem problem = kProblem;
        problem.post_op = post_op;
        Result<Conv2dLayer> layer = Conv2dLayer::create(problem, filters.data, bias, options);
        if (!layer) {
            return layer.status();
        }
        return SizedConv2dLayer(std::move(*layer));
    }

    /// As Conv2dLayer::run.
    Status run(Input input, Output output, const ExecutionContext &context = {}) {
        return layer_.run(input.data, output.data, {}, context);
    }

    /// The same layer, its sizes forgotten.
    Conv2dLayer &layer() {
        return layer_;
    }

private:
    explicit SizedConv2dLayer(Conv2dLayer layer)
        : layer_(std::move(layer)) {
    }
    Conv2dLayer layer_;
};

}  // namespace fourfold
