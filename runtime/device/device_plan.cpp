#include "device/device_plan.h"

#include <algorithm>
#include <cstring>

#include "fourfold/executor.h"
#include "registry.h"

namespace fourfold {

std::vector<const Variant *> device_variants_of(const DeviceRuntime &device, const char *stage) {
    std::vector<const Variant *> found;
    for (const DeviceVariant &v : device_variants()) {
        if (std::strcmp(v.target, device.target()) == 0 && std::strcmp(v.variant.stage, stage) == 0) {
            found.push_back(&v.variant);
        }
    }
    return found;
}

const Variant &device_variant(const DeviceRuntime &device, const char *stage, const std::string &parameters) {
    for (const Variant *v : device_variants_of(device, stage)) {
        if (parameters == v->parameters) {
            return *v;
        }
    }
    // The list holds every stage for every target; a test looks.
    static const Variant none{stage, Isa::kGeneric, "", "none", [](void **) { return 1; }, ""};
    return none;
}

Result<const Variant *> forced_device_variant(const PlanRequest &request, const char *stage) {
    const std::string &name = request.options.variant;
    if (name.empty()) {
        return static_cast<const Variant *>(nullptr);
    }
    for (const DeviceVariant &v : device_variants()) {
        if (name != v.variant.name) {
            continue;
        }
        if (std::strcmp(v.variant.stage, stage) != 0) {
            return Status(StatusCode::kUnsupported, "variant '" + name + "' belongs to stage " + v.variant.stage);
        }
        if (std::strcmp(v.target, request.device->target()) != 0) {
            return Status(StatusCode::kUnsupported, "variant '" + name + "' is for " + v.target + "; device '" + to_string(request.options.device) + "' runs " + request.device->target());
        }
        return &v.variant;
    }
    return Status(StatusCode::kInvalidArgument, "variant '" + name + "' is not in this build");
}

namespace {

template<typename T>
size_t append(std::vector<std::byte> &bytes, const std::vector<T> &values) {
    const size_t offset = bytes.size();
    bytes.resize(offset + (values.size() * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment);
    std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(T));
    return offset;
}

}  // namespace

size_t DeviceTables::add(const std::vector<int32_t> &values) {
    return append(bytes_, values);
}

size_t DeviceTables::add(const std::vector<float> &values) {
    return append(bytes_, values);
}

size_t DeviceTables::add_zeros(size_t floats) {
    return append(bytes_, std::vector<float>(floats, 0.0f));
}

Status DeviceTables::upload(DeviceRuntime &device) {
    Result<DeviceBuffer> memory = DeviceBuffer::allocate(device.info().device, bytes_.size());
    if (!memory) {
        return memory.status();
    }
    memory_ = std::move(*memory);
    Status status = device.copy_to_device(memory_.data(), bytes_.data(), bytes_.size(), nullptr);
    return status.ok() ? device.synchronize(nullptr) : status;
}

DeviceFilterPacker::DeviceFilterPacker(const DeviceRuntime &device, const Conv2dProblem &problem, int64_t m, DeviceTables &tables)
    : problem_(problem), variant_(device_variant(device, "pack_filters")), m_(m), taps_(problem.filter_height * problem.filter_width), channels_(problem.in_channels / problem.groups), blocks_(ceil_div(problem.out_channels / problem.groups, m)) {
    std::vector<int32_t> rows, columns;
    const bool flipped = problem.filter_mode == FilterMode::kConvolution;
    for (int64_t r = 0; r < problem.filter_height; r++) {
        for (int64_t s = 0; s < problem.filter_width; s++) {
            rows.push_back(static_cast<int32_t>(flipped ? problem.filter_height - 1 - r : r));
            columns.push_back(static_cast<int32_t>(flipped ? problem.filter_width - 1 - s : s));
        }
    }
    rows_ = tables.add(rows);
    columns_ = tables.add(columns);
}

size_t DeviceFilterPacker::packed_bytes() const {
    const double floats = static_cast<double>(m_ * taps_ * channels_) * static_cast<double>(blocks_ * problem_.groups);
    Arena arena;
    arena.reserve_floats(floats);
    return arena.bytes();
}

KernelBuffer<float, 5> DeviceFilterPacker::view(const float *packed) const {
    const int64_t block = m_ * taps_ * channels_;
    return {packed, {{m_, 1}, {taps_, m_}, {channels_, m_ * taps_}, {blocks_, block}, {problem_.groups, block * blocks_}}};
}

bool DeviceFilterPacker::pack(const StridedIn &w, float *packed, const DeviceTables &tables, KernelContext &context) const {
    const int64_t outputs = problem_.out_channels / problem_.groups;
    const KernelBuffer<float, 5> from(w.data, {{problem_.filter_width, w.s[3]}, {problem_.filter_height, w.s[2]}, {channels_, w.s[1]}, {outputs, w.s[0]}, {problem_.groups, w.s[0] * outputs}});
    const Ints<2> rows(tables.ints(rows_), {{taps_, 1}, {1, taps_}});
    const Ints<1> columns(tables.ints(columns_), {{taps_, 1}});
    return call(variant_, context, from, rows, columns, view(packed));
}

DevicePad::DevicePad(const DeviceRuntime &device, const Conv2dProblem &problem)
    : problem_(problem), variant_(nullptr), needed_(false), height_(problem.in_height + problem.pad_top + problem.pad_bottom), width_(problem.in_width + problem.pad_left + problem.pad_right) {
    const char *mode = nullptr;
    switch (problem.padding_mode) {
    case PaddingMode::kZeros:
    case PaddingMode::kConstant:
        break;
    case PaddingMode::kReflect:
        mode = "reflect";
        break;
    case PaddingMode::kSymmetric:
        mode = "symmetric";
        break;
    case PaddingMode::kReplicate:
        mode = "replicate";
        break;
    case PaddingMode::kCircular:
        mode = "circular";
        break;
    }
    needed_ = mode != nullptr && (height_ > problem.in_height || width_ > problem.in_width);
    if (needed_) {
        variant_ = &device_variant(device, "pad", std::string("mode=") + mode + " layout=nhwc");
    }
}

double DevicePad::floats() const {
    return needed_ ? static_cast<double>(problem_.batch * problem_.in_channels) * static_cast<double>(height_) * static_cast<double>(width_) : 0.0;
}

StridedIn DevicePad::view(const float *padded) const {
    return {padded, {problem_.in_channels * height_ * width_, height_ * width_, width_, 1}};
}

bool DevicePad::run(const StridedIn &input, float *padded, KernelContext &context) const {
    const StridedIn to = view(padded);
    for (int64_t n = 0; n < problem_.batch; n++) {
        const Floats<3> from(input.data + n * input.s[0], {{problem_.in_width, input.s[3]}, {problem_.in_height, input.s[2]}, {problem_.in_channels, input.s[1]}});
        const Floats<3> out(padded + n * to.s[0], {{width_, 1}, {height_, width_}, {problem_.in_channels, to.s[1]}});
        if (!call(*variant_, context, from, int32_t{1}, int32_t{1}, static_cast<int32_t>(-problem_.pad_left), static_cast<int32_t>(-problem_.pad_top), problem_.padding_value, out)) {
            return false;
        }
    }
    return true;
}

bool device_crop(const DeviceRuntime &device, const Conv2dProblem &problem, const float *dense, const int64_t strides[4], const float *bias, const ForwardTensors &t, KernelContext &context) {
    const Variant &variant = device_variant(device, "crop", "layout=nhwc");
    const KernelPostOp post = kernel_post_op(problem);
    const int64_t width = problem.out_width(), height = problem.out_height(), channels = problem.out_channels;
    for (int64_t n = 0; n < problem.batch; n++) {
        const Floats<3> from(dense + n * strides[0], {{width, strides[3]}, {height, strides[2]}, {channels, strides[1]}});
        const Floats<1> biases(bias, {{channels, 1}});
        const int64_t *s = t.output.s, *r = t.residual.s;
        const Floats<3> to(t.output.data + n * s[0], {{width, s[3]}, {height, s[2]}, {channels, s[1]}});
        const Floats<3> residual(t.residual.data + n * r[0], {{width, r[3]}, {height, r[2]}, {channels, r[1]}});
        const bool adds = t.residual.data != nullptr;
        if (!call(variant, context, from, biases, adds ? residual : to, int32_t{adds}, 1.0f, post.kind, post.lo, post.hi, to)) {
            return false;
        }
    }
    return true;
}

DeviceModel::DeviceModel(const DeviceInfo &info) {
    // Per compute unit, about what GPUs of the last years do: 128 FMAs a cycle at 1.5 GHz, 25 GB/s of memory.
    const double units = std::max(1, info.compute_units);
    flops = units * 128 * 2 * 1.5e9;
    bytes_per_second = units * 25e9;
    launch_seconds = 3e-6;
}

Status compile_modules(AlgorithmPlan &plan, DeviceRuntime &device, const Conv2dProblem &problem) {
    // Far from 0, where a null pointer would mean something, and from the end of the address space.
    const auto nowhere = [](int i) { return reinterpret_cast<float *>(uintptr_t{1} << (40 + i)); };
    const Execution execution = {default_executor(), nullptr, &device, nullptr, true};
    const int64_t k = problem.out_channels, c = problem.in_channels / problem.groups, f = problem.filter_height * problem.filter_width;
    if (plan.packed_bytes > 0) {
        const StridedIn filters = {nowhere(0), {c * f, f, problem.filter_width, 1}};
        if (Status status = plan.pack(filters, reinterpret_cast<std::byte *>(nowhere(1)), reinterpret_cast<std::byte *>(nowhere(2)), execution); !status.ok()) {
            return status;
        }
    }
    ForwardTensors t;
    const bool last = problem.layout == Layout::kNhwc;
    const auto dense = [&](auto &view, int i, int64_t channels, int64_t height, int64_t width) {
        view.data = nowhere(i);
        const int64_t nchw[4] = {channels * height * width, height * width, width, 1}, nhwc[4] = {channels * height * width, 1, width * channels, channels};
        std::copy_n(last ? nhwc : nchw, 4, view.s);
    };
    const bool forward = problem.operation != Operation::kBackwardData;
    dense(t.input, 3, forward ? problem.in_channels : k, forward ? problem.in_height : problem.out_height(), forward ? problem.in_width : problem.out_width());
    dense(t.output, 4, forward ? k : problem.in_channels, forward ? problem.out_height() : problem.in_height, forward ? problem.out_width() : problem.in_width);
    if (problem.residual) {
        t.residual.data = nowhere(5);
        std::copy_n(t.output.s, 4, t.residual.s);
    }
    return plan.forward(t, reinterpret_cast<const std::byte *>(nowhere(1)), reinterpret_cast<std::byte *>(nowhere(2)), execution);
}

}  // namespace fourfold
