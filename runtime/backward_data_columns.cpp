// bwd-data, im2col, the other way round: the columns of the image's gradient are a product with the filters as the caller has
// them, and fold adds them up,
//
//     columns[(c,r,s), q] = sum_k w[k,c,r,s] * gy[k,q]          gx[n,c,a] = sum of the columns (c,r,s), q that a was copied to
//
// No packed block goes through memory: a task copies the weights of its channels, rows of one run each, to scratch that stays in L2. gy
// goes into panels (q / width, k, q % width) for winograd_correlation, whose sums run over the outer index of both operands. This
// is for small planes with many channels, where packing filters that change in every step takes as long as the product.
//
// Work goes by as many images at a time as panels fit the caches, and a group at a time, in two phases of parallel tasks: runs of panels;
// runs of input channels, whose columns stay in a task's scratch. (Source of the adjoint: as in backward_data.cpp.)
//
// Intel Xeon (Emerald Rapids, a guest of 2 cores, others at work on it), one thread, 2026-11-29, bwd-data b1 ic512 i7 oc512 f3 p1, filters
// unpacked, least of interleaved runs: 2.61 ms, direct 3.22, winograd 4.61. Reading the weights where they lie, 18 KB from one sum's
// term to the next, took 7.1 ms.
#include <algorithm>
#include <limits>
#include <string>

#include "adjoint.h"
#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "fold.h"
#include "kernel.h"
#include "parallel.h"
#include "stages.h"
#include "variant_choice.h"

namespace fourfold {
namespace {

class ColumnsGradientPlan final : public AlgorithmPlan {
public:
    ColumnsGradientPlan(const PlanRequest &request, const Variant &kernel)
        : problem_(request.problem), kernel_(kernel), fold_(problem_, fold_variant(problem_)), crop_(CropStage::find(problem_.layout)), post_(kernel_post_op(problem_)), threads_(request.options.threads), r_(kernel.parameter("r", 1)), width_(16 * kernel.parameter("v", 1)), taps_(problem_.filter_height * problem_.filter_width), pixels_(problem_.out_height() * problem_.out_width()), inputs_(problem_.in_channels / problem_.groups), outputs_(problem_.out_channels / problem_.groups) {
        variant = kernel.name;
        layout = "bwd-data, filters as they are";
        finishes_ = fold_.folds || problem_.post_op != PostOp::kNone || problem_.residual;
    }

    Status block(size_t workspace_limit) {
        const Conv2dProblem &p = problem_;
        if (Status status = planes_within_reach(p); !status.ok()) {
            return status;
        }
        constexpr double reach = double(1 << 29);
        if (static_cast<double>(taps_ + r_) * static_cast<double>(outputs_) >= reach || static_cast<double>(pixels_ + width_) * static_cast<double>(std::max(taps_ + r_, outputs_)) >= reach) {
            return Status(StatusCode::kUnsupported, "the weights or columns of one channel, or the output's gradient, are 2^31 bytes or more, beyond a kernel call's reach");
        }
        // Decided, and ranked, for one thread; then split among the threads, which changes no sum.
        const double l2 = static_cast<double>(machine().l2_bytes) / sizeof(float);
        // Neither their panels nor the columns of one channel exceed a quarter of L2, or those of one image.
        images_ = std::clamp<int64_t>(static_cast<int64_t>(l2 / 4 / static_cast<double>(pixels_ * std::max(outputs_, taps_))), 1, p.batch);
        images_ = ceil_div(p.batch, ceil_div(p.batch, images_));
        // A task's weights and its columns.
        channels_ = balanced(static_cast<int64_t>(l2 / 4 / static_cast<double>(taps_) / static_cast<double>(std::max(outputs_, columns()))));
        slots_ = 1;
        lay_out();
        while (workspace_bytes > workspace_limit) {
            if (channels_ > 1) {
                channels_ = balanced(channels_ / 2);
            } else if (images_ > 1) {
                images_ = (images_ + 1) / 2;
            } else {
                return workspace_exhausted(workspace_bytes, workspace_limit);
            }
            lay_out();
        }
        predict();
        serial_workspace_bytes = workspace_bytes;
        if (threads_ > 1 && p.flops() >= 2e6 && tasks() < 2 * threads_) {
            channels_ = balanced(inputs_ / (2 * threads_));
        }
        lay_out();
        slots_ = affordable_slots(threads_, tasks(), slot_bytes_, workspace_bytes, workspace_limit);
        lay_out();
        predicted_seconds = serial_seconds / CostModel::parallel(threads_, tasks());
        Arena packed;
        packed.reserve_floats(static_cast<double>(p.filter_elements()));
        packed_bytes = packed.bytes();
        pack_rate = std::numeric_limits<double>::infinity();  // unpacked filters are read where they are
        details = "columns of " + std::to_string(channels_) + " of " + std::to_string(inputs_) + " channels a task by a product with the filters as they are, then folded; " + std::to_string(images_) + " of " + std::to_string(p.batch) + " images at a time, " + std::to_string(tasks()) + " tasks, " + std::to_string(slots_) + " at a time";
        return Status();
    }

