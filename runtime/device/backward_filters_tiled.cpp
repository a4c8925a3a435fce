// bwd-filters on a GPU by transforms of tiles (runtime/backward_filters_tiled.cpp has the formulas): gy is cut into tiles that do not overlap,
// x into those that they meet, and per point of the transforms their products are summed over all tiles. That sum is the product of the
// forward plans, in which tiles are what is summed over, and input channels take the place of images. It is cut into parts, which occupy a
// GPU where channels are few; the parts are added before the inverse transforms, of one plane for each pair of channels.
//
//     fft_tiled   cut_planes -> spectra -> pack_planes of gy, backwards | cut_planes -> spectra of x -> spectral_product -> sum_parts
//                 -> planes -> join_planes
//     winograd    winograd_cut of x | winograd_gradient_pack of gy -> winograd_product -> winograd_gradient_join
#include <algorithm>
#include <utility>

#include "backward_filters.h"
#include "device/device_plan.h"
#include "device/plane_transforms.h"
#include "plane_layout.h"

namespace fourfold {
namespace {

constexpr int64_t kReach = (int64_t{1} << 29) - 1;  // floats that 32-bit indices of bytes reach

/// The tiles of some images in parts of `tiles` each; the last may have fewer.
struct Parts {
    int64_t count, tiles;
};

/// The most parts of so many tiles: at most `longest` to a part, and parts until about a thousand blocks are launched, of which each has `blocks`.
int64_t most_parts(int64_t tiles, int64_t longest, int64_t blocks) {
    return std::clamp<int64_t>(std::max(ceil_div(tiles, longest), 1024 / std::max<int64_t>(1, blocks)), 1, ceil_div(tiles, 64));
}

/// What both have: padding, some images and groups at a time, and the bias.
class DeviceTiledFilterGradient : public BackwardFiltersPlan {
public:
    Status block(size_t workspace_limit) {
        images_ = problem_.batch;
        while (!in_reach() && smaller()) {
        }
        if (!in_reach()) {
            return Status(StatusCode::kUnsupported, "the transformed tiles of one image, or the sums of their products, are 2^31 bytes or more, beyond a kernel call's reach");
        }
        if (Status status = bias_.within_reach(); !status.ok()) {
            return status;
        }
        // A quarter of the device's memory at most, where blocks can be smaller.
        const size_t comfortable = std::min(workspace_limit, device_.info().memory_bytes / 4);
        Status status = lay_out_all();
        while (status.ok() && workspace_bytes > comfortable && smaller()) {
            status = lay_out_all();
        }
        if (!status.ok()) {
            return status;
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        serial_workspace_bytes = workspace_bytes;
        serial_seconds = predicted_seconds = seconds(DeviceModel(device_.info()));
        details = text() + ", " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images and " + std::to_string(groups_) + " of " + std::to_string(problem_.groups) + " groups at a time" + (pad_.needed() ? "; padded first" : "");
        return Status();
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        status = status.ok() ? prepare_transforms() : status;
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status filter_gradient(const FilterGradientTensors &t, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            StridedIn x = t.input;
            if (pad_.needed()) {
                float *const padded = floats_at(workspace, padded_);
                if (!pad_.run(t.input, padded, context)) {
                    return false;
                }
                x = pad_.view(padded);
            }
            for (int64_t g = 0; g < problem_.groups; g += groups_) {
                for (int64_t n = 0; n < problem_.batch; n += images_) {
                    if (!run(x, t, workspace, n, std::min(images_, problem_.batch - n), g, std::min(groups_, problem_.groups - g), context)) {
                        return false;
                    }
                }
            }
            return t.grad_bias == nullptr || bias_.run(t, floats_at(workspace, bias_parts_), tables_, context);
        });
    }

protected:
    DeviceTiledFilterGradient(const PlanRequest &request, int64_t groups)
        : BackwardFiltersPlan(request), device_(*request.device), outputs_(problem_.out_channels / problem_.groups), groups_(groups), pad_(device_, problem_), bias_(device_, problem_, tables_) {
    }

