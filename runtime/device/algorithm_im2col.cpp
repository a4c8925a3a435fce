// im2col on a GPU, with the columns stored: unfold, then a matrix product (conv_implicit with one tap), as many images at a time as
// the workspace takes. The gradient of the input is a product and a fold, that of the filters a product with columns. unfold and fold
// are operations of their own too.
#include "device/device_plan.h"

namespace fourfold {
namespace {

/// What the plans below share: the columns of some images.
class DeviceColumnsBase : public AlgorithmPlan {
protected:
    explicit DeviceColumnsBase(const PlanRequest &request)
        : problem_(request.problem), device_(*request.device), post_(kernel_post_op(problem_)), pad_(device_, problem_), fold_(device_, problem_, tables_), unfold_(device_variant(device_, "unfold_image")), fold_kernel_(device_variant(device_, "fold_image")) {
        const Conv2dProblem &p = problem_;
        pixels_ = p.out_height() * p.out_width();
        rows_of_columns_ = p.in_channels * p.filter_height * p.filter_width;
        read_ = DeviceTaps::add(tables_, p.filter_height, p.filter_width, false, [&](int64_t r) { return r * p.dilation_h - pad_.top(); }, [&](int64_t s) { return s * p.dilation_w - pad_.left(); });
        const int64_t top = fold_.needed() ? 0 : p.pad_top, left = fold_.needed() ? 0 : p.pad_left;
        // Rows of the gradient's columns are in the order of the filters as the caller has them.
        const bool flipped = p.filter_mode == FilterMode::kConvolution;
        gather_ = DeviceTaps::add(tables_, p.filter_height, p.filter_width, true, [&](int64_t r) { return top - (flipped ? p.filter_height - 1 - r : r) * p.dilation_h; }, [&](int64_t s) { return left - (flipped ? p.filter_width - 1 - s : s) * p.dilation_w; });
        origin_ = tables_.add(std::vector<int32_t>{0});
        zeros_ = tables_.add_zeros(static_cast<size_t>(std::max(p.in_channels, p.out_channels)));
    }

    Status images_within_reach() const {
        const double largest = std::max({static_cast<double>(rows_of_columns_) * static_cast<double>(pixels_), static_cast<double>(problem_.in_channels) * static_cast<double>(std::max(fold_.height() * fold_.width(), pad_.height() * pad_.width())), static_cast<double>(problem_.out_channels) * static_cast<double>(pixels_)});
        return largest < static_cast<double>(1 << 29) ? Status() : Status(StatusCode::kUnsupported, "the columns of an image are 2^31 bytes or more, beyond a kernel call's reach");
    }

    /// Dense columns (image, channel, tap, pixel).
    StridedOut columns_view(float *columns) const {
        const int64_t taps = problem_.filter_height * problem_.filter_width;
        return {columns, {rows_of_columns_ * pixels_, taps * pixels_, pixels_, 1}};
    }
    /// The same as an image of out_height x out_width, every row of the columns a channel.
    StridedIn columns_as_image(const float *columns) const {
        return {columns, {rows_of_columns_ * pixels_, pixels_, problem_.out_width(), 1}};
    }

    bool unfold(const StridedIn &x, const StridedOut &columns, int64_t images, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t taps = p.filter_height * p.filter_width, *c = columns.s;
        const int64_t at_once = std::clamp<int64_t>(((int64_t{1} << 29) - 1) / std::max({x.s[0], c[0], int64_t{1}}), 1, images);
        for (int64_t n = 0; n < images; n += at_once) {
            const int64_t count = std::min(at_once, images - n);
            const Floats<4> from(x.data + n * x.s[0], {{pad_.width(), x.s[3]}, {pad_.height(), x.s[2]}, {p.in_channels, x.s[1]}, {count, x.s[0]}});
            const Floats<5> to(columns.data + n * c[0], {{p.out_width(), c[3]}, {p.out_height(), c[3] * p.out_width()}, {taps, c[2]}, {p.in_channels, c[1]}, {count, c[0]}});
            if (!call(unfold_, context, from, Ints<1>(tables_.ints(read_.rows), {{taps, 1}}), Ints<1>(tables_.ints(read_.columns), {{taps, 1}}), static_cast<int32_t>(p.stride_h), static_cast<int32_t>(p.stride_w), pad_.value(), to)) {
                return false;
            }
        }
        return true;
    }

