#include "device/device_plan.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "adjoint.h"
#include "fourfold/executor.h"
#include "geometry.h"

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

bool has_parameter(const Variant &variant, const char *parameter) {
    const size_t length = std::strlen(parameter);
    for (const char *at = std::strstr(variant.parameters, parameter); at != nullptr; at = std::strstr(at + 1, parameter)) {
        if ((at == variant.parameters || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' ')) {
            return true;
        }
    }
    return false;
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
    status = status.ok() ? device.synchronize(nullptr) : status;
    bytes_ = {};
    return status;
}

DeviceFilterPacker::DeviceFilterPacker(const DeviceRuntime &device, const Conv2dProblem &problem, bool exchanged, int64_t m, DeviceTables &tables)
    : problem_(problem), variant_(device_variant(device, "pack_filters")), exchanged_(exchanged), m_(m), taps_(problem.filter_height * problem.filter_width), channels_((exchanged ? problem.out_channels : problem.in_channels) / problem.groups), outputs_((exchanged ? problem.in_channels : problem.out_channels) / problem.groups), blocks_(ceil_div(outputs_, m)) {
    const bool flipped = problem.filter_mode == FilterMode::kConvolution;
    const auto [rows, columns] = DeviceTaps::add(
        tables, problem.filter_height, problem.filter_width, false, [&](int64_t r) { return flipped ? problem.filter_height - 1 - r : r; }, [&](int64_t s) { return flipped ? problem.filter_width - 1 - s : s; });
    rows_ = rows;
    columns_ = columns;
}

size_t DeviceFilterPacker::packed_bytes() const {
    Arena arena;
    arena.reserve_floats(static_cast<double>(m_ * taps_ * channels_) * static_cast<double>(blocks_ * problem_.groups));
    return arena.bytes();
}

KernelBuffer<float, 5> DeviceFilterPacker::view(const float *packed, bool taps_as_channels) const {
    const int64_t block = m_ * taps_ * channels_, taps = taps_as_channels ? 1 : taps_;
    return {packed, {{m_, 1}, {taps, m_}, {taps_ * channels_ / taps, m_ * taps}, {blocks_, block}, {problem_.groups, block * blocks_}}};
}

bool DeviceFilterPacker::pack(const StridedIn &w, float *packed, const DeviceTables &tables, KernelContext &context) const {
    return pack_groups(w, w.s[0] * (problem_.out_channels / problem_.groups), packed, tables, context);
}

bool DeviceFilterPacker::pack_groups(const StridedIn &w, int64_t group_stride, float *packed, const DeviceTables &tables, KernelContext &context) const {
    const int64_t channel = exchanged_ ? w.s[0] : w.s[1], output = exchanged_ ? w.s[1] : w.s[0];
    const KernelBuffer<float, 5> from(w.data, {{problem_.filter_width, w.s[3]}, {problem_.filter_height, w.s[2]}, {channels_, channel}, {outputs_, output}, {problem_.groups, group_stride}});
    const Ints<2> rows(tables.ints(rows_), {{taps_, 1}, {1, taps_}});
    const Ints<1> columns(tables.ints(columns_), {{taps_, 1}});
    return call(variant_, context, from, rows, columns, view(packed));
}

namespace {

/// The pad stage's name for the mode; null where places outside the image are a constant.
const char *repeating_mode(PaddingMode mode) {
    switch (mode) {
    case PaddingMode::kReflect:
        return "reflect";
    case PaddingMode::kSymmetric:
        return "symmetric";
    case PaddingMode::kReplicate:
        return "replicate";
    case PaddingMode::kCircular:
        return "circular";
    default:
        return nullptr;
    }
}

/// As many images at once as a launch can number and reach, given the distances between them.
int64_t images_at_once(std::initializer_list<int64_t> strides, int64_t groups, int64_t images) {
    const int64_t reach = ((int64_t{1} << 29) - 1) / std::max(int64_t{1}, std::max(strides));
    return std::clamp<int64_t>(std::min(reach, int64_t{65535} / std::min<int64_t>(groups, 65535)), 1, images);
}

/// (column, row, channel, image) of some images.
KernelBuffer<float, 4> images_of(const float *data, const int64_t s[4], ImplicitStage::Image size, int64_t channels, int64_t first, int64_t count) {
    return {data + first * s[0], {{size.width, s[3]}, {size.height, s[2]}, {channels, s[1]}, {count, s[0]}}};
}

/// (column, row, channel of the group, group, image) of some images.
KernelBuffer<float, 5> grouped(const float *data, const int64_t s[4], ImplicitStage::Image size, int64_t channels, int64_t groups, int64_t first, int64_t count) {
    return {data + first * s[0], {{size.width, s[3]}, {size.height, s[2]}, {channels, s[1]}, {groups, s[1] * channels}, {count, s[0]}}};
}

}  // namespace