    /// A copy, dense.
    Status pack(const StridedIn &w, std::byte *packed, std::byte *, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        return parallel_for(execution, threads_, p.out_channels, [&](int64_t k, int, KernelContext &context) {
            const StageTimer timer(context.profile, "pack_filters");
            float *to = floats_at(packed, 0) + k * inputs_ * taps_;
            const float *from = w.data + k * w.s[0];
            if (takes_unpacked(w)) {
                std::copy_n(from, inputs_ * taps_, to);
            } else {
                for (int64_t c = 0; c < inputs_; c++) {
                    for (int64_t r = 0; r < p.filter_height; r++) {
                        for (int64_t s = 0; s < p.filter_width; s++) {
                            *to++ = from[c * w.s[1] + r * w.s[2] + s * w.s[3]];
                        }
                    }
                }
            }
            return true;
        });
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        return forward_unpacked(t, {floats_at(packed, 0), {inputs_ * taps_, taps_, problem_.filter_width, 1}}, workspace, execution);
    }

    bool takes_unpacked(const StridedIn &w) const override {
        const auto is = [](int64_t size, int64_t stride, int64_t dense) { return size == 1 || stride == dense; };
        return is(inputs_, w.s[1], taps_) && is(problem_.filter_height, w.s[2], problem_.filter_width) && is(problem_.filter_width, w.s[3], 1);
    }

    Status forward_unpacked(const ForwardTensors &t, const StridedIn &filters, std::byte *workspace, const Execution &execution) const override {
        Status status;
        for (int64_t n = 0; n < problem_.batch && status.ok(); n += images_) {
            const int64_t images = std::min(images_, problem_.batch - n);
            for (int64_t g = 0; g < problem_.groups && status.ok(); g++) {
                status = fill_panels(t.input, n, images, g, workspace, execution);
                if (status.ok()) {
                    status = add_up(t, filters, n, images, g, workspace, execution);
                }
            }
        }
        return status;
    }

private:
    /// That are summed at once, as im2col does: the kernel's own sums are twice as long.
    static constexpr int64_t kTerms = 256;

    /// At most so many channels a task, but one, in tasks of nearly the same size.
    int64_t balanced(int64_t most) const {
        return ceil_div(inputs_, ceil_div(inputs_, std::clamp<int64_t>(most, 1, inputs_)));
    }
    /// Tasks of the second phase; the channels are split evenly among them.
    int64_t tasks() const {
        return ceil_div(inputs_, channels_);
    }
    int64_t first_channel(int64_t task) const {
        return inputs_ * task / tasks();
    }
    /// Columns of all images of a round, in whole panels.
    int64_t columns() const {
        return round_up(images_ * pixels_, width_);
    }

    void lay_out() {
        Arena arena;
        panels_offset_ = arena.reserve_floats(static_cast<double>(columns()) * static_cast<double>(outputs_));
        zeros_offset_ = arena.reserve_floats(static_cast<double>(channels_));
        slots_offset_ = arena.reserve(0);
        Arena slot;
        weights_offset_ = slot.reserve_floats(static_cast<double>(outputs_) * static_cast<double>(round_up(channels_ * taps_, r_)));
        columns_offset_ = slot.reserve_floats(static_cast<double>(columns()) * static_cast<double>(round_up(channels_ * taps_, r_)));
        planes_offset_ = slot.reserve_floats(static_cast<double>(channels_) * static_cast<double>(fold_.height * fold_.width));
        slot_bytes_ = slot.bytes();
        arena.reserve(static_cast<double>(slot_bytes_) * slots_);
        workspace_bytes = arena.bytes();
    }

