// fft and fft_tiled on a GPU: cut -> spectra of (image, tile, channel, phase) planes -> product summed over channels per frequency ->
// planes of (image, tile, output channel) -> join. A plane is the whole image, or one of the tiles that it is cut into and whose
// first rows and columns are valid (overlap-save). Stages are launched for all planes in flight; the transforms are our own or
// cuFFT's, and with cuFFT the product of whole planes may be cuBLAS's: cuFFT then writes and reads spectra frequency by frequency, which
// makes them matrices. How a problem lies on the planes: plane_layout.h.
#include <algorithm>
#include <cmath>
#include <iterator>
#include <utility>

#include "device/device_plan.h"
#include "device/frequency_product.h"
#include "device/plane_transforms.h"
#include "plane_layout.h"
#include "registry.h"

namespace fourfold {
namespace {

constexpr int64_t kReach = (int64_t{1} << 29) - 1;  // floats that 32-bit indices of bytes reach

/// Images on planes of n0 x n1, and how many tiles of what advance an image has.
struct Layouts {
    AxisLayout rows, columns;
    int64_t n0, n1;
    int64_t tiles_y, tiles_x, advance_y, advance_x;
    bool tiled;  ///< fft_tiled
};

/// Which of an axis' filter rows lie at each place of the transform, phase by phase: (place, which of them), -1 for none.
struct Gather {
    int64_t most = 1;  ///< that meet at one place
    std::vector<int32_t> table;

    Gather(const std::vector<int32_t> &places, int64_t taps, int64_t n) {
        const int64_t phases = static_cast<int64_t>(places.size()) / taps;
        std::vector<std::vector<int32_t>> at(static_cast<size_t>(phases * n));
        for (int64_t i = 0; i < phases * taps; i++) {
            if (places[static_cast<size_t>(i)] >= 0) {
                at[static_cast<size_t>(i / taps * n + places[static_cast<size_t>(i)])].push_back(static_cast<int32_t>(i % taps));
            }
        }
        for (const std::vector<int32_t> &list : at) {
            most = std::max(most, static_cast<int64_t>(list.size()));
        }
        table.assign(static_cast<size_t>(phases * most * n), -1);
        for (int64_t i = 0; i < phases * n; i++) {
            const std::vector<int32_t> &list = at[static_cast<size_t>(i)];
            for (size_t k = 0; k < list.size(); k++) {
                table[static_cast<size_t>((i / n * most + static_cast<int64_t>(k)) * n + i % n)] = list[k];
            }
        }
    }
};

class DeviceFftPlan final : public AlgorithmPlan {
public:
    /// Without `library`, by our own transforms; with `matrices`, which needs it, by their product instead of the variant.
    DeviceFftPlan(const PlanRequest &request, const Variant &product, const Layouts &layouts, std::unique_ptr<PlaneTransforms> library, std::unique_ptr<FrequencyProduct> matrices = nullptr)
        : problem_(request.problem), device_(*request.device), product_(product), layouts_(layouts), rows_(layouts_.rows), columns_(layouts_.columns), cut_(device_variant(device_, "cut_planes")), join_(device_variant(device_, "join_planes")), gather_(device_variant(device_, "gather_filters")), pack_(device_variant(device_, "pack_planes")), post_(kernel_post_op(problem_)), pad_(device_, problem_), padded_(pad_.needed() && !rows_.cyclic), tiles_(layouts.tiles_y * layouts.tiles_x), matrices_(std::move(matrices)), n_tile_(matrices_ != nullptr ? 1 : product.parameter("n", 1)), k_tile_(matrices_ != nullptr ? 1 : product.parameter("k", 1)), lanes_(matrices_ != nullptr ? 1 : product.parameter("l", 32)), transforms_(library != nullptr ? std::move(library) : generated_transforms(device_, layouts.n0, layouts.n1, tables_)) {
        variant = matrices_ != nullptr ? matrices_->name() : product.name;
        choice = (matrices_ != nullptr ? "product=" : "") + variant + " transforms=" + transforms_->name() + (layouts.tiled ? " t=" + std::to_string(layouts.n0) : "");
        phases_ = static_cast<int64_t>(rows_.taps.phases.size() * columns_.taps.phases.size());
        channels_ = problem_.in_channels / problem_.groups * phases_;
        outputs_ = problem_.out_channels / problem_.groups;
        blocks_ = ceil_div(outputs_, k_tile_);
        frequency_blocks_ = ceil_div(transforms_->frequencies(), lanes_);
        plane_ = 2 * lanes_ * frequency_blocks_;
        const auto wrapped = [](int64_t n) {
            return [n](int64_t shift) { return ((-shift) % n + n) % n; };
        };
        const Gather rows(rows_.taps.filter_places(problem_.filter_mode, wrapped(layouts.n0)), problem_.filter_height, layouts.n0);
        const Gather columns(columns_.taps.filter_places(problem_.filter_mode, wrapped(layouts.n1)), problem_.filter_width, layouts.n1);
        most_rows_ = rows.most;
        most_columns_ = columns.most;
        row_table_ = tables_.add(rows.table);
        column_table_ = tables_.add(columns.table);
        zeros_ = tables_.add_zeros(static_cast<size_t>(problem_.out_channels));
    }