DevicePad::DevicePad(const DeviceRuntime &device, const Conv2dProblem &problem)
    : problem_(problem), height_(problem.in_height), width_(problem.in_width) {
    const char *mode = repeating_mode(problem.padding_mode);
    needed_ = mode != nullptr && problem.pad_top + problem.pad_bottom + problem.pad_left + problem.pad_right > 0;
    if (needed_) {
        variant_ = &device_variant(device, "pad", std::string("mode=") + mode + " layout=nhwc");
        height_ += problem.pad_top + problem.pad_bottom;
        width_ += problem.pad_left + problem.pad_right;
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
        if (!call(*variant_, context, from, int32_t{1}, int32_t{1}, static_cast<int32_t>(-problem_.pad_left), static_cast<int32_t>(-problem_.pad_top), 0.0f, out)) {
            return false;
        }
    }
    return true;
}

DeviceFoldPadding::DeviceFoldPadding(const DeviceRuntime &device, const Conv2dProblem &problem, DeviceTables &tables)
    : problem_(problem), variant_(device_variant(device, "fold_padding")), needed_(folds_padding(problem)), height_(problem.in_height), width_(problem.in_width) {
    if (!needed_) {
        return;
    }
    height_ += problem.pad_top + problem.pad_bottom;
    width_ += problem.pad_left + problem.pad_right;
    // For each pixel of an axis, the places of the padded axis that repeat it.
    const auto add = [&](int64_t before, int64_t size, int64_t padded, size_t &begin_at, size_t &list_at) {
        std::vector<std::vector<int32_t>> places(static_cast<size_t>(size));
        for (int64_t i = 0; i < padded; i++) {
            places[static_cast<size_t>(padding_source(problem.padding_mode, i - before, size))].push_back(static_cast<int32_t>(i));
        }
        std::vector<int32_t> begin = {0}, list;
        for (const std::vector<int32_t> &place : places) {
            list.insert(list.end(), place.begin(), place.end());
            begin.push_back(static_cast<int32_t>(list.size()));
        }
        begin_at = tables.add(begin);
        list_at = tables.add(list);
        return static_cast<int64_t>(list.size());
    };
    row_count_ = add(problem.pad_top, problem.in_height, height_, row_begin_, row_);
    column_count_ = add(problem.pad_left, problem.in_width, width_, column_begin_, column_);
}

double DeviceFoldPadding::floats() const {
    return needed_ ? static_cast<double>(problem_.batch * problem_.in_channels) * static_cast<double>(height_) * static_cast<double>(width_) : 0.0;
}

StridedOut DeviceFoldPadding::view(float *padded) const {
    return {padded, {problem_.in_channels * height_ * width_, height_ * width_, width_, 1}};
}

bool DeviceFoldPadding::run(const float *padded, const DeviceTables &tables, const float *bias, const KernelPostOp &post, const ForwardTensors &t, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int64_t s[4] = {p.in_channels * height_ * width_, height_ * width_, width_, 1};
    const bool adds = t.residual.data != nullptr;
    const int64_t at_once = images_at_once({s[0], t.output.s[0], t.residual.s[0]}, 1, p.batch);
    for (int64_t n = 0; n < p.batch; n += at_once) {
        const int64_t images = std::min(at_once, p.batch - n);
        const KernelBuffer<float, 4> from = images_of(padded, s, {height_, width_}, p.in_channels, n, images);
        const KernelBuffer<float, 4> to = images_of(t.output.data, t.output.s, {p.in_height, p.in_width}, p.in_channels, n, images);
        const KernelBuffer<float, 4> residual = images_of(adds ? t.residual.data : t.output.data, adds ? t.residual.s : t.output.s, {p.in_height, p.in_width}, p.in_channels, n, images);
        const Ints<1> row_begin(tables.ints(row_begin_), {{p.in_height + 1, 1}}), row(tables.ints(row_), {{row_count_, 1}}), column_begin(tables.ints(column_begin_), {{p.in_width + 1, 1}}), column(tables.ints(column_), {{column_count_, 1}});
        if (!call(variant_, context, from, row_begin, row, column_begin, column, Floats<1>(bias, {{p.in_channels, 1}}), residual, int32_t{adds}, post.kind, post.lo, post.hi, to)) {
            return false;
        }
    }
    return true;
}