    /// Whether kernel calls reach what images_ and groups_ in flight need.
    virtual bool in_reach() const = 0;
    virtual Status lay_out(Arena &arena) = 0;
    virtual double seconds(const DeviceModel &model) const = 0;
    virtual std::string text() const = 0;
    virtual Status prepare_transforms() {
        return Status();
    }
    /// Adds the gradient of some images to that of the images before, `first` of them.
    virtual bool run(const StridedIn &x, const FilterGradientTensors &t, std::byte *workspace, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const = 0;

    /// Of what tiles are cut from, and the padding before it that is not materialised.
    int64_t height() const {
        return pad_.height();
    }
    int64_t width() const {
        return pad_.width();
    }
    /// Images that one launch reaches, given the distances between them.
    static int64_t images_in_reach(int64_t stride, int64_t images) {
        return std::clamp<int64_t>(kReach / std::max<int64_t>(1, stride), 1, images);
    }

    DeviceRuntime &device_;
    const int64_t outputs_;  ///< of a group
    int64_t images_ = 1, groups_;  ///< in flight
    DeviceTables tables_;
    const DevicePad pad_;

private:
    bool smaller() {
        int64_t &many = images_ > 1 ? images_ : groups_;
        const bool can = many > 1;
        many = (many + 1) / 2;
        return can;
    }
    Status lay_out_all() {
        Arena arena;
        padded_ = arena.reserve_floats(pad_.floats());
        bias_parts_ = arena.reserve_floats(bias_.floats());
        Status status = lay_out(arena);
        workspace_bytes = arena.bytes();
        return status;
    }

    const BiasGradientStage bias_;
    size_t padded_ = 0, bias_parts_ = 0;
};

class DeviceFftTiledFilterGradient final : public DeviceTiledFilterGradient {
public:
    /// Tiles of t x t; without `library`, by our own transforms.
    DeviceFftTiledFilterGradient(const PlanRequest &request, const Variant &product, const AxisLayout &rows, const AxisLayout &columns, int64_t t, std::unique_ptr<PlaneTransforms> library)
        : DeviceTiledFilterGradient(request, request.problem.groups), product_(product), cut_(device_variant(device_, "cut_planes")), join_(device_variant(device_, "join_planes")), pack_(device_variant(device_, "pack_planes")), sum_(device_variant(device_, "sum_parts")), rows_(rows), columns_(columns), t_(t), advance_y_(t - rows.taps.shift_max), advance_x_(t - columns.taps.shift_max), tiles_y_(ceil_div(problem_.out_height(), advance_y_)), tiles_x_(ceil_div(problem_.out_width(), advance_x_)), n_tile_(product.parameter("n", 1)), k_tile_(product.parameter("k", 1)), lanes_(product.parameter("l", 32)), phases_(static_cast<int64_t>(rows.taps.phases.size() * columns.taps.phases.size())), channels_(problem_.in_channels / problem_.groups * phases_), rows_of_sums_(round_up(channels_, n_tile_)), blocks_(ceil_div(outputs_, k_tile_)), transforms_(library != nullptr ? std::move(library) : generated_transforms(device_, t, t, tables_)), frequency_blocks_(ceil_div(transforms_->frequencies(), lanes_)), plane_(2 * lanes_ * frequency_blocks_), zeros_(tables_.add_zeros(static_cast<size_t>(problem_.out_channels))) {
        variant = product.name;
        choice = variant + " transforms=" + transforms_->name() + " t=" + std::to_string(t);
        layout = "fft_tiled";
    }

private:
    int64_t tiles(int64_t images) const {
        return images * tiles_y_ * tiles_x_;
    }
    /// Whatever part of the images and groups in flight there are: memory is for these.
    int64_t most() const {
        // The parts of one group are one launch, those of several a launch each.
        const int64_t blocks = ceil_div(outputs_, 4 * k_tile_) * ceil_div(channels_, n_tile_) * frequency_blocks_;
        return most_parts(tiles(images_), kImagesOfASum, groups_ > 1 ? 1024 : blocks);
    }
    Parts parts(int64_t images) const {
        const int64_t each = ceil_div(tiles(images), most());
        return {ceil_div(tiles(images), each), each};
    }
    /// Planes of x, of gy and of the sums of a part.
    int64_t x_planes(int64_t images, int64_t groups) const {
        return tiles(images) * groups * channels_;
    }
    int64_t g_planes(int64_t images, int64_t groups) const {
        return tiles(images) * groups * outputs_;
    }
    int64_t sum_planes(int64_t groups) const {
        return groups * rows_of_sums_ * outputs_;
    }
    /// Floats of a frequency of one of gy's packed tiles, k_tile_ channels of it.
    int64_t pack_step() const {
        return 2 * lanes_ * k_tile_;
    }
    double packed_floats() const {
        return static_cast<double>(frequency_blocks_ * pack_step()) * static_cast<double>(groups_ * blocks_) * static_cast<double>(tiles(images_));
    }

