// bwd-data: the gradient of the input is a forward problem of its own, or several, and every algorithm computes them as such.
//
//     gx[n,c,a] = sum_{k,r,q : q*s + r*d - pad = a} gy[n,k,q] * w[k,c,r]          (one axis written)
//
// Input positions a = s*a' + e of one phase e see the taps r with r*d = e + pad (mod s) only: r = r0 + j*s/g, g = gcd(s, d).
// For those q = a' + c0 - j*d/g with c0 = (e + pad - r0*d)/s, a correlation of stride 1 and dilation d/g over gy with the taps
// in reverse order. So each phase is a forward problem on gy with the channels of the filters exchanged; its output is every
// s-th row and column of gx. Where its padding would be negative it reads a part of gy. Phases that no tap reaches are zero.
//
// (Depthwise layers with stride 2 have a kernel that computes all phases at once: backward_data_depthwise.cpp. Where packing the
// filters would take longest, columns are made from them as they are: backward_data_columns.cpp.)
//
// With a padding mode that repeats the image, the phases compute the gradient of the padded image, which is then folded back:
// each element of the border adds to the one that it repeats. A constant border has no gradient to pass on.
// (Source: Dumoulin & Visin, arXiv:1603.07285, chapter 4, for the stride-1 case.)
#include <algorithm>
#include <array>
#include <cstring>

#include "adjoint.h"
#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "finish.h"
#include "geometry.h"

namespace fourfold {
namespace {

/// The adjoint problem of one pair of phases.
struct Phase {
    AxisPhase rows, columns;
    std::unique_ptr<AlgorithmPlan> plan;
    size_t packed_offset = 0;
};

/// Every stride_h-th row, and the phases of its columns by their first column.
struct RowPhase {
    int64_t first, count;
    std::vector<ColumnPhase> columns;
};

class BackwardDataPlan final : public AlgorithmPlan {
public:
    /// Computes the gradient of `images` images at a time, which divides the batch.
    BackwardDataPlan(const PlanRequest &request, int64_t images)
        : problem_(request.problem), post_(kernel_post_op(problem_)), threads_(request.options.threads), images_(images), last_(problem_.layout == Layout::kNhwc) {
        const Conv2dProblem &p = problem_;
        folds_ = folds_padding(p);
        height_ = p.in_height + (folds_ ? p.pad_top + p.pad_bottom : 0);
        width_ = p.in_width + (folds_ ? p.pad_left + p.pad_right : 0);
        rows_ = axis_phases(height_, folds_ ? 0 : p.pad_top, p.stride_h, p.dilation_h, p.filter_height, p.out_height());
        columns_ = axis_phases(width_, folds_ ? 0 : p.pad_left, p.stride_w, p.dilation_w, p.filter_width, p.out_width());
        // The kernels write columns side by side in NCHW.
        interleaves_ = !last_ && p.stride_w > 1;
        int64_t covered_rows = 0, covered_columns = 0;
        for (const AxisPhase &a : rows_) {
            covered_rows += a.count;
        }
        for (const AxisPhase &b : columns_) {
            covered_columns += b.count;
        }
        gaps_ = covered_rows < height_ || covered_columns < width_;
        copies_filters_ = p.groups > 1 && p.in_channels > p.groups;
    }