    Status block(size_t workspace_limit) {
        images_ = problem_.batch;
        groups_ = problem_.groups;
        if (plane_ > kReach / std::max(channels_, k_tile_ * channels_) / n_tile_) {
            return Status(StatusCode::kUnsupported, "the spectra of " + std::to_string(k_tile_ * channels_) + " planes of " + std::to_string(transforms_->n0) + "x" + std::to_string(transforms_->n1) + " are 2^31 bytes or more, beyond a kernel call's reach");
        }
        while (!in_reach() && smaller()) {
        }
        if (!in_reach()) {
            return Status(StatusCode::kUnsupported, "the spectra of one image are 2^31 bytes or more, beyond a kernel call's reach");
        }
        // A quarter of the device's memory at most, where blocks can be smaller.
        const size_t comfortable = std::min(workspace_limit, device_.info().memory_bytes / 4);
        Status status = lay_out();
        while (status.ok() && workspace_bytes > comfortable && smaller()) {
            status = lay_out();
        }
        if (!status.ok()) {
            return status;
        }
        if (workspace_bytes > workspace_limit) {
            return workspace_exhausted(workspace_bytes, workspace_limit);
        }
        serial_workspace_bytes = workspace_bytes;
        // Packing: some hundred megabytes at a time.
        const double packed = static_cast<double>(problem_.groups * frequency_blocks_) * static_cast<double>(blocks_ * pack_block()) * sizeof(float);
        if (packed > 1e18) {
            return Status(StatusCode::kResourceExhausted, "the filter spectra would need over 10^18 bytes");
        }
        packed_bytes = static_cast<size_t>(packed);
        for (pack_outputs_ = blocks_ * k_tile_;; pack_outputs_ = round_up(pack_outputs_ / 2, k_tile_)) {
            Arena arena;
            pack_a_ = arena.reserve_floats(static_cast<double>(pack_outputs_ * channels_) * static_cast<double>(plane_));
            const Result<size_t> b = scratch_bytes(packing());
            if (!b) {
                return b.status();
            }
            pack_b_ = arena.reserve(static_cast<double>(*b));
            pack_workspace_bytes = arena.bytes();
            if (pack_outputs_ == k_tile_ || (pack_workspace_bytes <= std::min(comfortable, size_t{1} << 29) && pack_outputs_ * channels_ <= kReach / plane_)) {
                break;
            }
        }
        layout = std::string("fft ") + (matrices_ != nullptr ? matrices_->name() : transforms_->name()) + " " + std::to_string(transforms_->n0) + "x" + std::to_string(transforms_->n1) + " k" + std::to_string(k_tile_) + " l" + std::to_string(lanes_);
        details = std::string("transforms of ") + std::to_string(transforms_->n0) + "x" + std::to_string(transforms_->n1) + ", " + transforms_->name() + (matrices_ != nullptr ? std::string(", product by ") + matrices_->name() : "") + ", " + std::to_string(channels_) + " planes a group and image (" + std::to_string(phases_) + " phases), " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images and " + std::to_string(groups_) + " of " + std::to_string(problem_.groups) + " groups at a time" + (tiles_ > 1 ? ", " + std::to_string(layouts_.tiles_y) + "x" + std::to_string(layouts_.tiles_x) + " tiles an image" : "") + (padded_ ? ", padded for real" : "");
        predict();
        return Status();
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        for (const std::vector<Batch> &list : {executing(), packing()}) {
            for (const Batch &batch : list) {
                status = status.ok() ? transforms_->prepare(batch) : status;
            }
        }
        for (const int64_t images : {images_, problem_.batch % images_}) {
            for (const int64_t groups : {groups_, problem_.groups % groups_}) {
                if (matrices_ != nullptr && images > 0 && groups > 0 && status.ok()) {
                    const int64_t rows = images * tiles_, x = groups * channels_, y = groups * outputs_;
                    status = matrices_->prepare({transforms_->frequencies(), rows, channels_, outputs_}, {nullptr, rows * x, x}, {nullptr, rows * y, y});
                }
            }
        }
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            for (int64_t g = 0; g < problem_.groups; g++) {
                for (int64_t k = 0; k < outputs_; k += pack_outputs_) {
                    if (!pack_some(w, floats_at(packed, 0), workspace, g, k, std::min(pack_outputs_, outputs_ - k), context)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return on_device(execution, [&](KernelContext &context) {
            float *const a = floats_at(workspace, a_), *const b = floats_at(workspace, b_), *const y = floats_at(workspace, y_);
            StridedIn x_view = t.input;
            if (padded_) {
                float *const image = floats_at(workspace, padded_image_);
                if (!pad_.run(t.input, image, context)) {
                    return false;
                }
                x_view = pad_.view(image);
            }
            for (int64_t n = 0; n < problem_.batch; n += images_) {
                const int64_t images = std::min(images_, problem_.batch - n);
                for (int64_t g = 0; g < problem_.groups; g += groups_) {
                    const int64_t groups = std::min(groups_, problem_.groups - g);
                    if (!cut(x_view, a, n, images, g, groups, context)) {
                        return false;
                    }
                    const int64_t x_count = images * tiles_ * groups * channels_, y_count = images * tiles_ * groups * outputs_;
                    const float *planes = a;
                    if (matrices_ != nullptr) {
                        if (!multiply_matrices(a, packed, workspace, images * tiles_, g, groups, context)) {
                            return false;
                        }
                    } else {
                        const float *x = transforms_->forward(a, b, x_count, plane_, context);
                        if (x == nullptr || !multiply(x, floats_at(packed, 0), y, images * tiles_, g, groups, context)) {
                            return false;
                        }
                        planes = transforms_->inverse(y, b, y_count, plane_, context);
                    }
                    if (planes == nullptr || !join(t, planes, n, images, g, groups, context)) {
                        return false;
                    }
                }
            }
            return true;
        });
    }

private:
    /// Floats of one pack of frequencies of k_tile_ output channels, all input channels.
    int64_t pack_block() const {
        return channels_ * k_tile_ * 2 * lanes_;
    }
    /// The product reads and writes whole register tiles of planes.
    int64_t x_planes() const {
        return round_up(images_ * tiles_, n_tile_) * groups_ * channels_;
    }
    int64_t y_planes() const {
        return round_up(images_ * tiles_, n_tile_) * groups_ * outputs_;
    }
    bool in_reach() const {
        return std::max(x_planes(), y_planes()) <= kReach / plane_;
    }

    /// Fewer images, or groups, in flight; false where it is one already.
    bool smaller() {
        int64_t &many = images_ > 1 ? images_ : groups_;
        const bool can = many > 1;
        many = (many + 1) / 2;
        return can;
    }

    using Batch = PlaneTransforms::Batch;
    /// All of an execution, with the rest of the images and of the groups; for matrices, frequency by frequency.
    std::vector<Batch> executing() const {
        std::vector<Batch> list;
        for (const int64_t images : {images_, problem_.batch % images_}) {
            for (const int64_t groups : {groups_, problem_.groups % groups_}) {
                for (const auto &[inverse, each] : {std::pair(false, channels_), std::pair(true, outputs_)}) {
                    if (images > 0 && groups > 0) {
                        const int64_t planes = images * tiles_ * groups * each;
                        list.push_back({inverse, planes, plane_, matrices_ != nullptr ? planes : 0});
                    }
                }
            }
        }
        return list;
    }
    /// All of packing; for matrices into the block of all output channels.
    std::vector<Batch> packing() const {
        const int64_t step = matrices_ != nullptr ? outputs_ * channels_ : 0;
        std::vector<Batch> list = {{false, std::min(pack_outputs_, outputs_) * channels_, plane_, step}};
        if (outputs_ > pack_outputs_ && outputs_ % pack_outputs_ > 0) {
            list.push_back({false, outputs_ % pack_outputs_ * channels_, plane_, step});
        }
        return list;
    }

    Result<size_t> scratch_bytes(const std::vector<Batch> &list) const {
        size_t most = 0;
        for (const Batch &batch : list) {
            const Result<size_t> bytes = transforms_->scratch_bytes(batch);
            if (!bytes) {
                return bytes;
            }
            most = std::max(most, *bytes);
        }
        return most;
    }

    Status lay_out() {
        const Result<size_t> bytes = scratch_bytes(executing());
        if (!bytes) {
            return bytes.status();
        }
        size_t scratch = std::max(*bytes, transforms_->in_place() ? 0 : static_cast<size_t>(x_planes() * plane_) * sizeof(float));
        Arena arena;
        padded_image_ = arena.reserve_floats(padded_ ? pad_.floats() : 0.0);
        if (matrices_ != nullptr) {
            scratch = std::max(scratch, matrices_->workspace_bytes());
            spectra_ = arena.reserve_floats(static_cast<double>(x_planes()) * static_cast<double>(plane_));
        }
        a_ = arena.reserve_floats(static_cast<double>(matrices_ != nullptr ? std::max(x_planes(), y_planes()) : x_planes()) * static_cast<double>(plane_));
        b_ = arena.reserve(static_cast<double>(scratch));
        y_ = arena.reserve_floats(static_cast<double>(y_planes()) * static_cast<double>(plane_));
        workspace_bytes = arena.bytes();
        return Status();
    }

    void predict() {
        const DeviceModel model(device_.info());
        const double plane = static_cast<double>(plane_), batch = static_cast<double>(problem_.batch * tiles_ * problem_.groups);
        const double planes = batch * static_cast<double>(channels_ + outputs_);
        // A pass reads and writes; cut and join are half of one each.
        const double transforms = 8.0 * plane * planes * static_cast<double>(transforms_->passes() + 1) / model.bytes_per_second;
        const double tile = static_cast<double>(n_tile_ * k_tile_);
        const double flops = 4.0 * plane * static_cast<double>(round_up(problem_.batch * tiles_, n_tile_)) * static_cast<double>(problem_.groups * blocks_ * k_tile_ * channels_);
        // A library's tiles are of about 32 x 32, whatever of them is needed.
        const auto used = [](int64_t n) { return static_cast<double>(n) / static_cast<double>(round_up(n, 32)); };
        const double efficiency = matrices_ != nullptr ? 0.8 * used(problem_.batch * tiles_) * used(outputs_) : 0.7 * 4.0 * tile / (4.0 * tile + 4.0 * static_cast<double>(n_tile_ + k_tile_));
        const double rounds = static_cast<double>(ceil_div(problem_.batch, images_) * ceil_div(problem_.groups, groups_));
        const double product = std::max(flops / (model.flops * efficiency), (static_cast<double>(packed_bytes) * std::ceil(static_cast<double>(problem_.batch) / static_cast<double>(images_)) + 4.0 * plane * planes) / model.bytes_per_second);
        // Spectra that do not lie by plane cost the transforms another pass; matrices are multiplied group by group.
        const double more = matrices_ != nullptr ? 8.0 * plane * planes / model.bytes_per_second : 0.0;
        const int64_t launches = 2 * transforms_->passes() + 2 + phases_ + (matrices_ != nullptr ? groups_ : 0);
        serial_seconds = transforms + more + product + rounds * static_cast<double>(launches) * model.launch_seconds;
        predicted_seconds = serial_seconds;
    }

    bool pack_some(const StridedIn &w, float *packed, std::byte *workspace, int64_t g, int64_t k, int64_t count, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t channels = p.in_channels / p.groups, columns = static_cast<int64_t>(columns_.taps.phases.size());
        const int64_t n0 = transforms_->n0, n1 = transforms_->n1;
        float *const a = floats_at(workspace, pack_a_);
        const Floats<4> from(w.data + (g * outputs_ + k) * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {channels, w.s[1]}, {count, w.s[0]}});
        for (int64_t phase = 0; phase < phases_; phase++) {
            const Ints<2> row(tables_.ints(row_table_) + phase / columns * most_rows_ * n0, {{n0, 1}, {most_rows_, n0}});
            const Ints<2> column(tables_.ints(column_table_) + phase % columns * most_columns_ * n1, {{n1, 1}, {most_columns_, n1}});
            const Floats<4> to(a + phase * plane_, {{n1, 1}, {n0, transforms_->row_floats()}, {channels, phases_ * plane_}, {count, channels_ * plane_}});
            if (!call(gather_, context, from, row, column, to)) {
                return false;
            }
        }
        if (matrices_ != nullptr) {
            // (frequency, output, input channel), to where it stays.
            float *const matrices = packed + 2 * channels_ * (g * transforms_->frequencies() * outputs_ + k);
            return transforms_->forward_by_frequency(a, matrices, count * channels_, plane_, outputs_ * channels_, floats_at(workspace, pack_b_), context);
        }
        const float *spectra = transforms_->forward(a, floats_at(workspace, pack_b_), count * channels_, plane_, context);
        if (spectra == nullptr) {
            return false;
        }
        const float scale = static_cast<float>(1.0 / (static_cast<double>(n0) * static_cast<double>(n1)));
        const int64_t step = blocks_ * pack_block(), at_once = std::clamp<int64_t>(kReach / step, 1, frequency_blocks_);
        float *const out = packed + g * frequency_blocks_ * step + k / k_tile_ * pack_block();
        for (int64_t f = 0; f < frequency_blocks_; f += at_once) {
            const int64_t n = std::min(at_once, frequency_blocks_ - f);
            const Floats<4> part(spectra + 2 * lanes_ * f, {{2, 1}, {lanes_ * n, 2}, {channels_, plane_}, {count, channels_ * plane_}});
            const KernelBuffer<float, 6> target(out + f * step, {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {channels_, 2 * lanes_ * k_tile_}, {ceil_div(count, k_tile_), pack_block()}, {n, step}});
            if (!call(pack_, context, part, scale, target)) {
                return false;
            }
        }
        return true;
    }

    /// Images that one launch reaches, of so many floats each.
    static int64_t images_in_reach(int64_t stride, int64_t images) {
        return std::clamp<int64_t>(kReach / std::max<int64_t>(1, stride), 1, images);
    }

    bool cut(const StridedIn &input, float *planes, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const int64_t n0 = transforms_->n0, n1 = transforms_->n1, per_group = p.in_channels / p.groups, channels = groups * per_group;
        const int64_t width = padded_ ? pad_.width() : p.in_width, height = padded_ ? pad_.height() : p.in_height;
        const int64_t columns = static_cast<int64_t>(columns_.taps.phases.size());
        // What padding would hold beyond the part that outputs read must not reach them through rounding.
        const bool whole = p.padding_mode == PaddingMode::kZeros || rows_.cyclic || tiles_ > 1;
        const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
        const int64_t together = images_in_reach(input.s[0], images);
        for (int64_t n = 0; n < images; n += together) {
            const int64_t now = std::min(together, images - n);
            const Floats<4> from(input.data + (first + n) * input.s[0] + g * per_group * input.s[1], {{width, input.s[3]}, {height, input.s[2]}, {channels, input.s[1]}, {now, input.s[0]}});
            for (int64_t phase = 0; phase < phases_; phase++) {
                const size_t row = static_cast<size_t>(phase / columns), column = static_cast<size_t>(phase % columns);
                const int64_t used_y = whole ? n0 : p.out_height() + rows_.taps.reach[row], used_x = whole ? n1 : p.out_width() + columns_.taps.reach[column];
                const int64_t y = rows_.taps.phases[row] - rows_.lead + (padded_ ? p.pad_top : 0), x = columns_.taps.phases[column] - columns_.lead + (padded_ ? p.pad_left : 0);
                const Floats<4> to(planes + n * tiles_ * channels * phases_ * plane_ + phase * plane_, {{n1, 1}, {n0, transforms_->row_floats()}, {channels, phases_ * plane_}, {now * tiles_, channels * phases_ * plane_}});
                if (!call(cut_, context, from, i32(layouts_.tiles_x), i32(layouts_.tiles_y), i32(layouts_.advance_x), i32(layouts_.advance_y), i32(p.stride_w), i32(p.stride_h), i32(x), i32(y), i32(used_x), i32(used_y), p.padding_mode == PaddingMode::kConstant ? p.padding_value : 0.0f, to)) {
                    return false;
                }
            }
        }
        return true;
    }

    bool multiply(const float *x, const float *packed, float *y, int64_t planes, int64_t g, int64_t groups, KernelContext &context) const {
        const int64_t step = blocks_ * pack_block(), group_step = frequency_blocks_ * step;
        const int64_t groups_at_once = std::clamp<int64_t>(kReach / group_step, 1, groups), at_once = std::clamp<int64_t>(kReach / step, 1, frequency_blocks_);
        for (int64_t i = 0; i < groups; i += groups_at_once) {
            const int64_t together = std::min(groups_at_once, groups - i);
            for (int64_t f = 0; f < frequency_blocks_; f += at_once) {
                const int64_t n = std::min(at_once, frequency_blocks_ - f);
                const Floats<5> in(x + i * channels_ * plane_ + f * 2 * lanes_, {{2, 1}, {n * lanes_, 2}, {channels_, plane_}, {together, channels_ * plane_}, {round_up(planes, n_tile_), groups * channels_ * plane_}});
                const KernelBuffer<float, 7> w(packed + (g + i) * group_step + f * step, {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {channels_, 2 * lanes_ * k_tile_}, {blocks_, pack_block()}, {n, step}, {together, group_step}});
                const Floats<5> out(y + i * outputs_ * plane_ + f * 2 * lanes_, {{2, 1}, {n * lanes_, 2}, {outputs_, plane_}, {together, outputs_ * plane_}, {round_up(planes, n_tile_), groups * outputs_ * plane_}});
                if (!call(product_, context, in, w, out)) {
                    return false;
                }
            }
        }
        return true;
    }

    /// From the planes in `a` to those of the outputs, there too.
    bool multiply_matrices(float *a, const std::byte *packed, std::byte *workspace, int64_t rows, int64_t g, int64_t groups, KernelContext &context) const {
        float *const x = floats_at(workspace, spectra_), *const y = floats_at(workspace, y_), *const work = floats_at(workspace, b_);
        const int64_t x_count = rows * groups * channels_, y_count = rows * groups * outputs_, frequencies = transforms_->frequencies();
        const float scale = static_cast<float>(1.0 / (static_cast<double>(transforms_->n0) * static_cast<double>(transforms_->n1)));
        if (!transforms_->forward_by_frequency(a, x, x_count, plane_, x_count, work, context)) {
            return false;
        }
        for (int64_t i = 0; i < groups; i++) {
            const float *const w = floats_at(packed, 0) + 2 * (g + i) * frequencies * outputs_ * channels_;
            if (!matrices_->run({frequencies, rows, channels_, outputs_}, {x + 2 * i * channels_, x_count, groups * channels_}, w, {y + 2 * i * outputs_, y_count, groups * outputs_}, scale, work, context)) {
                return false;
            }
        }
        return transforms_->inverse_by_frequency(y, a, y_count, plane_, y_count, work, context);
    }

    bool join(const ForwardTensors &t, const float *planes, int64_t first, int64_t images, int64_t g, int64_t groups, KernelContext &context) const {
        const int64_t width = problem_.out_width(), height = problem_.out_height(), channels = groups * outputs_, channel = g * outputs_;
        const float *bias = t.bias != nullptr ? t.bias : tables_.floats(zeros_);
        const int64_t *s = t.output.s, *r = t.residual.s;
        const bool adds = t.residual.data != nullptr;
        const auto i32 = [](int64_t v) { return static_cast<int32_t>(v); };
        const int64_t together = images_in_reach(std::max(s[0], r[0]), images);
        for (int64_t n = 0; n < images; n += together) {
            const int64_t now = std::min(together, images - n);
            const Floats<4> from(planes + n * tiles_ * channels * plane_, {{transforms_->n1, 1}, {transforms_->n0, transforms_->row_floats()}, {channels, plane_}, {now * tiles_, channels * plane_}});
            const Floats<1> biases(bias + channel, {{channels, 1}});
            const Floats<4> to(t.output.data + (first + n) * s[0] + channel * s[1], {{width, s[3]}, {height, s[2]}, {channels, s[1]}, {now, s[0]}});
            const Floats<4> residual(adds ? t.residual.data + (first + n) * r[0] + channel * r[1] : nullptr, {{width, r[3]}, {height, r[2]}, {channels, r[1]}, {now, r[0]}});
            if (!call(join_, context, from, i32(layouts_.tiles_x), i32(layouts_.tiles_y), i32(layouts_.advance_x), i32(layouts_.advance_y), biases, adds ? residual : to, int32_t{adds}, post_.kind, post_.lo, post_.hi, to)) {
                return false;
            }
        }
        return true;
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const Variant &product_;
    const Layouts layouts_;
    const AxisLayout &rows_, &columns_;
    const Variant &cut_, &join_, &gather_, &pack_;
    const KernelPostOp post_;
    const DevicePad pad_;
    const bool padded_;    ///< by its mode, before planes are cut
    const int64_t tiles_;  ///< of an image
    const std::unique_ptr<FrequencyProduct> matrices_;  ///< null: by the variant
    const int64_t n_tile_, k_tile_, lanes_;
    DeviceTables tables_;
    const std::unique_ptr<PlaneTransforms> transforms_;
    int64_t phases_, channels_;  ///< of the stride; of a group, phases included
    int64_t outputs_, blocks_;   ///< of a group, and in register tiles
    int64_t frequency_blocks_, plane_;
    int64_t most_rows_, most_columns_;
    int64_t images_ = 1, groups_ = 1, pack_outputs_ = 1;  ///< in flight
    size_t row_table_ = 0, column_table_ = 0, zeros_ = 0;
    size_t padded_image_ = 0, a_ = 0, b_ = 0, y_ = 0, spectra_ = 0, pack_a_ = 0, pack_b_ = 0;
};

/// Plans with our own transforms, and with cuFFT's where it is there.
template<typename Consider>
void consider_transforms(const PlanRequest &request, const Variant &product, const Layouts &layouts, const Consider &consider) {
    consider(std::make_unique<DeviceFftPlan>(request, product, layouts, nullptr));
    if (Result<std::unique_ptr<PlaneTransforms>> library = cufft_transforms(*request.device, layouts.n0, layouts.n1)) {
        consider(std::make_unique<DeviceFftPlan>(request, product, layouts, std::move(*library)));
    }
}

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const auto cyclic_length = [](int64_t n, bool even) { return transform_length(n, even) == n; };
    const bool cyclic = p.padding_mode == PaddingMode::kCircular && p.stride_h == 1 && p.stride_w == 1 && p.out_height() <= p.in_height && p.out_width() <= p.in_width && cyclic_length(p.in_height, false) && cyclic_length(p.in_width, true);
    const bool implicit = p.padding_mode == PaddingMode::kZeros;
    const AxisLayout rows = AxisLayout::make(p.in_height, p.out_height(), p.filter_height, p.stride_h, p.dilation_h, p.pad_top, implicit, cyclic);
    const AxisLayout columns = AxisLayout::make(p.in_width, p.out_width(), p.filter_width, p.stride_w, p.dilation_w, p.pad_left, implicit, cyclic);
    if (rows.length > kReach / std::max<int64_t>(1, columns.length)) {
        return Status(StatusCode::kUnsupported, "a transform of at least " + std::to_string(rows.length) + "x" + std::to_string(columns.length) + " is 2^31 bytes or more, beyond a kernel call's reach");
    }
    const Layouts layouts = {rows, columns, transform_length(rows.length, false), transform_length(columns.length, true), 1, 1, p.out_height(), p.out_width(), false};
    bool matrices = request.options.variant.empty();  // once, whatever the variants are
    return best_device_variant<DeviceFftPlan>(request, "spectral_product", [&](const Variant &product, const auto &consider) {
        consider_transforms(request, product, layouts, consider);
        if (std::exchange(matrices, false)) {
            Result<std::unique_ptr<PlaneTransforms>> library = cufft_transforms(*request.device, layouts.n0, layouts.n1);
            Result<std::unique_ptr<FrequencyProduct>> by_matrices = cublas_product(*request.device);
            if (library && by_matrices) {
                consider(std::make_unique<DeviceFftPlan>(request, product, layouts, std::move(*library), std::move(*by_matrices)));
            }
        }
    });
}

Status device_tiles_hold(int64_t rows, int64_t columns) {
    const int64_t largest = *std::max_element(std::begin(kDeviceTiles), std::end(kDeviceTiles));
    if (std::max(rows, columns) <= largest) {
        return Status();
    }
    return Status(StatusCode::kUnsupported, "the filter spans " + std::to_string(rows) + "x" + std::to_string(columns) + " after decimation; the largest tile is " + std::to_string(largest) + "x" + std::to_string(largest));
}

Result<std::unique_ptr<AlgorithmPlan>> plan_device_fft_tiled(const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const AxisLayout rows = AxisLayout::make(p.in_height, p.out_height(), p.filter_height, p.stride_h, p.dilation_h, p.pad_top, false, false);
    const AxisLayout columns = AxisLayout::make(p.in_width, p.out_width(), p.filter_width, p.stride_w, p.dilation_w, p.pad_left, false, false);
    std::vector<Layouts> sizes;
    for (const int64_t t : kDeviceTiles) {
        const int64_t advance_y = t - rows.taps.shift_max, advance_x = t - columns.taps.shift_max;
        if (advance_y > 0 && advance_x > 0) {
            sizes.push_back({rows, columns, t, t, ceil_div(p.out_height(), advance_y), ceil_div(p.out_width(), advance_x), advance_y, advance_x, true});
        }
    }
    if (Status status = device_tiles_hold(rows.taps.shift_max + 1, columns.taps.shift_max + 1); !status.ok()) {
        return status;
    }
    return best_device_variant<DeviceFftPlan>(request, "spectral_product", [&](const Variant &product, const auto &consider) {
        for (const Layouts &layouts : sizes) {
            consider_transforms(request, product, layouts, consider);
        }
    });
}

}  // namespace fourfold