    bool in_reach() const override {
        const double planes = std::max({static_cast<double>(x_planes(images_, groups_) + n_tile_), static_cast<double>(g_planes(images_, groups_)), static_cast<double>(most()) * static_cast<double>(sum_planes(groups_))});
        return std::max(planes * static_cast<double>(plane_), packed_floats()) <= static_cast<double>(kReach);
    }

    using Batch = PlaneTransforms::Batch;
    /// All of an execution, with the rest of the images and of the groups.
    std::vector<Batch> batches() const {
        std::vector<Batch> list;
        for (const int64_t groups : {groups_, problem_.groups % groups_}) {
            for (const int64_t images : {images_, problem_.batch % images_}) {
                if (groups > 0 && images > 0) {
                    list.push_back({false, x_planes(images, groups), plane_});
                    list.push_back({false, g_planes(images, groups), plane_});
                    list.push_back({true, sum_planes(groups), plane_});
                }
            }
        }
        return list;
    }

    Status lay_out(Arena &arena) override {
        size_t scratch = 0;
        for (const Batch &batch : batches()) {
            const Result<size_t> bytes = transforms_->scratch_bytes(batch);
            if (!bytes) {
                return bytes.status();
            }
            scratch = std::max(scratch, *bytes);
        }
        const double plane = static_cast<double>(plane_);
        // The product reads whole register tiles of channels.
        const int64_t planes = std::max({x_planes(images_, groups_) + n_tile_, g_planes(images_, groups_), sum_planes(groups_)});
        a_ = arena.reserve_floats(static_cast<double>(planes) * plane);
        b_ = arena.reserve(static_cast<double>(std::max(scratch, transforms_->in_place() ? 0 : static_cast<size_t>((x_planes(images_, groups_) + n_tile_) * plane_) * sizeof(float))));
        packed_ = arena.reserve_floats(packed_floats());
        sums_ = arena.reserve_floats(static_cast<double>(most()) * static_cast<double>(sum_planes(groups_)) * plane);
        return Status();
    }

    Status prepare_transforms() override {
        Status status;
        for (const Batch &batch : batches()) {
            status = status.ok() ? transforms_->prepare(batch) : status;
        }
        return status;
    }

    double seconds(const DeviceModel &model) const override {
        const double plane = static_cast<double>(plane_), groups = static_cast<double>(problem_.groups), all = static_cast<double>(tiles(problem_.batch)) * groups;
        const double rounds = static_cast<double>(ceil_div(problem_.batch, images_)), launches = rounds * static_cast<double>(ceil_div(problem_.groups, groups_));
        const double sums = rounds * groups * static_cast<double>(rows_of_sums_ * outputs_), planes = all * static_cast<double>(channels_ + outputs_);
        const double passes = static_cast<double>(transforms_->passes() + 1), parts_of = static_cast<double>(most());
        // A pass reads and writes; cut and join are half of one each, packing and adding up the parts whole ones.
        const double bytes = 8.0 * plane * (planes * passes + all * static_cast<double>(outputs_) + sums * (passes + parts_of));
        const double flops = 4.0 * plane * all * static_cast<double>(rows_of_sums_ * blocks_ * k_tile_), tile = static_cast<double>(n_tile_ * k_tile_);
        const double product = std::max(flops / (model.flops * 0.7 * tile / (tile + static_cast<double>(n_tile_ + k_tile_))), 4.0 * plane * planes / model.bytes_per_second);
        return bytes / model.bytes_per_second + product + launches * static_cast<double>(3 * transforms_->passes() + 2 * phases_ + 4) * model.launch_seconds;
    }