    Status plan_phases(const AlgorithmEntry &entry, const PlanRequest &request) {
        Arena arena;
        padded_offset_ = arena.reserve_floats(folds_ ? static_cast<double>(images_ * problem_.in_channels) * static_cast<double>(height_) * static_cast<double>(width_) : 0.0);
        double interleaved = 0.0;
        for (const AxisPhase &a : rows_) {
            double row_phase = 0.0;
            for (const AxisPhase &b : columns_) {
                row_phase += static_cast<double>(a.count) * static_cast<double>(b.count);
            }
            interleaved = std::max(interleaved, row_phase);
        }
        interleaved_offset_ = arena.reserve_floats(interleaves_ ? interleaved * static_cast<double>(images_ * problem_.in_channels) : 0.0);
        phases_offset_ = arena.bytes();
        PlanRequest part = request;
        if (phases_offset_ > request.options.workspace_limit) {
            workspace_bytes = phases_offset_;
            return workspace_exhausted(phases_offset_, request.options.workspace_limit);
        }
        part.options.workspace_limit -= phases_offset_;
        Arena packed;
        size_t most = 0, most_serial = 0, most_pack = 0;
        double parallel = 0.0, flops = -1.0, pack_seconds = 0.0;
        layout = "bwd-data";
        double most_flops = -1.0;
        for (const AxisPhase &a : rows_) {
            for (const AxisPhase &b : columns_) {
                most_flops = std::max(most_flops, adjoint(a, b).flops());
            }
        }
        part.rank = nullptr;  // it knows the whole problem only
        for (const AxisPhase &a : rows_) {
            for (const AxisPhase &b : columns_) {
                part.problem = adjoint(a, b);
                // A choice is the largest phase's; the others follow where they can.
                const bool largest = part.problem.flops() == most_flops && flops < most_flops;
                part.collect = largest ? request.collect : nullptr;
                part.choice = request.choice;
                Result<std::unique_ptr<AlgorithmPlan>> plan = plan_forward(entry, part);
                if (!plan && !largest && !request.choice.empty()) {
                    part.choice.clear();
                    plan = plan_forward(entry, part);
                }
                if (!plan) {
                    return Status(plan.status().code(), "as a forward problem, '" + part.problem.to_string() + "': " + plan.status().message() + (phases_offset_ > 0 ? " (besides " + std::to_string(phases_offset_) + " bytes of gradients in passing)" : ""));
                }
                AlgorithmPlan &one = **plan;
                most = std::max(most, one.workspace_bytes);
                most_serial = std::max(most_serial, one.serial_workspace_bytes);
                most_pack = std::max(most_pack, one.pack_workspace_bytes);
                serial_seconds += one.serial_seconds;
                parallel += one.predicted_seconds;
                pack_seconds += static_cast<double>(one.packed_bytes) / one.pack_rate;
                layout += " [" + one.layout + "]";
                if (part.problem.flops() > flops) {
                    flops = part.problem.flops();
                    variant = one.variant;
                    choice = one.choice;
                    details = "as '" + part.problem.to_string() + "': " + one.details;
                }
                phases_.push_back({a, b, std::move(*plan), packed.reserve(static_cast<double>(one.packed_bytes))});
            }
        }
        if (interleaves_) {
            lay_out_rows();
        }
        packed_bytes = packed.bytes();
        pack_rate = pack_seconds > 0.0 ? static_cast<double>(packed_bytes) / pack_seconds : pack_rate;
        if (phases_.empty()) {
            choice = variant = entry.name;
            details = "no tap reaches the input";
        } else if (phases_.size() > 1) {
            details = std::to_string(phases_.size()) + " phases of " + std::to_string(problem_.stride_h) + "x" + std::to_string(problem_.stride_w) + ", the largest " + details;
        }
        if (images_ < problem_.batch) {
            details += "; " + std::to_string(images_) + " of " + std::to_string(problem_.batch) + " images at a time";
        }
        if (folds_) {
            details += "; the padded image's gradient is folded back";
        }
        workspace_bytes = phases_offset_ + most;
        serial_workspace_bytes = phases_offset_ + most_serial;
        Arena pack;
        filters_offset_ = pack.reserve_floats(copies_filters_ ? static_cast<double>(problem_.filter_elements()) : 0.0);
        pack_phases_offset_ = pack.bytes();
        pack_workspace_bytes = pack_phases_offset_ + most_pack;
        // What is moved besides, and the rounds of images.
        const CostModel model(best_isa());
        const double rounds = static_cast<double>(ceil_div(problem_.batch, images_));
        const double image = 4.0 * static_cast<double>(problem_.batch * problem_.in_channels) * static_cast<double>(height_) * static_cast<double>(width_);
        const double moved = image * ((interleaves_ ? 2.0 : 0.0) + (folds_ ? 3.0 : 0.0) + (gaps_ && !interleaves_ ? 1.0 : 0.0)) / model.copy_bytes_per_second;
        serial_seconds = serial_seconds * rounds + moved + 1e-6;
        predicted_seconds = parallel * rounds + moved / CostModel::parallel(threads_, problem_.batch * problem_.in_channels) + 1e-6;
        return Status();
    }