    /// Onto the image, or onto the padded image where that is folded back after.
    bool fold(const StridedIn &columns, const StridedOut &y, int64_t images, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t *c = columns.s;
        const int64_t at_once = std::clamp<int64_t>(((int64_t{1} << 29) - 1) / std::max({y.s[0], c[0], int64_t{1}}), 1, images);
        for (int64_t n = 0; n < images; n += at_once) {
            const int64_t count = std::min(at_once, images - n);
            const KernelBuffer<float, 6> from(columns.data + n * c[0], {{p.out_width(), c[3]}, {p.out_height(), c[3] * p.out_width()}, {p.filter_width, c[2]}, {p.filter_height, c[2] * p.filter_width}, {p.in_channels, c[1]}, {count, c[0]}});
            const Floats<4> to(y.data + n * y.s[0], {{fold_.width(), y.s[3]}, {fold_.height(), y.s[2]}, {p.in_channels, y.s[1]}, {count, y.s[0]}});
            if (!call(fold_kernel_, context, from, Ints<1>(tables_.ints(gather_.rows), {{p.filter_height, 1}}), Ints<1>(tables_.ints(gather_.columns), {{p.filter_width, 1}}), static_cast<int32_t>(p.stride_h), static_cast<int32_t>(p.stride_w), to)) {
                return false;
            }
        }
        return true;
    }

    /// As many images' columns as fit beside `fixed` bytes, at most 256 MB; at least one.
    int64_t images_of_columns(size_t limit, size_t fixed) const {
        const double one = 4.0 * static_cast<double>(rows_of_columns_) * static_cast<double>(pixels_);
        const double room = std::min(static_cast<double>(limit - std::min(limit, fixed)), static_cast<double>(256 << 20));
        return std::clamp<int64_t>(static_cast<int64_t>(room / one), 1, problem_.batch);
    }

    Status prepare_tables() {
        Status status = tables_.upload(device_);
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const KernelPostOp post_;
    DeviceTables tables_;
    const DevicePad pad_;
    const DeviceFoldPadding fold_;
    const Variant &unfold_, &fold_kernel_;
    DeviceTaps read_{}, gather_{};
    size_t origin_ = 0, zeros_ = 0;
    int64_t pixels_, rows_of_columns_;
};

/// fwd and bwd-data.
class DeviceIm2colPlan final : public DeviceColumnsBase {
public:
    DeviceIm2colPlan(const PlanRequest &request, const Variant &kernel)
        : DeviceColumnsBase(request), gradient_(problem_.operation == Operation::kBackwardData), m_(kernel.parameter("m", 1)), packer_(device_, gradient_ ? product_of_gradient() : problem_, false, m_, tables_) {
        variant = choice = kernel.name;
        const int64_t row = rows_of_columns_ / problem_.groups, k = problem_.out_channels / problem_.groups;
        stage_ = {&kernel, problem_.groups, gradient_ ? k : row, gradient_ ? row : k, 1};
        layout = std::string(gradient_ ? "bwd-data " : "") + "device im2col m" + std::to_string(m_);
    }

    Status block(size_t workspace_limit) {
        Arena arena;
        padded_offset_ = arena.reserve_floats(gradient_ ? fold_.floats() : pad_.floats());
        // fold writes sums only.
        const bool finishes = gradient_ && !fold_.needed();
        folded_offset_ = arena.reserve_floats(finishes ? static_cast<double>(problem_.input_elements()) : 0.0);
        images_ = images_of_columns(workspace_limit, arena.bytes());
        columns_offset_ = arena.reserve_floats(static_cast<double>(images_) * static_cast<double>(rows_of_columns_) * static_cast<double>(pixels_));
        workspace_bytes = serial_workspace_bytes = arena.bytes();
        packed_bytes = packer_.packed_bytes();
        if (gradient_) {
            Arena pack;
            pack.reserve_floats(static_cast<double>(problem_.filter_elements()));
            pack_workspace_bytes = pack.bytes();
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        const DeviceModel model(device_.info());
        const double columns = 4.0 * static_cast<double>(problem_.batch) * static_cast<double>(rows_of_columns_) * static_cast<double>(pixels_);
        serial_seconds = predicted_seconds = stage_.seconds(model, {problem_.out_height(), problem_.out_width()}, problem_.batch, columns) + 1.5 * columns / model.bytes_per_second + 2.0 * model.launch_seconds * static_cast<double>(ceil_div(problem_.batch, images_));
        details = "columns of " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images at a time; " + stage_.text();
        Status status = images_within_reach();
        return status.ok() ? stage_.within_grid() : status;
    }

    Status prepare() override {
        return prepare_tables();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            if (!gradient_) {
                return packer_.pack(w, floats_at(packed, 0), tables_, context);
            }
            // Rows of the columns are (channel, row, column) of the filters in one number: only dense filters have a stride for it.
            const Conv2dProblem &p = problem_;
            const int64_t c = p.in_channels / p.groups, taps = p.filter_height * p.filter_width;
            StridedIn dense = w;
            if (w.s[3] != 1 || w.s[2] != p.filter_width || w.s[1] != taps) {
                const StridedOut copy = {floats_at(workspace, 0), {c * taps, taps, p.filter_width, 1}};
                if (!device_finish(device_, w, {p.filter_height, p.filter_width}, c, p.out_channels, tables_.floats(zeros_), StridedIn{}, KernelPostOp{}, copy, context)) {
                    return false;
                }
                dense = {copy.data, {copy.s[0], copy.s[1], copy.s[2], copy.s[3]}};
            }
            // As filters of a 1x1 problem with channels and outputs exchanged.
            const StridedIn exchanged = {dense.data, {1, dense.s[0], 1, 1}};
            return packer_.pack_groups(exchanged, (p.out_channels / p.groups) * dense.s[0], floats_at(packed, 0), tables_, context);
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) { return gradient_ ? data_gradient(t, packed, workspace, context) : convolve(t, packed, workspace, context); });
    }

private:
    /// A 1x1 problem whose filters are those of the gradient's product.
    Conv2dProblem product_of_gradient() const {
        Conv2dProblem q;
        q.in_channels = problem_.out_channels;
        q.out_channels = rows_of_columns_;
        q.groups = problem_.groups;
        return q;
    }