    std::string text() const override {
        const Parts p = parts(images_);
        return "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(advance_y_) + "x" + std::to_string(advance_x_) + ", " + transforms_->name() + ", " + std::to_string(tiles_y_) + "x" + std::to_string(tiles_x_) + " an image, summed in " + std::to_string(p.count) + " parts of " + std::to_string(p.tiles) + ", " + std::to_string(phases_) + " phases";
    }

    bool run(const StridedIn &x, const FilterGradientTensors &t, std::byte *workspace, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const override {
        float *const a = floats_at(workspace, a_), *const b = floats_at(workspace, b_), *const packed = floats_at(workspace, packed_), *const sums = floats_at(workspace, sums_);
        const Parts parts = this->parts(images);
        if (!cut_gradients(t.grad_output, a, first, images, g, groups, context)) {
            return false;
        }
        const float *spectra = transforms_->forward(a, b, g_planes(images, groups), plane_, context);
        if (spectra == nullptr || !pack(spectra, packed, tiles(images), groups, context) || !cut_images(x, a, first, images, g, groups, context)) {
            return false;
        }
        spectra = transforms_->forward(a, b, x_planes(images, groups), plane_, context);
        if (spectra == nullptr || !multiply(spectra, packed, sums, tiles(images), parts, groups, context)) {
            return false;
        }
        float *sum = sums;
        if (parts.count > 1) {
            // As gradients of filters of one row of so many columns.
            sum = a;
            const int64_t planes = sum_planes(groups);
            const Floats<3> all(sums, {{plane_, 1}, {planes, plane_}, {parts.count, planes * plane_}});
            if (!call(sum_, context, all, int32_t{0}, Floats<4>(sum, {{plane_, 1}, {1, plane_}, {1, plane_}, {planes, plane_}}))) {
                return false;
            }
        }
        const float *planes = transforms_->inverse(sum, b, sum_planes(groups), plane_, context);
        return planes != nullptr && join(t.grad_filters, planes, first > 0, g, groups, context);
    }

    /// Tiles of gy in the order in which x meets them from the end: row advance_y_ - 1 - y of a tile at y.
    bool cut_gradients(const StridedIn &gy, float *planes, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t channels = groups * outputs_, together = images_in_reach(gy.s[0], images);
        const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
        for (int64_t n = 0; n < images; n += together) {
            const int64_t now = std::min(together, images - n);
            const Floats<4> from(gy.data + (first + n) * gy.s[0] + g * outputs_ * gy.s[1], {{p.out_width(), gy.s[3]}, {p.out_height(), gy.s[2]}, {channels, gy.s[1]}, {now, gy.s[0]}});
            const Floats<4> to(planes + tiles(n) * channels * plane_, {{t_, 1}, {t_, transforms_->row_floats()}, {channels, plane_}, {tiles(now), channels * plane_}});
            if (!call(cut_, context, from, i32(tiles_x_), i32(tiles_y_), i32(-advance_x_), i32(-advance_y_), int32_t{-1}, int32_t{-1}, i32(advance_x_ - 1), i32(advance_y_ - 1), i32(advance_x_), i32(advance_y_), 0.0f, to)) {
                return false;
            }
        }
        return true;
    }

    bool cut_images(const StridedIn &x, float *planes, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t per_group = p.in_channels / p.groups, channels = groups * per_group, across = static_cast<int64_t>(columns_.taps.phases.size()), together = images_in_reach(x.s[0], images);
        const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
        for (int64_t n = 0; n < images; n += together) {
            const int64_t now = std::min(together, images - n);
            const Floats<4> from(x.data + (first + n) * x.s[0] + g * per_group * x.s[1], {{width(), x.s[3]}, {height(), x.s[2]}, {channels, x.s[1]}, {now, x.s[0]}});
            for (int64_t phase = 0; phase < phases_; phase++) {
                const int64_t top = rows_.taps.phases[static_cast<size_t>(phase / across)] - pad_.top(), left = columns_.taps.phases[static_cast<size_t>(phase % across)] - pad_.left();
                const Floats<4> to(planes + (tiles(n) * channels * phases_ + phase) * plane_, {{t_, 1}, {t_, transforms_->row_floats()}, {channels, phases_ * plane_}, {tiles(now), channels * phases_ * plane_}});
                if (!call(cut_, context, from, i32(tiles_x_), i32(tiles_y_), i32(advance_x_), i32(advance_y_), i32(p.stride_w), i32(p.stride_h), i32(left), i32(top), i32(t_), i32(t_), pad_.value(), to)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// Spectra of gy's tiles in the order of reading, one launch where blocks of channels end with their groups.
    bool pack(const float *spectra, float *packed, int64_t tiles, int64_t groups, KernelContext &context) const {
        const int64_t block = tiles * pack_step(), together = outputs_ % k_tile_ == 0 ? groups : 1;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(t_) * static_cast<double>(t_)));
        for (int64_t g = 0; g < groups; g += together) {
            const Floats<4> from(spectra + g * outputs_ * plane_, {{2, 1}, {lanes_ * frequency_blocks_, 2}, {tiles, groups * outputs_ * plane_}, {together * outputs_, plane_}});
            const KernelBuffer<float, 6> to(packed + g * blocks_ * block, {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {tiles, pack_step()}, {together * blocks_, block}, {frequency_blocks_, groups * blocks_ * block}});
            if (!call(pack_, context, from, scale, to)) {
                return false;
            }
        }
        return true;
    }

    bool multiply(const float *x, const float *packed, float *sums, int64_t tiles, Parts parts, int64_t groups, KernelContext &context) const {
        const int64_t block = tiles * pack_step(), x_tile = groups * channels_ * plane_, of_group = rows_of_sums_ * outputs_ * plane_;
        // What the kernel has as groups: of one group all parts that are as long, of several the groups.
        const int64_t whole = tiles / parts.tiles;
        for (int64_t part = 0; part < parts.count;) {
            const int64_t length = std::min(parts.tiles, tiles - part * parts.tiles), together = groups == 1 && part < whole ? whole : 1;
            const int64_t count = groups == 1 ? together : groups;
            const Floats<5> in(x + part * parts.tiles * x_tile, {{2, 1}, {lanes_ * frequency_blocks_, 2}, {length, x_tile}, {count, groups == 1 ? parts.tiles * x_tile : channels_ * plane_}, {rows_of_sums_, plane_}});
            const KernelBuffer<float, 7> w(packed + part * parts.tiles * pack_step(), {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {length, pack_step()}, {blocks_, block}, {frequency_blocks_, groups * blocks_ * block}, {count, groups == 1 ? parts.tiles * pack_step() : blocks_ * block}});
            const Floats<5> out(sums + part * groups * of_group, {{2, 1}, {lanes_ * frequency_blocks_, 2}, {outputs_, plane_}, {count, of_group}, {rows_of_sums_, outputs_ * plane_}});
            if (!call(product_, context, in, w, out)) {
                return false;
            }
            part += together;
        }
        return true;
    }

    /// The taps of an axis that are a phase's: every step-th from the first on, whose shifts differ by as much.
    struct PhaseTaps {
        int64_t first = 0, count = 0, step = 1, shift = 0, shift_step = 1;

        PhaseTaps(const AxisTaps &taps, int64_t phase) {
            for (int64_t i = 0, last = 0; i < static_cast<int64_t>(taps.shift.size()); i++) {
                if (taps.phase[static_cast<size_t>(i)] != phase) {
                    continue;
                }
                const int64_t at = taps.shift[static_cast<size_t>(i)];
                if (count == 0) {
                    first = i;
                    shift = at;
                } else {
                    step = i - last;
                    shift_step = at - taps.shift[static_cast<size_t>(last)];
                }
                last = i;
                count++;
            }
        }
    };

    /// The taps of each phase from the planes of the sums to where the caller has them.
    bool join(const StridedOut &filters, const float *planes, bool adds, int64_t g, int64_t groups, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const int64_t *w = filters.s;
        const int64_t inputs = p.in_channels / p.groups, across = static_cast<int64_t>(columns_.taps.phases.size()), of_group = rows_of_sums_ * outputs_ * plane_;
        // One launch for all groups where their planes and filters follow each other by one distance.
        const bool single = outputs_ == 1, depthwise = inputs == 1 && rows_of_sums_ == 1;
        const int64_t together = single || depthwise ? groups : 1;
        for (int64_t phase = 0; phase < phases_; phase++) {
            const PhaseTaps r(rows_.taps, phase / across), s(columns_.taps, phase % across);
            const int64_t row = flip ? p.filter_height - 1 - r.first : r.first, column = flip ? p.filter_width - 1 - s.first : s.first, sign = flip ? -1 : 1;
            for (int64_t i = 0; i < groups; i += together) {
                const float *const begin = planes + i * of_group + phase * outputs_ * plane_ + (advance_y_ - 1 + r.shift) * transforms_->row_floats() + advance_x_ - 1 + s.shift;
                const int64_t count = together * outputs_, plane = single ? of_group : plane_;
                const Floats<4> from(begin, {{s.count, s.shift_step}, {r.count, r.shift_step * transforms_->row_floats()}, {count, plane}, {inputs, phases_ * outputs_ * plane_}});
                const Floats<4> to(filters.data + (g + i) * outputs_ * w[0] + row * w[2] + column * w[3], {{s.count, sign * s.step * w[3]}, {r.count, sign * r.step * w[2]}, {count, w[0]}, {inputs, w[1]}});
                const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
                if (!call(join_, context, from, int32_t{1}, int32_t{1}, i32(s.count), i32(r.count), Floats<1>(tables_.floats(zeros_), {{count, 1}}), to, int32_t{adds}, int32_t{0}, 0.0f, 0.0f, to)) {
                    return false;
                }
            }
        }
        return true;
    }

    const Variant &product_, &cut_, &join_, &pack_, &sum_;
    const AxisLayout rows_, columns_;
    const int64_t t_, advance_y_, advance_x_, tiles_y_, tiles_x_;  ///< tiles of an image
    const int64_t n_tile_, k_tile_, lanes_;  ///< of the product
    const int64_t phases_, channels_;        ///< of the stride; of a group, phases included
    const int64_t rows_of_sums_, blocks_;    ///< channels and outputs in register tiles
    const std::unique_ptr<PlaneTransforms> transforms_;
    const int64_t frequency_blocks_, plane_;
    const size_t zeros_;
    size_t a_ = 0, b_ = 0, packed_ = 0, sums_ = 0;
};

class DeviceWinogradFilterGradient final : public DeviceTiledFilterGradient {
public:
    DeviceWinogradFilterGradient(const PlanRequest &request, const Variant &product, const Variant &cut)
        : DeviceTiledFilterGradient(request, 1), product_(product), cut_(cut), m_(cut.parameter("m", 4)), pack_(device_variant(device_, "winograd_gradient_pack", "m=" + std::to_string(m_))), join_(device_variant(device_, "winograd_gradient_join", "m=" + std::to_string(m_))), t_(m_ + 2), points_(t_ * t_), tiles_y_(ceil_div(problem_.out_height(), m_)), tiles_x_(ceil_div(problem_.out_width(), m_)), channels_(problem_.in_channels / problem_.groups), warp_channels_(32 * product.parameter("r", 1)), width_(round_up(channels_, warp_channels_)), blocks_(ceil_div(outputs_, kWidth)) {
        variant = product.name;
        choice = std::string(cut.name) + " " + product.name;
        layout = "winograd m" + std::to_string(m_);
    }

private:
    static constexpr int64_t kWidth = 16;  ///< output channels of a thread

    /// As many for part of the images in flight as for all: memory is for these.
    Parts parts(int64_t images) const {
        // The product has sums of sums of its own. Two tiles of gy are packed by a warp.
        const int64_t of_image = tiles_y_ * tiles_x_, count = most_parts(images_ * of_image, kReach, points_ * ceil_div(blocks_, 4) * (width_ / warp_channels_));
        return {count, round_up(ceil_div(images * of_image, count), 2)};
    }
    /// Floats of the transformed tiles of x and of gy and of the sums.
    double x_floats(const Parts &p) const {
        return static_cast<double>(points_ * width_) * static_cast<double>(p.count * p.tiles);
    }
    double g_floats(const Parts &p) const {
        return static_cast<double>(points_ * blocks_ * kWidth) * static_cast<double>(p.count * p.tiles);
    }
    double sum_floats(const Parts &p) const {
        return static_cast<double>(points_ * p.count) * static_cast<double>(outputs_ * width_);
    }

    bool in_reach() const override {
        const Parts p = parts(images_);
        return std::max({x_floats(p), g_floats(p), sum_floats(p)}) <= static_cast<double>(kReach);
    }

    Status lay_out(Arena &arena) override {
        const Parts p = parts(images_);
        x_ = arena.reserve_floats(x_floats(p));
        g_ = arena.reserve_floats(g_floats(p));
        sums_ = arena.reserve_floats(sum_floats(p));
        return Status();
    }

    double seconds(const DeviceModel &model) const override {
        const Parts p = parts(images_);
        const double rounds = static_cast<double>(problem_.groups * ceil_div(problem_.batch, images_));
        const double flops = 2.0 * rounds * x_floats(p) * static_cast<double>(blocks_ * kWidth);
        // Transformed tiles and sums are written and read.
        const double bytes = 4.0 * (2.0 * rounds * (x_floats(p) + g_floats(p) + sum_floats(p)) + static_cast<double>(problem_.input_elements() + problem_.output_elements()) + 2.0 * pad_.floats());
        return std::max(flops / (0.5 * model.flops), 0.3 * bytes / model.bytes_per_second) + 0.7 * bytes / model.bytes_per_second + 4.0 * rounds * model.launch_seconds;
    }

    std::string text() const override {
        const Parts p = parts(images_);
        return "tiles of " + std::to_string(t_) + "x" + std::to_string(t_) + " that advance by " + std::to_string(m_) + ", " + std::to_string(tiles_y_) + "x" + std::to_string(tiles_x_) + " an image, summed in " + std::to_string(p.count) + " parts of " + std::to_string(p.tiles);
    }

    bool run(const StridedIn &x, const FilterGradientTensors &t, std::byte *workspace, int64_t first, int64_t images, int64_t g, int64_t, KernelContext &context) const override {
        // Views may spread images wider than their sizes say.
        const int64_t at_once = images_in_reach(std::max(x.s[0], t.grad_output.s[0]), images);
        for (int64_t n = first; n < first + images; n += at_once) {
            if (!run_some(x, t, workspace, n, std::min(at_once, first + images - n), g, context)) {
                return false;
            }
        }
        return true;
    }

    bool run_some(const StridedIn &x, const FilterGradientTensors &t, std::byte *workspace, int64_t first, int64_t images, int64_t g, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const Parts parts = this->parts(images);
        float *const v = floats_at(workspace, x_), *const packed = floats_at(workspace, g_), *const sums = floats_at(workspace, sums_);
        const auto tiles_x = static_cast<int32_t>(tiles_x_), tiles_y = static_cast<int32_t>(tiles_y_);
        const int64_t tiles = parts.count * parts.tiles, block = kWidth * parts.tiles, numbers = parts.count * blocks_;
        const StridedIn &gy = t.grad_output;
        // points [part][tile][channel] of x and [part][block of outputs][tile][output] of gy
        const Floats<4> image(x.data + first * x.s[0] + g * channels_ * x.s[1], {{width(), x.s[3]}, {height(), x.s[2]}, {channels_, x.s[1]}, {images, x.s[0]}});
        const Floats<4> cut(v, {{tiles, width_}, {width_, 1}, {t_, width_ * tiles}, {t_, t_ * width_ * tiles}});
        const Floats<4> gradient(gy.data + first * gy.s[0] + g * outputs_ * gy.s[1], {{p.out_width(), gy.s[3]}, {p.out_height(), gy.s[2]}, {outputs_, gy.s[1]}, {images, gy.s[0]}});
        const Floats<4> pack(packed, {{block, 1}, {numbers, block}, {t_, numbers * block}, {t_, t_ * numbers * block}});
        if (!call(cut_, context, image, tiles_x, tiles_y, static_cast<int32_t>(pad_.left()), static_cast<int32_t>(pad_.top()), pad_.value(), cut) || !call(pack_, context, gradient, tiles_x, tiles_y, pack)) {
            return false;
        }
        const int64_t products = points_ * parts.count;
        const Floats<4> factors(v, {{parts.tiles, width_}, {1, 0}, {width_, 1}, {products, width_ * parts.tiles}});
        const Floats<5> filters(packed, {{kWidth, 1}, {1, 0}, {parts.tiles, kWidth}, {blocks_, block}, {products, blocks_ * block}});
        const Floats<4> out(sums, {{outputs_, width_}, {1, 0}, {width_, 1}, {products, outputs_ * width_}});
        if (!call(product_, context, factors, filters, out)) {
            return false;
        }
        const bool flip = p.filter_mode == FilterMode::kConvolution;
        const int64_t *s = t.grad_filters.s, part = outputs_ * width_, point = parts.count * part, sign = flip ? -1 : 1;
        const Floats<5> in(sums, {{channels_, 1}, {outputs_, width_}, {parts.count, part}, {t_, point}, {t_, t_ * point}});
        const Floats<4> to(t.grad_filters.data + g * outputs_ * s[0] + (flip ? 2 * (s[2] + s[3]) : 0), {{channels_, s[1]}, {outputs_, s[0]}, {3, sign * s[3]}, {3, sign * s[2]}});
        return call(join_, context, in, to, int32_t{first > 0}, to);
    }

    const Variant &product_, &cut_;
    const int64_t m_;
    const Variant &pack_, &join_;
    const int64_t t_, points_, tiles_y_, tiles_x_;  ///< tiles of an image
    const int64_t channels_, warp_channels_, width_;  ///< of a group; of a warp of the product; in whole warps
    const int64_t blocks_;                            ///< of kWidth outputs
    size_t x_ = 0, g_ = 0, sums_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_fft_tiled(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const AxisLayout rows = AxisLayout::make(p.in_height, p.out_height(), p.filter_height, p.stride_h, p.dilation_h, p.pad_top, false, false);
    const AxisLayout columns = AxisLayout::make(p.in_width, p.out_width(), p.filter_width, p.stride_w, p.dilation_w, p.pad_left, false, false);
    if (Status status = device_tiles_hold(rows.taps.shift_max + 1, columns.taps.shift_max + 1); !status.ok()) {
        return status;
    }
    return best_device_variant<DeviceFftTiledFilterGradient>(request, "spectral_product", [&](const Variant &product, const auto &consider) {
        for (const int64_t t : kDeviceTiles) {
            if (t <= std::max(rows.taps.shift_max, columns.taps.shift_max)) {
                continue;
            }
            consider(std::make_unique<DeviceFftTiledFilterGradient>(request, product, rows, columns, t, nullptr));
            if (Result<std::unique_ptr<PlaneTransforms>> library = cufft_transforms(*request.device, t, t)) {
                consider(std::make_unique<DeviceFftTiledFilterGradient>(request, product, rows, columns, t, std::move(*library)));
            }
        }
    });
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_filter_gradient_winograd(const PlanRequest &request) {
    if (Status status = device_winograd_takes(request.problem); !status.ok()) {
        return status;
    }
    return best_device_variant<DeviceWinogradFilterGradient>(request, "winograd_product", [&](const Variant &product, const auto &consider) {
        for (const Variant *cut : device_variants_of(*request.device, "winograd_cut")) {
            if (product.parameter("v", 1) == 1 && has_parameter(*cut, "layout=channels")) {
                consider(std::make_unique<DeviceWinogradFilterGradient>(request, product, *cut));
            }
        }
    });
}

}  // namespace fourfold