    Status pack(const StridedIn &filters, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        StridedIn exchanged;
        if (Status status = exchange(filters, floats_at(workspace, filters_offset_), execution, exchanged); !status.ok()) {
            return status;
        }
        for (const Phase &phase : phases_) {
            const auto [row, row_step] = first_tap(phase.rows, problem_.filter_height);
            const auto [column, column_step] = first_tap(phase.columns, problem_.filter_width);
            const StridedIn taps = {exchanged.data + row * exchanged.s[2] + column * exchanged.s[3], {exchanged.s[0], exchanged.s[1], row_step * exchanged.s[2], column_step * exchanged.s[3]}};
            // The last bytes may be alignment only; saved blocks must not carry old memory.
            if (phase.plan->packed_bytes >= kAlignment) {
                std::memset(packed + phase.packed_offset + phase.plan->packed_bytes - kAlignment, 0, kAlignment);
            }
            if (Status status = phase.plan->pack(taps, packed + phase.packed_offset, workspace + pack_phases_offset_, execution); !status.ok()) {
                return status;
            }
        }
        return Status();
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        Status status;
        for (int64_t n = 0; n < problem_.batch && status.ok(); n += images_) {
            ForwardTensors part = t;
            part.input.data += n * t.input.s[0];
            part.output.data += n * t.output.s[0];
            part.residual.data += t.residual.data != nullptr ? n * t.residual.s[0] : 0;
            status = images(part, packed, workspace, execution);
        }
        return status;
    }

private:
    /// The forward problem that computes the gradient at one pair of phases.
    Conv2dProblem adjoint(const AxisPhase &a, const AxisPhase &b) const {
        const Conv2dProblem &p = problem_;
        Conv2dProblem q;
        q.batch = images_;
        q.in_channels = p.out_channels;
        q.in_height = a.size;
        q.in_width = b.size;
        q.out_channels = p.in_channels;
        q.filter_height = a.taps;
        q.filter_width = b.taps;
        q.pad_top = a.before;
        q.pad_bottom = a.after;
        q.pad_left = b.before;
        q.pad_right = b.after;
        q.dilation_h = a.dilation;
        q.dilation_w = b.dilation;
        q.groups = p.groups;
        q.filter_mode = p.filter_mode == FilterMode::kCorrelation ? FilterMode::kConvolution : FilterMode::kCorrelation;
        q.layout = p.layout;
        if (finishes_in_place()) {
            q.post_op = p.post_op;
            q.clamp_lo = p.clamp_lo;
            q.clamp_hi = p.clamp_hi;
            q.residual = p.residual;
        }
        return q;
    }

    /// Whether the phases' own plans add bias and residual and apply the post-op.
    bool finishes_in_place() const {
        return !folds_ && !interleaves_;
    }

    /// The first of a phase's taps in the filter as the caller has it, and their distance.
    std::pair<int64_t, int64_t> first_tap(const AxisPhase &phase, int64_t taps) const {
        if (problem_.filter_mode == FilterMode::kCorrelation) {
            return {phase.tap, phase.tap_step};
        }
        return {taps - 1 - phase.tap - (phase.taps - 1) * phase.tap_step, phase.tap_step};
    }

    /// Filters (ic, oc/groups, f0, f1) from (oc, ic/groups, f0, f1): by strides, or copied where groups make that impossible.
    Status exchange(const StridedIn &w, float *copy, const Execution &execution, StridedIn &exchanged) const {
        const Conv2dProblem &p = problem_;
        const int64_t inputs = p.in_channels / p.groups, outputs = p.out_channels / p.groups;
        if (!copies_filters_) {
            exchanged = {w.data, {inputs == 1 ? outputs * w.s[0] : w.s[1], w.s[0], w.s[2], w.s[3]}};
            return Status();
        }
        const int64_t plane = p.filter_height * p.filter_width;
        exchanged = {copy, {outputs * plane, plane, p.filter_width, 1}};
        return parallel_for(execution, threads_, p.in_channels, [&](int64_t c, int, KernelContext &) {
            float *out = copy + c * outputs * plane;
            for (int64_t k = 0; k < outputs; k++) {
                const float *from = w.data + (c / inputs * outputs + k) * w.s[0] + c % inputs * w.s[1];
                for (int64_t r = 0; r < p.filter_height; r++) {
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        *out++ = from[r * w.s[2] + s * w.s[3]];
                    }
                }
            }
            return true;
        });
    }

