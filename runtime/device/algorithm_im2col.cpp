// im2col on a GPU: the matrix product of packed filters with columns that are never stored (implicit GEMM), one launch for all images,
// bias, residual and post-op included. Zero and constant padding are read as such; other modes are padded first.
#include <algorithm>
#include <cmath>

#include "device/device_plan.h"
#include "registry.h"

namespace fourfold {
namespace {

class DeviceIm2colPlan final : public AlgorithmPlan {
public:
    DeviceIm2colPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), device_(*request.device), kernel_(kernel), m_(kernel.parameter("m", 1)), n_(kernel.parameter("n", 1)), w_(kernel.parameter("w", 1)), post_(kernel_post_op(problem_)), pad_(device_, problem_), packer_(device_, problem_, m_, tables_) {
        variant = kernel.name;
        choice = variant;
        channels_ = problem_.in_channels / problem_.groups;
        outputs_ = problem_.out_channels / problem_.groups;
        taps_ = problem_.filter_height * problem_.filter_width;
        pixels_ = problem_.out_height() * problem_.out_width();
        // About 256 terms before a partial sum joins the total: the error of long sums grows with the root of this.
        channel_block_ = std::min<int64_t>(channels_, 256);
        tap_block_ = ceil_div(taps_, ceil_div(taps_, std::max<int64_t>(1, 256 / channel_block_)));
        std::vector<int32_t> rows, columns;
        for (int64_t r = 0; r < problem_.filter_height; r++) {
            for (int64_t s = 0; s < problem_.filter_width; s++) {
                rows.push_back(static_cast<int32_t>(r * problem_.dilation_h - (pad_.needed() ? 0 : problem_.pad_top)));
                columns.push_back(static_cast<int32_t>(s * problem_.dilation_w - (pad_.needed() ? 0 : problem_.pad_left)));
            }
        }
        rows_ = tables_.add(rows);
        columns_ = tables_.add(columns);
        zeros_ = tables_.add_zeros(static_cast<size_t>(problem_.out_channels));
        layout = "im2col m" + std::to_string(m_);
    }

    Status block(size_t workspace_limit) {
        Arena arena;
        padded_offset_ = arena.reserve_floats(pad_.floats());
        workspace_bytes = serial_workspace_bytes = arena.bytes();
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        packed_bytes = packer_.packed_bytes();
        const int64_t plane = std::max(problem_.in_height * problem_.in_width, pixels_) * sizeof(float);
        if (plane * std::max(problem_.in_channels, problem_.out_channels) >= (int64_t{1} << 31)) {
            return Status(StatusCode::kUnsupported, "an image of 2^31 bytes or more is beyond a kernel call's reach");
        }
        const DeviceModel model(device_.info());
        const double tiles = static_cast<double>(problem_.batch * problem_.groups) * static_cast<double>(ceil_div(pixels_, 32 * n_)) * static_cast<double>(ceil_div(outputs_, m_));
        const double flops = tiles * 2.0 * static_cast<double>(32 * n_ * m_) * static_cast<double>(channels_ * taps_);
        // A step of a thread: m*n multiplications, n loads of x, m of filters.
        const double efficiency = 0.8 * static_cast<double>(m_ * n_) / static_cast<double>(m_ * n_ + 2 * n_ + m_);
        const double bytes = 4.0 * (static_cast<double>(problem_.input_elements()) + static_cast<double>(problem_.output_elements()) + 2 * pad_.floats());
        serial_seconds = std::max(flops / (model.flops * efficiency), bytes / model.bytes_per_second) + model.launch_seconds * (pad_.needed() ? 2 : 1);
        predicted_seconds = serial_seconds;
        details = std::to_string(m_) + " output channels x " + std::to_string(n_) + " pixels a thread, " + std::to_string(32 * w_) + " threads a block; sums of " + std::to_string(channel_block_) + " channels x " + std::to_string(tap_block_) + " taps";
        return Status();
    }

    Status prepare() {
        Status status = tables_.upload(device_);
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) { return packer_.pack(filters, floats_at(packed, 0), tables_, context); });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            StridedIn x = t.input;
            if (pad_.needed()) {
                float *padded = floats_at(workspace, padded_offset_);
                if (!pad_.run(t.input, padded, context)) {
                    return false;
                }
                x = pad_.view(padded);
            }
            return product(x, floats_at(packed, 0), t.bias != nullptr ? t.bias : tables_.floats(zeros_), t.residual, t.output, context);
        });
    }

private:
    /// As many images at once as a launch can number and reach.
    bool product(const StridedIn &x, const float *packed, const float *bias, const StridedIn &residual, const StridedOut &y, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t most_stride = std::max({x.s[0], y.s[0], residual.s[0], int64_t{1}});
        const int64_t at_once = std::clamp<int64_t>(std::min(((int64_t{1} << 29) - 1) / most_stride, int64_t{65535} / p.groups), 1, p.batch);
        const int64_t height = pad_.needed() ? pad_.height() : p.in_height, width = pad_.needed() ? pad_.width() : p.in_width;
        const auto blocks = static_cast<int32_t>(ceil_div(channels_, channel_block_) * ceil_div(taps_, tap_block_));
        for (int64_t first = 0; first < p.batch; first += at_once) {
            const int64_t images = std::min(at_once, p.batch - first);
            const KernelBuffer<float, 5> in(x.data + first * x.s[0], {{width, x.s[3]}, {height, x.s[2]}, {channels_, x.s[1]}, {p.groups, x.s[1] * channels_}, {images, x.s[0]}});
            const Ints<1> rows(tables_.ints(rows_), {{taps_, 1}}), columns(tables_.ints(columns_), {{taps_, 1}});
            const Floats<2> biases(bias, {{outputs_, 1}, {p.groups, outputs_}});
            const auto image = [&](const auto &view) {
                return KernelBuffer<float, 5>(view.data + first * view.s[0], {{p.out_width(), view.s[3]}, {p.out_height(), view.s[2]}, {outputs_, view.s[1]}, {p.groups, view.s[1] * outputs_}, {images, view.s[0]}});
            };
            const bool adds = residual.data != nullptr;
            const KernelBuffer<float, 5> out = image(y), more = adds ? image(residual) : image(y);
            const float value = p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f;
            if (!call(kernel_, context, packer_.view(packed), in, rows, columns, biases, more, int32_t{adds}, static_cast<int32_t>(p.stride_h), static_cast<int32_t>(p.stride_w), value, static_cast<int32_t>(channel_block_), static_cast<int32_t>(tap_block_), blocks, post_.kind, post_.lo, post_.hi, out)) {
                return false;
            }
        }
        return true;
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const Variant &kernel_;
    const int64_t m_, n_, w_;
    const KernelPostOp post_;
    DeviceTables tables_;
    const DevicePad pad_;
    const DeviceFilterPacker packer_;
    int64_t channels_, outputs_, taps_, pixels_, channel_block_, tap_block_;
    size_t rows_ = 0, columns_ = 0, zeros_ = 0, padded_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_im2col(const PlanRequest &request) {
    return best_device_variant<DeviceIm2colPlan>(request, "conv_implicit", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DeviceIm2colPlan>(request, kernel));
    });
}

}  // namespace fourfold