bool ImplicitStage::run(const KernelBuffer<float, 5> &filters, const StridedIn &x, Image in, const int32_t *rows, const int32_t *columns, float value, int64_t step_h, int64_t step_w, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &y, Image out, int64_t images, KernelContext &context) const {
    const bool adds = residual.data != nullptr;
    const int64_t at_once = images_at_once({x.s[0], y.s[0], residual.s[0]}, groups, images);
    const auto blocks = static_cast<int32_t>(ceil_div(channels, channel_block()) * ceil_div(taps, tap_block()));
    for (int64_t n = 0; n < images; n += at_once) {
        const int64_t count = std::min(at_once, images - n);
        const Ints<1> tap_rows(rows, {{taps, 1}}), tap_columns(columns, {{taps, 1}});
        const KernelBuffer<float, 5> to = grouped(y.data, y.s, out, outputs, groups, n, count);
        const KernelBuffer<float, 5> more = adds ? grouped(residual.data, residual.s, out, outputs, groups, n, count) : grouped(y.data, y.s, out, outputs, groups, n, count);
        if (!call(*kernel, context, filters, grouped(x.data, x.s, in, channels, groups, n, count), tap_rows, tap_columns, Floats<2>(bias, {{outputs, 1}, {groups, outputs}}), more, int32_t{adds}, static_cast<int32_t>(step_h), static_cast<int32_t>(step_w), value, static_cast<int32_t>(channel_block()), static_cast<int32_t>(tap_block()), blocks, post.kind, post.lo, post.hi, to)) {
            return false;
        }
    }
    return true;
}

Status packed_within_reach(int64_t m, int64_t outputs, int64_t channels, int64_t taps, int64_t groups) {
    const double floats = static_cast<double>(round_up(outputs, m)) * static_cast<double>(channels * taps) * static_cast<double>(groups);
    return floats < static_cast<double>(1 << 29) ? Status() : Status(StatusCode::kUnsupported, "packed filters of 2^31 bytes or more are beyond a kernel call's reach");
}

Status ImplicitStage::within_grid() const {
    const int64_t m = kernel->parameter("m", 1);
    if (Status status = packed_within_reach(m, outputs, channels, taps, groups); !status.ok()) {
        return status;
    }
    const int64_t rows = ceil_div(outputs, m * kernel->parameter("w", 1));
    if (groups <= 65535 && rows <= 65535) {
        return Status();
    }
    return Status(StatusCode::kUnsupported, std::to_string(groups) + " groups of " + std::to_string(outputs) + " outputs need more blocks than a GPU's grid has with " + kernel->name);
}

double ImplicitStage::seconds(const DeviceModel &model, Image out, int64_t images, double bytes) const {
    const int64_t m = kernel->parameter("m", 1), n = kernel->parameter("n", 1);
    const double tiles = static_cast<double>(images * groups) * static_cast<double>(ceil_div(out.height * out.width, 32 * n)) * static_cast<double>(ceil_div(outputs, m));
    const double flops = tiles * 2.0 * static_cast<double>(32 * n * m) * static_cast<double>(channels * taps);
    // A step of a thread: m*n multiplications, n loads of x with their checks, m of filters.
    const double efficiency = 0.8 * static_cast<double>(m * n) / static_cast<double>(m * n + 2 * n + m);
    return std::max(flops / (model.flops * efficiency), bytes / model.bytes_per_second) + model.launch_seconds;
}

std::string ImplicitStage::text() const {
    return std::to_string(kernel->parameter("m", 1)) + " output channels x " + std::to_string(kernel->parameter("n", 1)) + " pixels a thread, " + std::to_string(32 * kernel->parameter("w", 1)) + " threads a block; partial sums of " + std::to_string(channel_block()) + " channels x " + std::to_string(tap_block()) + " taps";
}