    Status images(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const {
        const Conv2dProblem &p = problem_;
        // Where the phases' gradients go: to the caller, or to the padded image's gradient.
        StridedOut target = t.output;
        if (folds_) {
            target.data = floats_at(workspace, padded_offset_);
            const int64_t c = p.in_channels;
            const int64_t nchw[4] = {c * height_ * width_, height_ * width_, width_, 1}, nhwc[4] = {c * height_ * width_, 1, width_ * c, c};
            std::copy_n(last_ ? nhwc : nchw, 4, target.s);
        }
        const Finish finish = {last_, threads_, execution};
        const Epilogue epilogue = folds_ ? Epilogue{} : Epilogue{t.bias, t.residual, post_};
        if (interleaves_) {
            for (const RowPhase &rows : row_phases_) {
                if (Status status = interleave_row_phase(rows, t, epilogue, finish, target, packed, workspace); !status.ok()) {
                    return status;
                }
            }
            return folds_ ? fold(t, target, finish) : Status();
        }
        if (gaps_) {
            if (Status status = finish.run(StridedIn{}, {images_, p.in_channels, height_, width_}, epilogue, target); !status.ok()) {
                return status;
            }
        }
        for (const Phase &phase : phases_) {
            ForwardTensors one = phase_tensors(phase, t);
            const auto every = [&](auto view) { return every_row(every_column(view, phase.columns.first), phase.rows.first); };
            one.output = every(target);
            if (!folds_) {
                one.bias = t.bias;
                one.residual = t.residual.data != nullptr ? every(t.residual) : t.residual;
            }
            if (Status status = phase.plan->forward(one, packed + phase.packed_offset, workspace + phases_offset_, execution); !status.ok()) {
                return status;
            }
        }
        return folds_ ? fold(t, target, finish) : Status();
    }

    /// What a phase's plan reads: the part of gy that its window meets.
    static ForwardTensors phase_tensors(const Phase &phase, const ForwardTensors &t) {
        ForwardTensors one;
        one.input = t.input;
        one.input.data += phase.rows.skip * t.input.s[2] + phase.columns.skip * t.input.s[3];
        return one;
    }
    template<typename View>
    View every_row(View view, int64_t first) const {
        view.data += first * view.s[2];
        view.s[2] *= problem_.stride_h;
        return view;
    }
    template<typename View>
    View every_column(View view, int64_t first) const {
        view.data += first * view.s[3];
        view.s[3] *= problem_.stride_w;
        return view;
    }

    /// Every stride_h-th row of gx: the phases of its columns one after the other, then all of them side by side.
    Status interleave_row_phase(const RowPhase &rows, const ForwardTensors &t, const Epilogue &epilogue, const Finish &finish, const StridedOut &target, const std::byte *packed, std::byte *workspace) const {
        float *base = floats_at(workspace, interleaved_offset_);
        for (const Phase &phase : phases_) {
            if (phase.rows.first != rows.first) {
                continue;
            }
            const ColumnPhase &columns = rows.columns[static_cast<size_t>(phase.columns.first)];
            ForwardTensors one = phase_tensors(phase, t);
            one.output = {base + columns.offset, {columns.image, columns.plane, columns.row, 1}};
            if (Status status = phase.plan->forward(one, packed + phase.packed_offset, workspace + phases_offset_, finish.execution); !status.ok()) {
                return status;
            }
        }
        Epilogue own = epilogue;
        own.residual = own.residual.data != nullptr ? every_row(own.residual, rows.first) : own.residual;
        return finish.interleave(base, rows.columns, {images_, problem_.in_channels, rows.count, width_}, own, every_row(target, rows.first));
    }

    /// Where the columns of each row phase lie until they are interleaved; phases that no tap reaches are zero.
    void lay_out_rows() {
        const int64_t channels = problem_.in_channels;
        for (int64_t first = 0; first < std::min(problem_.stride_h, height_); first++) {
            RowPhase rows = {first, ceil_div(height_ - first, problem_.stride_h), std::vector<ColumnPhase>(static_cast<size_t>(problem_.stride_w))};
            int64_t offset = 0;
            for (const Phase &phase : phases_) {
                if (phase.rows.first == first) {
                    const int64_t plane = rows.count * phase.columns.count;
                    rows.columns[static_cast<size_t>(phase.columns.first)] = {offset, channels * plane, plane, phase.columns.count};
                    offset += images_ * channels * plane;
                }
            }
            row_phases_.push_back(std::move(rows));
        }
    }

    /// The padded image's gradient back onto the image, then the epilogue.
    Status fold(const ForwardTensors &t, const StridedOut &padded, const Finish &finish) const {
        const Conv2dProblem &p = problem_;
        // Channels next to each other in memory go together.
        const int64_t at_once = last_ ? std::min<int64_t>(64, p.in_channels) : 1;
        const int64_t blocks = ceil_div(p.in_channels, at_once);
        Status status = parallel_for(finish.execution, threads_, images_ * blocks, [&](int64_t index, int, KernelContext &) {
            const int64_t c = index % blocks * at_once;
            StridedOut planes = padded;
            planes.data += index / blocks * padded.s[0] + c * padded.s[1];
            fold_padding(p, planes, std::min(at_once, p.in_channels - c));
            return true;
        });
        if (!status.ok()) {
            return status;
        }
        const StridedIn inside = {padded.data + p.pad_top * padded.s[2] + p.pad_left * padded.s[3], {padded.s[0], padded.s[1], padded.s[2], padded.s[3]}};
        return finish.run(inside, {images_, p.in_channels, p.in_height, p.in_width}, {t.bias, t.residual, post_}, t.output);
    }

    const Conv2dProblem problem_;
    const KernelPostOp post_;
    const int threads_;
    const int64_t images_;  ///< at a time
    const bool last_;       ///< channels are the last dimension in memory
    bool folds_, interleaves_, gaps_, copies_filters_;
    int64_t height_, width_;  ///< of the gradient that the phases compute: the padded image's where it is folded
    std::vector<AxisPhase> rows_, columns_;
    std::vector<Phase> phases_;
    std::vector<RowPhase> row_phases_;  ///< where columns are interleaved
    size_t padded_offset_ = 0, interleaved_offset_ = 0, phases_offset_ = 0, filters_offset_ = 0, pack_phases_offset_ = 0;
};

/// All images at once, or one by one where the workspace is short.
Result<std::unique_ptr<AlgorithmPlan>> plan_phases(const AlgorithmEntry &entry, const PlanRequest &request) {
    Status status;
    for (int64_t images : {request.problem.batch, int64_t{1}}) {
        auto plan = std::make_unique<BackwardDataPlan>(request, images);
        status = plan->plan_phases(entry, request);
        if (status.ok()) {
            return std::unique_ptr<AlgorithmPlan>(std::move(plan));
        }
        if (status.code() != StatusCode::kResourceExhausted) {
            break;
        }
    }
    return status;
}

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_backward_data(const AlgorithmEntry &entry, const PlanRequest &request) {
    if (entry.plan == nullptr) {
        return Status(StatusCode::kUnsupported, std::string("algorithm '") + entry.name + "' is not in this version");
    }
    if (!request.options.variant.empty()) {
        // Even where no phase asks for it, a variant that does not exist is an error.
        if (const Result<const Variant *> forced = forced_variant(request.options, nullptr); !forced && forced.status().code() == StatusCode::kInvalidArgument) {
            return forced.status();
        }
    }
    Result<std::unique_ptr<AlgorithmPlan>> phases = plan_phases(entry, request);
    // Two algorithms have a kernel of their own as well.
    const bool direct = entry.algorithm == Algorithm::kDirect;
    if (!direct && entry.algorithm != Algorithm::kIm2col) {
        return phases;
    }
    Result<std::unique_ptr<AlgorithmPlan>> other = direct ? plan_data_gradient_depthwise(request) : plan_data_gradient_columns(request);
    if (!request.options.variant.empty() && forced_variant(request.options, direct ? "conv_depthwise_strided_gradient" : "winograd_correlation").ok()) {
        return other;
    }
    return other.ok() && (!phases.ok() || (*other)->ranked_seconds < request.ranked(**phases)) ? std::move(other) : std::move(phases);
}

}  // namespace fourfold