    void predict() {
        const Conv2dProblem &p = problem_;
        const CostModel model(kernel_.isa);
        const double rounds = static_cast<double>(ceil_div(p.batch, images_)), groups = static_cast<double>(p.groups);
        const double rows = static_cast<double>(tasks() * round_up(channels_ * taps_, r_)), panels = static_cast<double>(columns() / width_);
        const double steps = rounds * groups * rows / static_cast<double>(r_) * panels * static_cast<double>(outputs_);
        const double filters = 4.0 * static_cast<double>(p.filter_elements()) * rounds;
        const double moved = 4.0 * rounds * groups * static_cast<double>(columns()) * (2.0 * rows + 2.0 * static_cast<double>(outputs_));
        const double image = 4.0 * static_cast<double>(p.input_elements()) * (finishes_ ? 3.0 : 1.0);
        const double calls = rounds * groups * static_cast<double>(tasks()) * (2.0 + static_cast<double>(images_ * p.stride_h * p.stride_w));
        // Weights and panels come from L2: measured 0.6 to 0.7 of the peak.
        const double product = steps * model.tile_cycles(static_cast<int>(r_), static_cast<int>(width_ / model.lanes)) / 0.65 / model.hertz;
        serial_seconds = std::max(product, filters / model.stream_bytes_per_second) + (moved + image) / model.copy_bytes_per_second + calls * model.call_seconds + 2e-6;
    }

    /// gy of some images and a group, side by side: panels of width_ pixels, zero beyond the last.
    Status fill_panels(const StridedIn &gy, int64_t n, int64_t images, int64_t g, std::byte *workspace, const Execution &execution) const {
        const int64_t panels = ceil_div(images * pixels_, width_), row = problem_.out_width();
        const bool dense = gy.s[3] == 1 && gy.s[2] == row;
        const int64_t at_once = ceil_div(panels, 4 * threads_);
        return parallel_for(execution, threads_, ceil_div(panels, at_once), [&](int64_t task, int, KernelContext &context) {
            const StageTimer timer(context.profile, "copy_panels");
            for (int64_t i = task * at_once; i < std::min(panels, (task + 1) * at_once); i++) {
                float *panel = floats_at(workspace, panels_offset_) + i * width_ * outputs_;
                for (int64_t k = 0; k < outputs_; k++, panel += width_) {
                    const float *plane = gy.data + n * gy.s[0] + (g * outputs_ + k) * gy.s[1];
                    for (int64_t j = 0; j < width_;) {
                        const int64_t image = (i * width_ + j) / pixels_, q = (i * width_ + j) % pixels_;
                        if (image == images) {
                            std::fill(panel + j, panel + width_, 0.0f);
                            break;
                        }
                        const int64_t run = std::min(width_ - j, dense ? pixels_ - q : row - q % row);
                        const float *from = plane + image * gy.s[0] + q / row * gy.s[2] + q % row * gy.s[3];
                        for (int64_t x = 0; x < run; x++) {
                            panel[j + x] = from[x * gy.s[3]];
                        }
                        j += run;
                    }
                }
            }
            return true;
        });
    }

    Status add_up(const ForwardTensors &t, const StridedIn &filters, int64_t n, int64_t images, int64_t g, std::byte *workspace, const Execution &execution) const {
        const float *panels = floats_at(workspace, panels_offset_);
        float *zeros = floats_at(workspace, zeros_offset_);
        std::fill_n(zeros, channels_, -0.0f);
        const int64_t pitch = round_up(images * pixels_, width_);
        return parallel_for(execution, slots_, tasks(), [&](int64_t task, int slot, KernelContext &context) {
            std::byte *base = workspace + slots_offset_ + static_cast<size_t>(slot) * slot_bytes_;
            const int64_t c = first_channel(task), count = first_channel(task + 1) - c, rows = count * taps_;
            float *columns = floats_at(base, columns_offset_), *weights = floats_at(base, weights_offset_);
            // A task's weights lie far apart: side by side in the cache they are read without waiting, by as many tiles as share a line.
            const int64_t whole = round_up(rows, r_);
            {
                const StageTimer timer(context.profile, "copy_weights");
                const float *from = filters.data + g * outputs_ * filters.s[0] + c * filters.s[1];
                for (int64_t k = 0; k < outputs_; k++, from += filters.s[0]) {
                    std::copy_n(from, rows, weights + k * whole);
                    std::fill_n(weights + k * whole + rows, whole - rows, 0.0f);
                }
            }
            if (!product(weights, whole, panels, whole, pitch, columns, context)) {
                return false;
            }
            for (int64_t i = 0; i < images; i++) {
                if (!finish(t, columns + i * pixels_, pitch, n + i, g * inputs_ + c, count, floats_at(base, planes_offset_), zeros, context)) {
                    return false;
                }
            }
            return true;
        });
    }