bool PlaneStage::run(const KernelBuffer<float, 5> &filters, const StridedIn &x, ImplicitStage::Image in, int64_t top, int64_t left, float value, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &y, KernelContext &context) const {
    const Conv2dProblem &p = problem;
    const bool adds = residual.data != nullptr;
    const int64_t outputs = p.out_channels / p.groups, at_once = images_at_once({x.s[0], y.s[0], residual.s[0]}, p.groups, p.batch);
    const ImplicitStage::Image size = {p.out_height(), p.out_width()};
    const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
    for (int64_t n = 0; n < p.batch; n += at_once) {
        const int64_t images = std::min(at_once, p.batch - n);
        const KernelBuffer<float, 5> to = grouped(y.data, y.s, size, outputs, p.groups, n, images), more = grouped(adds ? residual.data : y.data, adds ? residual.s : y.s, size, outputs, p.groups, n, images);
        // A filter of one row or column has no dilation there.
        if (!call(*kernel, context, filters, images_of(x.data, x.s, in, p.groups, n, images), Floats<2>(bias, {{outputs, 1}, {p.groups, outputs}}), more, int32_t{adds}, i32(p.filter_width), i32(p.filter_height), i32(p.stride_h), i32(p.stride_w), i32(p.filter_height > 1 ? p.dilation_h : 1), i32(p.filter_width > 1 ? p.dilation_w : 1), i32(top), i32(left), value, post.kind, post.lo, post.hi, to)) {
            return false;
        }
    }
    return true;
}

double PlaneStage::shared_bytes() const {
    const Conv2dProblem &p = problem;
    const int64_t rows = static_cast<int64_t>(kernel->parameter("n", 1)) * kernel->parameter("w", 1);
    const auto reach = [](int64_t pixels, int64_t step, int64_t taps, int64_t dilation) { return static_cast<double>(pixels - 1) * static_cast<double>(step) + static_cast<double>(taps - 1) * static_cast<double>(dilation) + 1.0; };
    return sizeof(float) * reach(32, p.stride_w, p.filter_width, p.dilation_w) * reach(rows, p.stride_h, p.filter_height, p.dilation_h);
}

Status PlaneStage::within_limits() const {
    const int64_t m = kernel->parameter("m", 1), rows = ceil_div(problem.out_channels / problem.groups, m);
    if (problem.groups > 65535 || rows > 65535) {
        return Status(StatusCode::kUnsupported, std::to_string(problem.groups) + " groups of " + std::to_string(problem.out_channels / problem.groups) + " outputs need more blocks than a GPU's grid has with " + kernel->name);
    }
    if (const double bytes = shared_bytes(); bytes > static_cast<double>(most_shared)) {
        return Status(StatusCode::kUnsupported, "a block's part of the image takes " + std::to_string(static_cast<int64_t>(std::min(bytes, 1e18))) + " bytes of shared memory, of which there are " + std::to_string(most_shared));
    }
    return packed_within_reach(m, problem.out_channels / problem.groups, 1, problem.filter_height * problem.filter_width, problem.groups);
}

double PlaneStage::seconds(const DeviceModel &model, double bytes) const {
    const Conv2dProblem &p = problem;
    const int64_t m = kernel->parameter("m", 1), n = kernel->parameter("n", 1), rows = n * kernel->parameter("w", 1);
    const double blocks = static_cast<double>(p.batch * p.groups) * static_cast<double>(ceil_div(p.out_width(), 32) * ceil_div(p.out_height(), rows)) * static_cast<double>(ceil_div(p.out_channels / p.groups, m));
    const double flops = blocks * 2.0 * static_cast<double>(32 * rows * m) * static_cast<double>(p.filter_height * p.filter_width);
    // A step of a thread: m*n multiplications, n loads of the tile and m of the filters. Before that the tile comes from the cache.
    const double efficiency = 0.8 * static_cast<double>(m * n) / static_cast<double>(m * n + n + m);
    return std::max(flops / (model.flops * efficiency) + 0.2 * blocks * shared_bytes() / model.bytes_per_second, bytes / model.bytes_per_second) + model.launch_seconds;
}

std::string PlaneStage::text() const {
    const int n = kernel->parameter("n", 1), w = kernel->parameter("w", 1);
    return std::to_string(kernel->parameter("m", 1)) + " output channels x " + std::to_string(n) + " pixels a thread, blocks of 32x" + std::to_string(n * w) + " pixels with " + std::to_string(static_cast<int64_t>(shared_bytes())) + " bytes of the image in shared memory";
}