    bool convolve(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        float *const padded = floats_at(workspace, padded_offset_), *const columns = floats_at(workspace, columns_offset_);
        if (pad_.needed() && !pad_.run(t.input, padded, context)) {
            return false;
        }
        const StridedIn x = pad_.needed() ? pad_.view(padded) : t.input;
        const ImplicitStage::Image size = {p.out_height(), p.out_width()};
        for (int64_t n = 0; n < p.batch; n += images_) {
            const int64_t images = std::min(images_, p.batch - n);
            StridedIn from = x, residual = t.residual;
            StridedOut to = t.output;
            from.data += n * x.s[0];
            to.data += n * to.s[0];
            residual.data += residual.data != nullptr ? n * residual.s[0] : 0;
            if (!unfold(from, columns_view(columns), images, context) ||
                !stage_.run(packer_.view(floats_at(packed, 0), true), columns_as_image(columns), size, tables_.ints(origin_), tables_.ints(origin_), 0.0f, 1, 1, t.bias != nullptr ? t.bias : tables_.floats(zeros_), residual, post_, to, size, images, context)) {
                return false;
            }
        }
        return true;
    }

    bool data_gradient(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        float *const columns = floats_at(workspace, columns_offset_), *const folded = floats_at(workspace, folded_offset_), *const padded = floats_at(workspace, padded_offset_);
        const StridedOut whole = fold_.needed() ? fold_.view(padded) : StridedOut{folded, {p.in_channels * p.in_height * p.in_width, p.in_height * p.in_width, p.in_width, 1}};
        const ImplicitStage::Image size = {p.out_height(), p.out_width()};
        const StridedIn as_image = columns_as_image(columns);
        const StridedOut product = {columns, {as_image.s[0], as_image.s[1], as_image.s[2], as_image.s[3]}};
        const StridedOut view = columns_view(columns);
        for (int64_t n = 0; n < p.batch; n += images_) {
            const int64_t images = std::min(images_, p.batch - n);
            StridedIn from = t.input;
            StridedOut to = whole;
            from.data += n * from.s[0];
            to.data += n * to.s[0];
            if (!stage_.run(packer_.view(floats_at(packed, 0)), from, size, tables_.ints(origin_), tables_.ints(origin_), 0.0f, 1, 1, tables_.floats(row_zeros_), StridedIn{}, KernelPostOp{}, product, size, images, context) ||
                !fold({columns, {view.s[0], view.s[1], view.s[2], view.s[3]}}, to, images, context)) {
                return false;
            }
        }
        const float *const bias = t.bias != nullptr ? t.bias : tables_.floats(zeros_);
        if (fold_.needed()) {
            return fold_.run(padded, tables_, bias, post_, t, context);
        }
        const StridedIn sums = {folded, {whole.s[0], whole.s[1], whole.s[2], whole.s[3]}};
        return device_finish(device_, sums, {p.in_height, p.in_width}, p.in_channels, p.batch, bias, t.residual, post_, t.output, context);
    }

    const bool gradient_;
    const int64_t m_;
    const size_t row_zeros_ = tables_.add_zeros(static_cast<size_t>(rows_of_columns_));
    const DeviceFilterPacker packer_;
    ImplicitStage stage_{};
    int64_t images_ = 1;
    size_t padded_offset_ = 0, folded_offset_ = 0, columns_offset_ = 0;
};

/// bwd-filters: the columns of all images, multiplied with the gradient of the output.
class DeviceIm2colFilterGradientPlan final : public DeviceColumnsBase {
public:
    DeviceIm2colFilterGradientPlan(const PlanRequest &request, const Variant &kernel)
        : DeviceColumnsBase(request), stage_(device_, kernel, problem_, tables_) {
        variant = choice = kernel.name;
    }