    /// `rows` rows of columns from as many weights of each output channel, those `filter` floats apart.
    bool product(const float *w, int64_t filter, const float *panels, int64_t rows, int64_t pitch, float *columns, KernelContext &context) const {
        const Floats<4> out(columns, {{pitch, 1}, {1, 1}, {rows, pitch}, {1, 1}});
        for (int64_t k = 0; k < outputs_; k += kTerms) {
            const int64_t terms = std::min(kTerms, outputs_ - k);
            const Floats<4> x(w + k * filter, {{rows, 1}, {1, 1}, {terms, filter}, {1, 1}});
            const Floats<5> g(panels + k * width_, {{width_, 1}, {1, width_}, {terms, width_}, {pitch / width_, outputs_ * width_}, {1, 1}});
            if (!call(kernel_, context, x, g, out, int32_t{k > 0}, out)) {
                return false;
            }
        }
        return true;
    }

    /// `count` channels' columns of one image, folded, with bias, residual and post-op.
    bool finish(const ForwardTensors &t, const float *columns, int64_t pitch, int64_t image, int64_t c, int64_t count, float *scratch, const float *zeros, KernelContext &context) const {
        const Conv2dProblem &p = problem_;
        StridedOut out = t.output;
        out.data += image * out.s[0] + c * out.s[1];
        const ColumnsIn from = {columns, taps_ * pitch, pitch, p.filter_mode == FilterMode::kConvolution};
        if (!finishes_ && t.bias == nullptr) {
            return fold_.gather(from, 0, fold_.height, count, out, context);
        }
        const int64_t plane = fold_.height * fold_.width;
        const StridedOut planes = {scratch, {0, plane, fold_.width, 1}};
        if (!fold_.gather(from, 0, fold_.height, count, planes, context)) {
            return false;
        }
        int64_t origin = 0;
        if (fold_.folds) {
            fold_padding(p, planes, count);
            origin = p.pad_top * fold_.width + p.pad_left;
        }
        const PlanesIn inside = {scratch + origin, p.in_width, p.in_height, count, fold_.width, plane};
        const PlanesOut target = {out.data, p.in_width, p.in_height, count, out.s[2], out.s[1], out.s[3]};
        PlanesIn residual{};
        if (t.residual.data != nullptr) {
            const int64_t *s = t.residual.s;
            residual = {t.residual.data + image * s[0] + c * s[1], p.in_width, p.in_height, count, s[2], s[1], s[3]};
        }
        return crop_.run(inside, target, t.bias != nullptr ? t.bias + c : zeros, residual, post_, context);
    }

    const Conv2dProblem problem_;
    const Variant &kernel_;
    const FoldStage fold_;
    const CropStage crop_;
    const KernelPostOp post_;
    const int threads_;
    const int64_t r_, width_;           ///< rows and columns of the product's register tile
    const int64_t taps_, pixels_;       ///< of a filter; of an output plane
    const int64_t inputs_, outputs_;    ///< channels of a group
    bool finishes_ = false;             ///< planes are folded in the workspace even without a bias
    int64_t images_ = 1, channels_ = 1;  ///< at a time; of a task, at most
    int slots_ = 1;
    size_t panels_offset_ = 0, zeros_offset_ = 0, slots_offset_ = 0, slot_bytes_ = 0, weights_offset_ = 0, columns_offset_ = 0, planes_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_data_gradient_columns(const PlanRequest &request) {
    if (request.problem.layout == Layout::kNhwc) {
        return Status(StatusCode::kUnsupported, "the filters are read as they are in NCHW only");
    }
    if (variants_of("fold").empty()) {
        return Status(StatusCode::kUnsupported, "no variant of fold for this CPU");
    }
    return best_variant<ColumnsGradientPlan>(request, "winograd_correlation", [&](const Variant &kernel, const auto &consider) {
        consider(std::make_unique<ColumnsGradientPlan>(request, kernel));
    });
}

}  // namespace fourfold