FilterGradientStage::FilterGradientStage(const DeviceRuntime &device, const Variant &kernel, const Conv2dProblem &problem, DeviceTables &tables)
    : problem_(problem), kernel_(kernel), sum_(device_variant(device, "sum_parts")), nowhere_(tables.add(std::vector<int32_t>{std::numeric_limits<int32_t>::min() / 4})) {
}

double FilterGradientStage::lay_out(double most) {
    const Conv2dProblem &p = problem_;
    // About a thousand terms a part, and more where there would be too many parts.
    rows_ = std::clamp<int64_t>(1024 / p.out_width(), 1, p.out_height());
    while (rows_ < p.out_height() && part_floats() * static_cast<double>(p.batch * ceil_div(p.out_height(), rows_)) > most) {
        rows_ = std::min(2 * rows_, p.out_height());
    }
    row_blocks_ = ceil_div(p.out_height(), rows_);
    images_ = std::clamp<int64_t>(static_cast<int64_t>(std::min(most / part_floats(), 1e9)) / row_blocks_, 1, p.batch);
    // Two running sums would take as much as the parts of the images that are left.
    if (static_cast<double>((p.batch - images_) * row_blocks_) <= 2 && part_floats() * static_cast<double>(p.batch * row_blocks_) < static_cast<double>(1 << 29)) {
        images_ = p.batch;
    }
    return part_floats() * static_cast<double>(images_ * row_blocks_ + (images_ < p.batch ? 2 : 0));
}

double FilterGradientStage::seconds(const DeviceModel &model) const {
    const Conv2dProblem &p = problem_;
    const int64_t m = kernel_.parameter("m", 1), lanes = kernel_.parameter("l", 1), sums = p.in_channels / p.groups * p.filter_height * p.filter_width;
    // A thread has a channel and tap to itself, 64 to a block, or shares its pixels with a warp, four to a block.
    const double threads = static_cast<double>(p.batch * p.groups * ceil_div(p.out_channels / p.groups, m)) * static_cast<double>(lanes == 1 ? round_up(sums, 64) : 32 * round_up(sums, 4));
    const double steps = static_cast<double>(p.out_height()) * static_cast<double>(lanes == 1 ? p.out_width() : ceil_div(p.out_width(), lanes));
    // A step: m multiplications, m loads of gy and one of x with its checks. Then each part's lanes are folded.
    const double folds = lanes == 1 ? 0.0 : static_cast<double>(12 * m * row_blocks_);
    return threads * (steps * static_cast<double>(2 * m + 2) + folds) * 2.0 / (0.8 * model.flops);
}