    Status block(size_t workspace_limit) {
        constexpr double most = 64 << 20;
        for (double floats : {most, 0.0}) {
            Arena arena;
            padded_offset_ = arena.reserve_floats(pad_.floats());
            parts_offset_ = arena.reserve_floats(stage_.lay_out(floats));
            columns_offset_ = arena.reserve_floats(static_cast<double>(problem_.batch) * static_cast<double>(rows_of_columns_) * static_cast<double>(pixels_));
            workspace_bytes = serial_workspace_bytes = arena.bytes();
            if (workspace_bytes <= workspace_limit) {
                break;
            }
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        const DeviceModel model(device_.info());
        serial_seconds = predicted_seconds = stage_.seconds(model) + 3.0 * static_cast<double>(workspace_bytes) / model.bytes_per_second + 5 * model.launch_seconds;
        details = "columns of all images; " + stage_.text();
        Status status = images_within_reach();
        return status.ok() ? stage_.within_reach() : status;
    }

    Status prepare() override {
        return prepare_tables();
    }
    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const override {
        return Status();
    }
    Status forward(const ForwardTensors &, const std::byte *, std::byte *, const Execution &) const override {
        return Status(StatusCode::kInternal, "a plan of bwd-filters was asked for images");
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        float *const padded = floats_at(workspace, padded_offset_), *const columns = floats_at(workspace, columns_offset_);
        return on_device(execution, [&](KernelContext &context) {
            if (pad_.needed() && !pad_.run(t.input, padded, context)) {
                return false;
            }
            return unfold(pad_.needed() ? pad_.view(padded) : t.input, columns_view(columns), problem_.batch, context) &&
                   stage_.run(columns_as_image(columns), {problem_.out_height(), problem_.out_width()}, tables_.ints(origin_), tables_.ints(origin_), 0.0f, true, t, floats_at(workspace, parts_offset_), tables_, context);
        });
    }

private:
    FilterGradientStage stage_;
    size_t padded_offset_ = 0, parts_offset_ = 0, columns_offset_ = 0;
};

/// unfold and fold.
class DeviceColumnsPlan final : public DeviceColumnsBase {
public:
    DeviceColumnsPlan(const PlanRequest &request, const Variant &kernel)
        : DeviceColumnsBase(request), unfolds_(problem_.operation == Operation::kUnfold) {
        variant = choice = kernel.name;
    }

    Status block(size_t workspace_limit) {
        Arena arena;
        padded_offset_ = arena.reserve_floats(unfolds_ ? pad_.floats() : fold_.floats());
        workspace_bytes = serial_workspace_bytes = arena.bytes();
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        const DeviceModel model(device_.info());
        serial_seconds = predicted_seconds = 8.0 * static_cast<double>(problem_.column_elements()) / model.bytes_per_second + model.launch_seconds;
        details = "one launch for all images";
        return images_within_reach();
    }

    Status prepare() override {
        return prepare_tables();
    }
    Status pack(const StridedIn &, std::byte *, std::byte *, const Execution &) const override {
        return Status();
    }

    Status forward(const ForwardTensors &t, const std::byte *, std::byte *workspace, const Execution &execution) const override {
        float *const padded = floats_at(workspace, padded_offset_);
        return on_device(execution, [&](KernelContext &context) {
            if (unfolds_) {
                return (!pad_.needed() || pad_.run(t.input, padded, context)) && unfold(pad_.needed() ? pad_.view(padded) : t.input, t.output, problem_.batch, context);
            }
            if (!fold_.needed()) {
                return fold(t.input, t.output, problem_.batch, context);
            }
            return fold(t.input, fold_.view(padded), problem_.batch, context) && fold_.run(padded, tables_, tables_.floats(zeros_), post_, t, context);
        });
    }

private:
    const bool unfolds_;
    size_t padded_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_im2col(const PlanRequest &request) {
    return best_device_variant<DeviceIm2colPlan>(request, "conv_implicit", [&](const Variant &kernel, const auto &consider) {
        if (has_parameter(kernel, "form=forward")) {
            consider(std::make_unique<DeviceIm2colPlan>(request, kernel));
        }
    });
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_im2col(const PlanRequest &request) {
    return best_device_variant<DeviceIm2colFilterGradientPlan>(request, "filter_gradient", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DeviceIm2colFilterGradientPlan>(request, kernel));
    });
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_columns(const PlanRequest &request) {
    const char *stage = request.problem.operation == Operation::kUnfold ? "unfold_image" : "fold_image";
    return best_device_variant<DeviceColumnsPlan>(request, stage, [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<DeviceColumnsPlan>(request, kernel));
    });
}

}  // namespace fourfold
