// fft: whole planes. pad -> r2c of (image, channel, phase) planes -> product summed over channels per frequency -> c2r of
// (image, output channel) planes -> crop. Filter spectra are made once, by pack. How a problem lies on the planes: plane_layout.h.
#include <algorithm>
#include <cmath>

#include "algorithm.h"
#include "arena.h"
#include "beyond_l2.h"
#include "cost_model.h"
#include "gathered_points.h"
#include "parallel.h"
#include "plane_layout.h"
#include "stages.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

constexpr int64_t kChannels = 512;  ///< summed in one accumulator: bounds the error of long sums

struct Blocking {
    int64_t images;   ///< images in flight
    int64_t groups;   ///< groups in flight
    int64_t outputs;  ///< output channels of a group in flight, a multiple of the product's k
    int slots;        ///< threads, each with a transform's scratch
};

class FftPlan final : public AlgorithmPlan {
public:
    FftPlan(const PlanRequest &request, const Variant &product, const PlaneLayout &planes)
        : problem_(request.problem), product_(product), planes_(planes), fft_(planes.fft), pad_(PadStage::find(problem_)), crop_(CropStage::find(problem_.layout)), place_(*find_variant("place_filters")), pack_(*find_variant("pack_spectra")), post_(kernel_post_op(problem_)), n_tile_(product.parameter("n", 1)), k_tile_(product.parameter("k", 1)), lanes_(product.parameter("l", 16)), threads_(request.options.threads) {
        variant = product.name;
        channels_ = problem_.in_channels / problem_.groups * planes.phases();
        outputs_ = problem_.out_channels / problem_.groups;
        blocks_ = ceil_div(outputs_, k_tile_);
        frequency_blocks_ = ceil_div(fft_->frequencies(), lanes_);
        // Whole packs of frequencies, and no multiple of 4 KiB, which would crowd all channels into the same lines of L1.
        plane_ = round_up(std::max(fft_->plane_floats(), 2 * lanes_ * frequency_blocks_), 32);
        if (plane_ % 1024 == 0) {
            plane_ += 32;
        }
        row_places_ = planes.row_places(problem_.filter_mode);
        column_places_ = planes.column_places(problem_.filter_mode);
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        // Decided for one thread, so that blocks, and with them the last bit of a sum, are the same for any number.
        Blocking b{p.batch, p.groups, blocks_ * k_tile_, 1};
        // More images share one pass over the filter spectra, but planes that leave the caches cost more than they save.
        const double budget = std::max(64e6, 2.0 * static_cast<double>(machine().l3_bytes));
        lay_out(b);
        while (b.images > n_tile_ && static_cast<double>(workspace_bytes) > budget) {
            b.images = std::max<int64_t>(n_tile_, (b.images + 1) / 2);
            lay_out(b);
        }
        while (workspace_bytes > workspace_limit) {
            if (b.images > 1) {
                b.images = (b.images + 1) / 2;
            } else if (b.groups > 1) {
                b.groups = (b.groups + 1) / 2;
            } else if (b.outputs > k_tile_) {
                b.outputs = round_up(b.outputs / 2, k_tile_);
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out(b);
        }
        const double reach = double(1 << 29);
        if (static_cast<double>(plane_) > reach) {
            return Status(StatusCode::kUnsupported, "a transform of " + std::to_string(fft_->n0) + "x" + std::to_string(fft_->n1) + " is 2^31 bytes or more, beyond a kernel call's reach");
        }
        if (static_cast<double>(plane_) * static_cast<double>(std::max(channels_, k_tile_)) * static_cast<double>(n_tile_) > reach) {
            return Status(StatusCode::kUnsupported, "the spectra of one image are 2^31 bytes or more, beyond a kernel call's reach");
        }
        // The product reads all of a block's spectra through 32-bit indices.
        while (!product_fits(b)) {
            if (b.images > 1) {
                b.images = (b.images + 1) / 2;
            } else if (b.groups > 1) {
                b.groups = (b.groups + 1) / 2;
            } else {
                b.outputs = round_up(b.outputs / 2, k_tile_);
            }
            lay_out(b);
        }
        serial_workspace_bytes = workspace_bytes;
        b.slots = static_cast<int>(std::min<size_t>(static_cast<size_t>(threads_), 1 + (workspace_limit - workspace_bytes) / slot_bytes_));
        lay_out(b);
        Arena pack_slot;
        pack_planes_offset_ = pack_slot.reserve_floats(static_cast<double>(k_tile_) * static_cast<double>(plane_));
        pack_scratch_offset_ = pack_slot.reserve(static_cast<double>(fft_->scratch_bytes()));
        const double packed = static_cast<double>(problem_.groups * frequency_blocks_) * static_cast<double>(blocks_ * k_tile_ * channels_) * 2.0 * static_cast<double>(lanes_) * sizeof(float);
        gathered_.lay_out(pack_slot, packed, frequency_blocks_, 2 * lanes_ * k_tile_, channels_, blocks_ * pack_block(), static_cast<double>(workspace_limit) - static_cast<double>(pack_slot.bytes()));
        pack_rate = gathered_.gathers() ? 1.2e9 : 0.8e9;
        pack_slot_bytes_ = pack_slot.bytes();
        // Packing may use fewer threads than execution where the limit asks for it.
        pack_slots_ = std::max<int64_t>(1, std::min<int64_t>(threads_, static_cast<int64_t>(std::max(workspace_limit, pack_slot_bytes_) / pack_slot_bytes_)));
        pack_workspace_bytes = pack_slot_bytes_ * static_cast<size_t>(pack_slots_);
        if (packed > 1e18) {
            return Status(StatusCode::kResourceExhausted, "the filter spectra would need over 10^18 bytes");
        }
        packed_bytes = static_cast<size_t>(packed);
        layout = std::string("fft ") + to_string(fft_->backend) + " " + std::to_string(fft_->n0) + "x" + std::to_string(fft_->n1) + " k" + std::to_string(k_tile_) + " l" + std::to_string(lanes_);
        details = std::string("transforms of ") + std::to_string(fft_->n0) + "x" + std::to_string(fft_->n1) + " by " + to_string(fft_->backend) + ", " + std::to_string(channels_) + " planes a group and image (" + std::to_string(planes_.phases()) + " phases), " + std::to_string(b.images) + " of " + std::to_string(p.batch) + " images, " + std::to_string(b.groups) + " of " + std::to_string(p.groups) + " groups and " + std::to_string(std::min(b.outputs, outputs_)) + " of " + std::to_string(outputs_) + " output channels at a time" + (planes_.rows.lead == 0 && planes_.columns.lead == 0 ? "" : ", padded for real");
        predict();
        return Status();
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t at_once = std::max<int64_t>(1, gathered_.channels()), parts = ceil_div(channels_, at_once);
        return parallel_for(execution, static_cast<int>(pack_slots_), p.groups * blocks_ * parts, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t first = index % parts * at_once, end = std::min(channels_, first + at_once);
            const int64_t block = index / parts % blocks_;
            const int64_t g = index / parts / blocks_;
            std::byte *base = workspace + static_cast<size_t>(slot) * pack_slot_bytes_;
            float *const out = floats_at(packed, 0) + (g * frequency_blocks_ * blocks_ + block) * pack_block() + first * 2 * lanes_ * k_tile_;
            float *const points = gathered_.begin(out, base);
            for (int64_t c = first; c < end; c++) {
                if (!pack_channel(w, g, block, c, points + (c - first) * 2 * lanes_ * k_tile_, base, context)) {
                    return false;
                }
            }
            gathered_.store(base, end - first, out, context);
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        float *bias = floats_at(workspace, bias_offset_);
        std::fill_n(bias, p.out_channels, 0.0f);
        if (t.bias != nullptr) {
            std::copy_n(t.bias, p.out_channels, bias);
        }
        for (int64_t n = 0; n < p.batch; n += blocking_.images) {
            const int64_t images = std::min(blocking_.images, p.batch - n);
            for (int64_t g = 0; g < p.groups; g += blocking_.groups) {
                const int64_t groups = std::min(blocking_.groups, p.groups - g);
                Status status = transform_inputs(t, workspace, execution, n, images, g, groups);
                for (int64_t k = 0; status.ok() && k < outputs_; k += blocking_.outputs) {
                    const int64_t count = std::min(blocking_.outputs, outputs_ - k);
                    status = multiply(packed, workspace, execution, images, g, groups, k, count);
                    if (status.ok()) {
                        status = transform_outputs(t, workspace, bias, execution, n, images, g, groups, k, count);
                    }
                }
                if (!status.ok()) {
                    return status;
                }
            }
        }
        return Status();
    }

private:
    /// Spectra of the filters of one input channel and a block of outputs, the first pack of frequencies at `out`.
    bool pack_channel(const StridedIn &w, int64_t g, int64_t block, int64_t c, float *out, std::byte *base, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        const float scale = static_cast<float>(1.0 / (static_cast<double>(fft_->n0) * static_cast<double>(fft_->n1)));
        const int64_t phases = planes_.phases();
        const int64_t k = g * outputs_ + block * k_tile_;
        const int64_t count = std::min(k_tile_, outputs_ - block * k_tile_);
        float *planes = floats_at(base, pack_planes_offset_);
        const int64_t phase = c % phases;
        const int64_t columns = planes_.column_phases();
        const Floats<3> from(w.data + k * w.s[0] + c / phases * w.s[1], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {count, w.s[0]}});
        const Floats<3> to(planes, {{fft_->n1, 1}, {fft_->n0, fft_->row_floats()}, {count, plane_}});
        const Ints<1> rows(row_places_.data() + phase / columns * p.filter_height, {{p.filter_height, 1}});
        const Ints<1> cols(column_places_.data() + phase % columns * p.filter_width, {{p.filter_width, 1}});
        if (!call(place_, context, from, rows, cols, to)) {
            return false;
        }
        for (int64_t i = 0; i < count; i++) {
            fft_->forward(planes + i * plane_, base + pack_scratch_offset_);
            clear_tail(planes + i * plane_);
        }
        // Frequency blocks may lie far apart; one call a block where 32-bit indices end.
        const int64_t step = gathered_.step();
        const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 28) / step, 1, frequency_blocks_);
        for (int64_t f = 0; f < frequency_blocks_; f += at_once) {
            const int64_t n = std::min(at_once, frequency_blocks_ - f);
            const Floats<3> part(planes + 2 * lanes_ * f, {{2, 1}, {lanes_ * n, 2}, {count, plane_}});
            const Floats<4> target(out + f * step, {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {n, step}});
            if (!call(pack_, context, part, scale, target)) {
                return false;
            }
        }
        return true;
    }

    /// Floats of one pack of frequencies of k_tile_ output channels, all input channels.
    int64_t pack_block() const {
        return channels_ * k_tile_ * 2 * lanes_;
    }

    bool product_fits(const Blocking &b) const {
        const double x = static_cast<double>(round_up(b.images, n_tile_)) * static_cast<double>(b.groups * channels_) * static_cast<double>(plane_);
        const double y = static_cast<double>(b.images) * static_cast<double>(b.groups) * static_cast<double>(b.outputs) * static_cast<double>(plane_);
        return (x <= double(1 << 29) && y <= double(1 << 29)) || (b.images == 1 && b.groups == 1 && b.outputs == k_tile_);
    }

    void lay_out(const Blocking &b) {
        blocking_ = b;
        Arena arena;
        bias_offset_ = arena.reserve_floats(static_cast<double>(problem_.out_channels));
        // The product reads whole register tiles of images.
        x_offset_ = arena.reserve_floats(static_cast<double>(round_up(b.images, n_tile_)) * static_cast<double>(b.groups) * static_cast<double>(channels_) * static_cast<double>(plane_));
        const double y = static_cast<double>(b.images) * static_cast<double>(b.groups) * static_cast<double>(std::min(b.outputs, outputs_)) * static_cast<double>(plane_);
        y_offset_ = arena.reserve_floats(y);
        run_offset_ = arena.reserve_floats(channels_ > kChannels ? y : 0.0);
        slots_offset_ = arena.reserve(0);
        Arena slot;
        slot.reserve(static_cast<double>(fft_->scratch_bytes()));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * b.slots);
        workspace_bytes = arena.bytes();
    }

    void predict() {
        const CostModel model(product_.isa);
        const Conv2dProblem &p = problem_;
        const double points = static_cast<double>(fft_->n0) * static_cast<double>(fft_->n1);
        double relative = 1.0;
        for (const FftBackendEntry &e : fft_backend_entries()) {
            relative = e.backend == fft_->backend ? e.relative_time : relative;
        }
        // Planes that leave the caches take about twice as long (2160x3840 here).
        relative *= 4.0 * points > beyond_l2(machine().l3_bytes).l3_bytes / 2 ? 2.0 : 1.0;
        const double transform = relative * 2.5 * points * std::log2(points + 1.0) / model.fft_flops_per_second;
        const double images = static_cast<double>(p.batch), groups = static_cast<double>(p.groups);
        const double planes = images * groups * static_cast<double>(channels_ + outputs_);
        const double transforms = planes * (transform + 3 * 4.0 * points / model.copy_bytes_per_second + 2 * model.call_seconds);
        const double vectors = static_cast<double>(frequency_blocks_) * static_cast<double>(lanes_) / model.lanes;
        const double multiply = images * groups * vectors * static_cast<double>(blocks_ * k_tile_) * static_cast<double>(channels_) * model.tile_cycles(static_cast<int>(4 * n_tile_), static_cast<int>(k_tile_)) / (n_tile_ * k_tile_) / model.hertz;
        const double filter_bytes = static_cast<double>(packed_bytes) * std::ceil(images / static_cast<double>(blocking_.images));
        const double stream = filter_bytes / model.stream_bytes_per_second;
        serial_seconds = transforms + multiply + stream + 3e-6;
        predicted_seconds = (transforms + multiply + stream) / CostModel::parallel(threads_, static_cast<int64_t>(planes)) + 3e-6;
    }

    Status transform_inputs(const ForwardTensors &t, std::byte *workspace, const Execution &execution, int64_t n, int64_t images, int64_t g, int64_t groups) const {
        const Conv2dProblem &p = problem_;
        const int64_t phases = planes_.phases();
        float *x = floats_at(workspace, x_offset_);
        return parallel_for(execution, blocking_.slots, images * groups * channels_, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t c = index % channels_;
            const int64_t group = g + index / channels_ % groups;
            const int64_t image = n + index / channels_ / groups;
            const int64_t channel = group * (p.in_channels / p.groups) + c / phases;
            const int64_t phase = c % phases;
            float *plane = x + index * plane_;
            const PlanesIn in = {t.input.data + image * t.input.s[0] + channel * t.input.s[1], p.in_width, p.in_height, 1, t.input.s[2], t.input.s[1], t.input.s[3]};
            const PlanesOut out = {plane, fft_->n1, fft_->n0, 1, fft_->row_floats(), plane_};
            if (!pad_.run_within(in, out, planes_.used_columns(p, phase), planes_.used_rows(p, phase), p.stride_w, p.stride_h, planes_.first_column(phase), planes_.first_row(phase), context)) {
                return false;
            }
            const StageTimer timer(context.profile, "fft_forward");
            fft_->forward(plane, scratch(workspace, slot));
            clear_tail(plane);
            return true;
        });
    }

    Status multiply(const std::byte *packed, std::byte *workspace, const Execution &execution, int64_t images, int64_t g, int64_t groups, int64_t k, int64_t count) const {
        const float *x = floats_at(workspace, x_offset_);
        float *y = floats_at(workspace, y_offset_), *run = floats_at(workspace, run_offset_);
        // Frequencies are independent: tasks are runs of packs, and of groups where there are many.
        const int64_t wanted = 8 * threads_;
        const int64_t group_parts = frequency_blocks_ >= wanted ? 1 : std::min(groups, ceil_div(wanted, frequency_blocks_));
        const int64_t parts = std::min(frequency_blocks_, std::max<int64_t>(1, wanted / group_parts));
        return parallel_for(execution, threads_, parts * group_parts, [&](int64_t index, int, KernelContext &context) {
            const int64_t f = frequency_blocks_ * (index / group_parts) / parts;
            const int64_t f_end = frequency_blocks_ * (index / group_parts + 1) / parts;
            const int64_t first = groups * (index % group_parts) / group_parts;
            const int64_t last = groups * (index % group_parts + 1) / group_parts;
            for (int64_t i = first; i < last; i++) {
                // One call for all groups where the packed filters' distances fit 32 bits.
                const int64_t frequency_step = blocks_ * pack_block();
                const int64_t group_step = frequency_blocks_ * frequency_step;
                const int64_t together = group_step * (last - i) < (int64_t{1} << 28) ? last - i : 1;
                const int64_t at_once = std::clamp<int64_t>((int64_t{1} << 28) / frequency_step, 1, f_end - f);
                for (int64_t b = f; b < f_end; b += at_once) {
                    const int64_t n = std::min(at_once, f_end - b);
                    for (int64_t c = 0; c < channels_; c += kChannels) {
                        const int64_t channels = std::min(kChannels, channels_ - c);
                        const Floats<5> in(x + (i * channels_ + c) * plane_ + b * 2 * lanes_, {{2, 1}, {n * lanes_, 2}, {channels, plane_}, {together, channels_ * plane_}, {round_up(images, n_tile_), groups * channels_ * plane_}});
                        const KernelBuffer<float, 7> w(floats_at(packed, 0) + (g + i) * group_step + b * frequency_step + k / k_tile_ * pack_block() + c * 2 * lanes_ * k_tile_, {{lanes_, 1}, {2, lanes_}, {k_tile_, 2 * lanes_}, {channels, 2 * lanes_ * k_tile_}, {ceil_div(count, k_tile_), pack_block()}, {n, frequency_step}, {together, group_step}});
                        const Floats<5> out((c == 0 ? y : run) + i * count * plane_ + b * 2 * lanes_, {{2, 1}, {n * lanes_, 2}, {count, plane_}, {together, count * plane_}, {images, groups * count * plane_}});
                        if (!call(product_, context, in, w, out)) {
                            return false;
                        }
                        for (int64_t plane = 0; c > 0 && plane < images * together * count; plane++) {
                            const int64_t at = (plane / (together * count) * groups * count + i * count + plane % (together * count)) * plane_ + b * 2 * lanes_;
                            add(run + at, n * 2 * lanes_, y + at);
                        }
                    }
                }
                i += together - 1;
            }
            return true;
        });
    }

    Status transform_outputs(const ForwardTensors &t, std::byte *workspace, const float *bias, const Execution &execution, int64_t n, int64_t images, int64_t g, int64_t groups, int64_t k, int64_t count) const {
        const Conv2dProblem &p = problem_;
        float *y = floats_at(workspace, y_offset_);
        return parallel_for(execution, blocking_.slots, images * groups * count, [&](int64_t index, int slot, KernelContext &context) {
            const int64_t channel = (g + index / count % groups) * outputs_ + k + index % count;
            const int64_t image = n + index / count / groups;
            float *plane = y + index * plane_;
            {
                const StageTimer timer(context.profile, "fft_inverse");
                fft_->inverse(plane, scratch(workspace, slot));
            }
            const int64_t *s = t.output.s;
            const PlanesIn in = {plane, fft_->n1, fft_->n0, 1, fft_->row_floats(), plane_};
            const PlanesOut out = {t.output.data + image * s[0] + channel * s[1], p.out_width(), p.out_height(), 1, s[2], s[1], s[3]};
            PlanesIn residual = {nullptr, 0, 0, 0, 0, 0};
            if (t.residual.data != nullptr) {
                const int64_t *r = t.residual.s;
                residual = {t.residual.data + image * r[0] + channel * r[1], p.out_width(), p.out_height(), 1, r[2], r[1], r[3]};
            }
            return crop_.run(in, out, bias + channel, residual, post_, context);
        });
    }

    static void add(const float *from, int64_t count, float *to) {
        for (int64_t i = 0; i < count; i++) {
            to[i] += from[i];
        }
    }

    /// The lanes of the last pack of frequencies that lie past the spectrum: neither old memory nor denormals.
    void clear_tail(float *plane) const {
        std::fill(plane + 2 * fft_->frequencies(), plane + 2 * lanes_ * frequency_blocks_, 0.0f);
    }

    std::byte *scratch(std::byte *workspace, int slot) const {
        return workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
    }

    const Conv2dProblem problem_;
    const Variant &product_;
    const PlaneLayout planes_;
    const std::shared_ptr<const PlaneFft> fft_;
    const PadStage pad_;
    const CropStage crop_;
    const Variant &place_, &pack_;
    const KernelPostOp post_;
    const int64_t n_tile_, k_tile_, lanes_;
    const int threads_;
    int64_t channels_;          ///< of a group, phases included
    int64_t outputs_, blocks_;  ///< of a group, and in register tiles
    int64_t frequency_blocks_, plane_;
    std::vector<int32_t> row_places_, column_places_;
    Blocking blocking_{};
    GatheredPoints gathered_;
    int64_t pack_slots_ = 1;
    size_t bias_offset_ = 0, x_offset_ = 0, y_offset_ = 0, run_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0;
    size_t pack_planes_offset_ = 0, pack_scratch_offset_ = 0, pack_slot_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_fft(const PlanRequest &request) {
    const Result<PlaneLayout> planes = PlaneLayout::make(request.problem, request.options.fft_backend, request.options.fft_rigor);
    if (!planes) {
        return planes.status();
    }
    return best_variant<FftPlan>(request, "spectral_product", [&](const Variant &product, const auto &consider) {
        consider(std::make_unique<FftPlan>(request, product, *planes));
    });
}

}  // namespace fourfold
