// winograd on a GPU: F(m x m, 3x3) in three launches for all images in flight. Tiles are cut and transformed from where the image lies,
// multiplied point by point with the transformed filters summed over channels, and transformed back to where the output lies.
// V[point][channel][tile], M[point][output][tile]; zero and constant padding are read as such, other modes are padded first.
#include <algorithm>

#include "device/device_plan.h"
#include "registry.h"

namespace fourfold {
namespace {

constexpr int64_t kReach = (int64_t{1} << 29) - 1;  // floats that 32-bit indices of bytes reach

class DeviceWinogradPlan final : public AlgorithmPlan {
public:
    DeviceWinogradPlan(const PlanRequest &request, const Variant &product, const Variant &cut)
        : problem_(request.problem), device_(*request.device), product_(product), cut_(cut), join_(device_variant(device_, "winograd_join", cut.parameters)), filters_(device_variant(device_, "winograd_pack", cut.parameters)), m_(cut.parameter("m", 4)), t_(m_ + 2), warp_tiles_(32 * product.parameter("r", 1)), post_(kernel_post_op(problem_)), pad_(device_, problem_) {
        variant = product.name;
        choice = std::string(cut.name) + " " + product.name;
        channels_ = problem_.in_channels / problem_.groups;
        outputs_ = problem_.out_channels / problem_.groups;
        blocks_ = ceil_div(outputs_, kWidth);
        tiles_y_ = ceil_div(problem_.out_height(), m_);
        tiles_x_ = ceil_div(problem_.out_width(), m_);
        zeros_ = tables_.add_zeros(static_cast<size_t>(problem_.out_channels));
        layout = "winograd m" + std::to_string(m_);
    }