std::string FilterGradientStage::text() const {
    return std::to_string(kernel_.parameter("m", 1)) + " output channels a " + (kernel_.parameter("l", 1) == 1 ? "thread" : "warp") + ", " + std::to_string(problem_.batch * row_blocks_) + " parts" + (images_ < problem_.batch ? ", of " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images at a time" : "");
}

Status FilterGradientStage::within_reach() const {
    const double floats = part_floats() * static_cast<double>(images_ * row_blocks_ + (images_ < problem_.batch ? 1 : 0));
    return floats < static_cast<double>(1 << 29) ? Status() : Status(StatusCode::kUnsupported, "the gradient of these filters and a part of it are 2^31 bytes or more, beyond a kernel call's reach");
}

bool FilterGradientStage::launch(const StridedIn &gy, const StridedIn &x, ImplicitStage::Image in, int64_t first, int64_t count, int64_t channels, int64_t taps, const int32_t *rows, const int32_t *columns, int64_t step_h, int64_t step_w, float value, float *parts, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int64_t outputs = p.out_channels / p.groups, row = channels * taps, at_once = images_at_once({gy.s[0], x.s[0], row * p.out_channels * row_blocks_}, std::max(p.groups, p.groups * row_blocks_), count);
    for (int64_t n = 0; n < count; n += at_once) {
        const int64_t images = std::min(at_once, count - n);
        const Ints<1> tap_rows(rows, {{taps, 1}}), tap_columns(columns, {{taps, 1}});
        const Floats<4> out(parts + n * row_blocks_ * row * p.out_channels, {{row, 1}, {outputs, row}, {p.groups, row * outputs}, {images * row_blocks_, row * p.out_channels}});
        if (!call(kernel_, context, grouped(gy.data, gy.s, {p.out_height(), p.out_width()}, outputs, p.groups, first + n, images), grouped(x.data, x.s, in, channels, p.groups, first + n, images), tap_rows, tap_columns, static_cast<int32_t>(step_h), static_cast<int32_t>(step_w), static_cast<int32_t>(rows_), static_cast<int32_t>(row_blocks_), value, out)) {
            return false;
        }
    }
    return true;
}

template<typename LaunchParts, typename Total>
bool FilterGradientStage::sum(int64_t row, const LaunchParts &launch_parts, const Total &total, const KernelBuffer<float, 4> &result, bool flip, float *parts, KernelContext &context) const {
    // [running sum] [parts] [running sum]: each sum of some images' parts reads the running sum on one side and writes the other.
    const int64_t part = row * problem_.out_channels, room = images_ * row_blocks_;
    float *const before = parts, *const begin = images_ < problem_.batch ? parts + part : parts, *const after = begin + room * part;
    const float *running = nullptr;
    for (int64_t n = 0; n < problem_.batch; n += images_) {
        const int64_t images = std::min(images_, problem_.batch - n), terms = images * row_blocks_;
        float *const to = running == after ? after - terms * part : begin;
        if (!launch_parts(n, images, to)) {
            return false;
        }
        const Floats<3> all(running == before ? before : to, {{row, 1}, {problem_.out_channels, row}, {terms + (running != nullptr ? 1 : 0), part}});
        float *const next = running == before ? after : before;
        const bool last = n + images == problem_.batch;
        if (!(last ? call(sum_, context, all, int32_t{flip}, result) : call(sum_, context, all, int32_t{0}, total(next)))) {
            return false;
        }
        running = next;
    }
    return true;
}

bool FilterGradientStage::run(const StridedIn &x, ImplicitStage::Image in, const int32_t *rows, const int32_t *columns, float value, bool taps_as_channels, const FilterGradientTensors &t, float *parts, const DeviceTables &tables, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int64_t channels = p.in_channels / p.groups, taps = p.filter_height * p.filter_width, row = channels * taps;
    const auto filters_at = [&](float *data, int64_t s0, int64_t s1, int64_t s2, int64_t s3) { return Floats<4>(data, {{p.filter_width, s3}, {p.filter_height, s2}, {channels, s1}, {p.out_channels, s0}}); };
    const int64_t *s = t.grad_filters.s;
    const bool filters = sum(
        row, [&](int64_t first, int64_t count, float *to) { return launch(t.grad_output, x, in, first, count, taps_as_channels ? row : channels, taps_as_channels ? 1 : taps, rows, columns, taps_as_channels ? 1 : p.stride_h, taps_as_channels ? 1 : p.stride_w, value, to, context); },
        [&](float *at) { return filters_at(at, row, taps, p.filter_width, 1); }, filters_at(t.grad_filters.data, s[0], s[1], s[2], s[3]), p.filter_mode == FilterMode::kConvolution, parts, context);
    return filters && (t.grad_bias == nullptr || run_bias(x, in, t, parts, tables, context));
}

bool FilterGradientStage::run_bias(const StridedIn &x, ImplicitStage::Image in, const FilterGradientTensors &t, float *parts, const DeviceTables &tables, KernelContext &context) const {
    const Conv2dProblem &p = problem_;
    const int32_t *nowhere = tables.ints(nowhere_);
    const auto bias_at = [&](float *data) { return Floats<4>(data, {{1, 1}, {1, 1}, {1, 1}, {p.out_channels, 1}}); };
    return sum(
        1, [&](int64_t first, int64_t count, float *to) { return launch(t.grad_output, x, in, first, count, 1, 1, nowhere, nowhere, 1, 1, 1.0f, to, context); }, bias_at, bias_at(t.grad_bias), false, parts, context);
}

namespace {

/// The gradient of the bias alone, as FilterGradientStage sees it.
Conv2dProblem bias_problem(const Conv2dProblem &p) {
    Conv2dProblem q;
    q.operation = Operation::kBackwardFilters;
    q.batch = p.batch;
    q.in_channels = q.groups = p.groups;
    q.out_channels = p.out_channels;
    q.in_height = p.out_height();
    q.in_width = p.out_width();
    return q;
}

constexpr double kBiasParts = 1 << 20;  ///< floats

const Variant &fastest_bias_variant(const DeviceRuntime &device, const Conv2dProblem &problem) {
    const DeviceModel model(device.info());
    const Variant *best = nullptr;
    double least = 0.0;
    for (const Variant *variant : device_variants_of(device, "filter_gradient")) {
        DeviceTables tables;
        FilterGradientStage stage(device, *variant, problem, tables);
        stage.lay_out(kBiasParts);
        if (const double seconds = stage.seconds(model); best == nullptr || seconds < least) {
            best = variant;
            least = seconds;
        }
    }
    return *best;
}

}  // namespace

BiasGradientStage::BiasGradientStage(const DeviceRuntime &device, const Conv2dProblem &problem, DeviceTables &tables)
    : image_{problem.in_height, problem.in_width}, stage_(device, fastest_bias_variant(device, bias_problem(problem)), bias_problem(problem), tables), floats_(stage_.lay_out(kBiasParts)) {
}

bool device_finish(const DeviceRuntime &device, const StridedIn &in, ImplicitStage::Image size, int64_t channels, int64_t images, const float *bias, const StridedIn &residual, const KernelPostOp &post, const StridedOut &out, KernelContext &context) {
    const Variant &variant = device_variant(device, "crop", "layout=nhwc");
    for (int64_t n = 0; n < images; n++) {
        const auto planes = [&](const auto &view) { return Floats<3>(view.data + n * view.s[0], {{size.width, view.s[3]}, {size.height, view.s[2]}, {channels, view.s[1]}}); };
        const bool adds = residual.data != nullptr;
        const Floats<3> from = planes(in), to = planes(out), more = adds ? planes(residual) : planes(out);
        if (!call(variant, context, from, Floats<1>(bias, {{channels, 1}}), more, int32_t{adds}, 1.0f, post.kind, post.lo, post.hi, to)) {
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
    const Execution execution = {default_executor(), nullptr, &device, nullptr, &plan.modules};
    const int64_t k = problem.out_channels, c = problem.in_channels / problem.groups, f = problem.filter_height * problem.filter_width;
    if (plan.packed_bytes > 0) {
        // Dense, and with channels last, which may take a copy more.
        for (const StridedIn &filters : {StridedIn{nowhere(0), {c * f, f, problem.filter_width, 1}}, StridedIn{nowhere(0), {c * f, 1, problem.filter_width * c, c}}}) {
            if (Status status = plan.pack(filters, reinterpret_cast<std::byte *>(nowhere(1)), reinterpret_cast<std::byte *>(nowhere(2)), execution); !status.ok()) {
                return status;
            }
        }
    }
    const bool last = problem.layout == Layout::kNhwc;
    const auto dense = [&](auto &view, int i, int64_t channels, int64_t height, int64_t width) {
        view.data = nowhere(i);
        const int64_t nchw[4] = {channels * height * width, height * width, width, 1}, nhwc[4] = {channels * height * width, 1, width * channels, channels};
        std::copy_n(last ? nhwc : nchw, 4, view.s);
    };
    const auto image = [&](auto &view, int i) { dense(view, i, problem.in_channels, problem.in_height, problem.in_width); };
    const auto result = [&](auto &view, int i) { dense(view, i, k, problem.out_height(), problem.out_width()); };
    const auto columns = [&](auto &view, int i) {
        const int64_t pixels = problem.out_height() * problem.out_width();
        view = {nowhere(i), {problem.in_channels * f * pixels, f * pixels, pixels, 1}};
    };
    std::byte *const workspace = reinterpret_cast<std::byte *>(nowhere(2));
    if (problem.operation == Operation::kBackwardFilters) {
        FilterGradientTensors t;
        image(t.input, 3);
        result(t.grad_output, 4);
        t.grad_filters = {nowhere(5), {c * f, f, problem.filter_width, 1}};
        t.grad_bias = nowhere(6);
        return plan.filter_gradient(t, workspace, execution);
    }
    ForwardTensors t;
    switch (problem.operation) {
    case Operation::kBackwardData:
        result(t.input, 3);
        image(t.output, 4);
        break;
    case Operation::kUnfold:
        image(t.input, 3);
        columns(t.output, 4);
        break;
    case Operation::kFold:
        columns(t.input, 3);
        image(t.output, 4);
        break;
    default:
        image(t.input, 3);
        result(t.output, 4);
    }
    if (problem.residual) {
        t.residual.data = nowhere(5);
        std::copy_n(t.output.s, 4, t.residual.s);
    }
    return plan.forward(t, reinterpret_cast<const std::byte *>(nowhere(1)), workspace, execution);
}

}  // namespace fourfold