    Status block(size_t workspace_limit) {
        if (product_.parameter("v", 1) != 1) {
            return Status(StatusCode::kInternal, std::string(product_.name) + " does not match the order of packed filters");
        }
        const double packed = static_cast<double>(problem_.groups * t_ * t_) * static_cast<double>(blocks_ * kWidth * channels_);
        if (packed / static_cast<double>(problem_.groups) > static_cast<double>(kReach) || tiles_y_ * tiles_x_ > kReach / (t_ * t_ * std::max(channels_, outputs_))) {
            return Status(StatusCode::kUnsupported, "the transformed tiles of one image, or the filters, are 2^31 bytes or more, beyond a kernel call's reach");
        }
        packed_bytes = static_cast<size_t>(packed) * sizeof(float);
        const int64_t image = std::max(problem_.in_channels * problem_.in_height * problem_.in_width, problem_.out_channels * problem_.out_height() * problem_.out_width());
        images_ = std::clamp<int64_t>(std::min(kReach / image, kReach / (t_ * t_ * std::max(channels_, outputs_)) / (tiles_y_ * tiles_x_)), 1, problem_.batch);
        const size_t comfortable = std::min(workspace_limit, device_.info().memory_bytes / 4);
        lay_out();
        while (images_ > 1 && (workspace_bytes > comfortable || tiles() > kReach / (t_ * t_ * std::max(channels_, outputs_)))) {
            images_ = (images_ + 1) / 2;
            lay_out();
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        serial_workspace_bytes = workspace_bytes;
        const DeviceModel model(device_.info());
        const double all = static_cast<double>(problem_.groups) * static_cast<double>(ceil_div(problem_.batch, images_)) * static_cast<double>(tiles());
        const double flops = 2.0 * all * static_cast<double>(t_ * t_ * channels_ * blocks_ * kWidth);
        const double bytes = 4.0 * (all * static_cast<double>(2 * t_ * t_ * (channels_ + outputs_)) + static_cast<double>(problem_.input_elements() + problem_.output_elements()) + 2 * pad_.floats() + packed);
        serial_seconds = std::max(flops / (0.5 * model.flops), 0.3 * bytes / model.bytes_per_second) + 0.7 * bytes / model.bytes_per_second + 3 * static_cast<double>(problem_.groups) * static_cast<double>(ceil_div(problem_.batch, images_)) * model.launch_seconds;
        predicted_seconds = serial_seconds;
        details = "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(m_) + ", " + std::to_string(tiles_y_) + "x" + std::to_string(tiles_x_) + " an image, " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images at a time";
        return Status();
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            const bool flipped = problem_.filter_mode == FilterMode::kConvolution;
            const int64_t sign = flipped ? -1 : 1;
            for (int64_t g = 0; g < problem_.groups; g++) {
                const float *first = w.data + g * outputs_ * w.s[0] + (flipped ? 2 * (w.s[2] + w.s[3]) : 0);
                const Floats<4> from(first, {{3, sign * w.s[3]}, {3, sign * w.s[2]}, {channels_, w.s[1]}, {outputs_, w.s[0]}});
                const Floats<4> to(floats_at(packed, 0) + g * t_ * t_ * point(), {{kWidth * channels_, 1}, {blocks_, kWidth * channels_}, {t_, point()}, {t_, t_ * point()}});
                if (!call(filters_, context, from, to)) {
                    return false;
                }
            }
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            StridedIn x = t.input;
            if (pad_.needed()) {
                float *padded = floats_at(workspace, padded_);
                if (!pad_.run(t.input, padded, context)) {
                    return false;
                }
                x = pad_.view(padded);
            }
            const float *bias = t.bias != nullptr ? t.bias : tables_.floats(zeros_);
            // Views may spread images wider than their sizes say.
            const int64_t most_stride = std::max({x.s[0], t.output.s[0], t.residual.s[0], int64_t{1}});
            const int64_t at_once = std::clamp<int64_t>(kReach / most_stride, 1, images_);
            for (int64_t n = 0; n < problem_.batch; n += at_once) {
                for (int64_t g = 0; g < problem_.groups; g++) {
                    if (!run(x, floats_at(packed, 0) + g * t_ * t_ * point(), bias + g * outputs_, t, floats_at(workspace, v_), floats_at(workspace, products_), n, std::min(at_once, problem_.batch - n), g, context)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }

private:
    static constexpr int64_t kWidth = 16;  ///< output channels of a thread

    /// Of the images in flight, whole warps.
    int64_t tiles() const {
        return round_up(images_ * tiles_y_ * tiles_x_, warp_tiles_);
    }
    /// Floats of a point of a group's packed filters.
    int64_t point() const {
        return blocks_ * kWidth * channels_;
    }

    void lay_out() {
        Arena arena;
        padded_ = arena.reserve_floats(pad_.floats());
        v_ = arena.reserve_floats(static_cast<double>(t_ * t_) * static_cast<double>(channels_) * static_cast<double>(tiles()));
        products_ = arena.reserve_floats(static_cast<double>(t_ * t_) * static_cast<double>(outputs_) * static_cast<double>(tiles()));
        workspace_bytes = arena.bytes();
    }

    bool run(const StridedIn &x, const float *packed, const float *bias, const ForwardTensors &t, float *v, float *products, int64_t first, int64_t images, int64_t g, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t tiles = round_up(images * tiles_y_ * tiles_x_, warp_tiles_);
        const int64_t height = pad_.needed() ? pad_.height() : p.in_height, width = pad_.needed() ? pad_.width() : p.in_width;
        const auto tiles_x = static_cast<int32_t>(tiles_x_), tiles_y = static_cast<int32_t>(tiles_y_);
        const auto left = static_cast<int32_t>(pad_.needed() ? 0 : p.pad_left), top = static_cast<int32_t>(pad_.needed() ? 0 : p.pad_top);
        const Floats<4> in(x.data + first * x.s[0] + g * channels_ * x.s[1], {{width, x.s[3]}, {height, x.s[2]}, {channels_, x.s[1]}, {images, x.s[0]}});
        const Floats<4> cut(v, {{tiles, 1}, {channels_, tiles}, {t_, channels_ * tiles}, {t_, t_ * channels_ * tiles}});
        if (!call(cut_, context, in, tiles_x, tiles_y, left, top, p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f, cut)) {
            return false;
        }
        const Floats<4> factors(v, {{channels_, tiles}, {1, 0}, {tiles, 1}, {t_ * t_, channels_ * tiles}});
        const Floats<5> filters(packed, {{kWidth, 1}, {1, 0}, {channels_, kWidth}, {blocks_, kWidth * channels_}, {t_ * t_, point()}});
        const Floats<4> out(products, {{outputs_, tiles}, {1, 0}, {tiles, 1}, {t_ * t_, outputs_ * tiles}});
        if (!call(product_, context, factors, filters, out)) {
            return false;
        }
        const int64_t *s = t.output.s, *r = t.residual.s;
        const bool adds = t.residual.data != nullptr;
        const Floats<4> points(products, {{tiles, 1}, {outputs_, tiles}, {t_, outputs_ * tiles}, {t_, t_ * outputs_ * tiles}});
        const Floats<1> biases(bias, {{outputs_, 1}});
        const Floats<4> y(t.output.data + first * s[0] + g * outputs_ * s[1], {{p.out_width(), s[3]}, {p.out_height(), s[2]}, {outputs_, s[1]}, {images, s[0]}});
        const Floats<4> residual(adds ? t.residual.data + first * r[0] + g * outputs_ * r[1] : nullptr, {{p.out_width(), r[3]}, {p.out_height(), r[2]}, {outputs_, r[1]}, {images, r[0]}});
        return call(join_, context, points, tiles_x, tiles_y, biases, adds ? residual : y, int32_t{adds}, post_.kind, post_.lo, post_.hi, y);
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const Variant &product_, &cut_, &join_, &filters_;
    const int64_t m_, t_, warp_tiles_;
    const KernelPostOp post_;
    DeviceTables tables_;
    const DevicePad pad_;
    int64_t channels_, outputs_, blocks_, tiles_y_, tiles_x_, images_ = 1;
    size_t zeros_ = 0, padded_ = 0, v_ = 0, products_ = 0;
};

}  // namespace

Status device_winograd_takes(const Conv2dProblem &p) {
    if (p.filter_height != 3 || p.filter_width != 3) {
        return Status(StatusCode::kUnsupported, "winograd needs 3x3 filters; these are " + std::to_string(p.filter_height) + "x" + std::to_string(p.filter_width));
    }
    if (p.stride_h != 1 || p.stride_w != 1 || p.dilation_h != 1 || p.dilation_w != 1) {
        return Status(StatusCode::kUnsupported, "winograd on a GPU needs stride 1 and dilation 1; here they are " + std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w) + " and " + std::to_string(p.dilation_h) + "x" + std::to_string(p.dilation_w));
    }
    return Status();
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_winograd(const PlanRequest &request) {
    if (Status status = device_winograd_takes(request.problem); !status.ok()) {
        return status;
    }
    return best_device_variant<DeviceWinogradPlan>(request, "winograd_product", [&](const Variant &product, const auto &consider) {
        for (const Variant *cut : device_variants_of(*request.device, "winograd_cut")) {
            if (!has_parameter(*cut, "layout=channels")) {  // which are for the gradient of the filters
                consider(std::make_unique<DeviceWinogradPlan>(request, product, *cut));
            }
        }
    });
}

}  // namespace fourfold
