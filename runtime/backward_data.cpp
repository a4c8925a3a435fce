// bwd-data: the gradient of the input is a forward problem of its own, or several, and every algorithm computes them as such.
//
//     gx[n,c,a] = sum_{k,r,q : q*s + r*d - pad = a} gy[n,k,q] * w[k,c,r]          (one axis written)
//
// Input positions a = s*a' + e of one phase e see the taps r with r*d = e + pad (mod s) only: r = r0 + j*s/g, g = gcd(s, d).
// For those q = a' + c0 - j*d/g with c0 = (e + pad - r0*d)/s, a correlation of stride 1 and dilation d/g over gy with the taps
// in reverse order. So each phase is a forward problem on gy with the channels of the filters exchanged; its output is every
// s-th row and column of gx. Where its padding would be negative it reads a part of gy. Phases that no tap reaches are zero.
// Most phases are one problem at different offsets, and share its plan.
//
// (Depthwise layers with stride 2 have a kernel that computes all phases at once: backward_data_depthwise.cpp. Where packing the
// filters would take longest, columns are made from them as they are: backward_data_columns.cpp.)
//
// With a padding mode that repeats the image, the phases compute the gradient of the padded image, which is then folded back:
// each element of the border adds to the one that it repeats. A constant border has no gradient to pass on.
// (Source: Dumoulin & Visin, arXiv:1603.07285, chapter 4, for the stride-1 case.)
#include <algorithm>
#include <cstring>

#include "adjoint.h"
#include "algorithm.h"
#include "arena.h"
#include "cost_model.h"
#include "finish.h"
#include "geometry.h"

namespace fourfold {
namespace {

/// The most pairs of phases, and the most different problems among them, that are planned.
constexpr int64_t kMostPhases = int64_t{1} << 20, kMostPlans = int64_t{1} << 10;

class BackwardDataPlan final : public AlgorithmPlan {
public:
    /// Computes the gradient of `images` images at a time, which divides the batch.
    BackwardDataPlan(const PlanRequest &request, int64_t images)
        : problem_(request.problem), post_(kernel_post_op(problem_)), threads_(request.options.threads), images_(images), last_(problem_.layout == Layout::kNhwc), folds_(folds_padding(problem_)), height_(problem_.in_height + (folds_ ? problem_.pad_top + problem_.pad_bottom : 0)), width_(problem_.in_width + (folds_ ? problem_.pad_left + problem_.pad_right : 0)), rows_(axis_phases(height_, folds_ ? 0 : problem_.pad_top, problem_.stride_h, problem_.dilation_h, problem_.filter_height, problem_.out_height())), columns_(axis_phases(width_, folds_ ? 0 : problem_.pad_left, problem_.stride_w, problem_.dilation_w, problem_.filter_width, problem_.out_width())) {
        const Conv2dProblem &p = problem_;
        // The kernels write columns side by side in NCHW.
        interleaves_ = !last_ && p.stride_w > 1;
        gaps_ = rows_.covered < height_ || columns_.covered < width_;
        copies_filters_ = p.groups > 1 && p.in_channels > p.groups;
    }

    Status plan_phases(const AlgorithmEntry &entry, const PlanRequest &request) {
        if (const auto plans = static_cast<int64_t>(rows_.of_kind.size() * columns_.of_kind.size()); plans > kMostPlans) {
            return Status(StatusCode::kUnsupported, "stride " + std::to_string(problem_.stride_h) + "x" + std::to_string(problem_.stride_w) + " and dilation " + std::to_string(problem_.dilation_h) + "x" + std::to_string(problem_.dilation_w) + " make " + std::to_string(plans) + " different phases; at most " + std::to_string(kMostPlans) + " are planned");
        }
        Arena arena;
        padded_offset_ = arena.reserve_floats(folds_ ? static_cast<double>(images_ * problem_.in_channels) * static_cast<double>(height_) * static_cast<double>(width_) : 0.0);
        int64_t most_rows = 0;
        for (const AxisPhase &a : rows_.of_kind) {
            most_rows = std::max(most_rows, a.count);
        }
        interleaved_offset_ = arena.reserve_floats(interleaves_ ? static_cast<double>(most_rows) * static_cast<double>(columns_.covered) * static_cast<double>(images_ * problem_.in_channels) : 0.0);
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
        for (const AxisPhase &a : rows_.of_kind) {
            for (const AxisPhase &b : columns_.of_kind) {
                most_flops = std::max(most_flops, adjoint_problem(problem_, images_, a, b, finishes_in_place()).flops());
            }
        }
        part.rank = nullptr;  // it knows the whole problem only
        plans_.resize(rows_.of_kind.size() * columns_.of_kind.size());
        for (size_t i = 0; i < rows_.phases.size(); i++) {
            for (size_t j = 0; j < columns_.phases.size(); j++) {
                std::unique_ptr<AlgorithmPlan> &shared = plans_[plan_index(i, j)];
                if (shared == nullptr) {
                    part.problem = adjoint_problem(problem_, images_, rows_.phases[i], columns_.phases[j], finishes_in_place());
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
                    shared = std::move(*plan);
                    most = std::max(most, shared->workspace_bytes);
                    most_serial = std::max(most_serial, shared->serial_workspace_bytes);
                    most_pack = std::max(most_pack, shared->pack_workspace_bytes);
                    layout += " [" + shared->layout + "]";
                    if (part.problem.flops() > flops) {
                        flops = part.problem.flops();
                        variant = shared->variant;
                        choice = shared->choice;
                        details = "as '" + part.problem.to_string() + "': " + shared->details;
                    }
                }
                serial_seconds += shared->serial_seconds;
                parallel += shared->predicted_seconds;
                pack_seconds += static_cast<double>(shared->packed_bytes) / shared->pack_rate;
                packed_offsets_.push_back(packed.reserve(static_cast<double>(shared->packed_bytes)));
            }
        }
        if (interleaves_) {
            int64_t before = 0;
            for (const AxisPhase &b : columns_.phases) {
                column_phases_.push_back({b.first, b.count, before});
                before += b.count;
            }
            for (const AxisPhase &a : rows_.phases) {
                first_rows_.push_back(a.first);
            }
            std::sort(first_rows_.begin(), first_rows_.end());
        }
        packed_bytes = packed.bytes();
        pack_rate = pack_seconds > 0.0 ? static_cast<double>(packed_bytes) / pack_seconds : pack_rate;
        if (packed_offsets_.empty()) {
            choice = variant = entry.name;
            details = "no tap reaches the input";
        } else if (packed_offsets_.size() > 1) {
            details = std::to_string(packed_offsets_.size()) + " phases of " + std::to_string(problem_.stride_h) + "x" + std::to_string(problem_.stride_w) + ", the largest " + details;
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
        for (size_t i = 0; i < rows_.phases.size(); i++) {
            for (size_t j = 0; j < columns_.phases.size(); j++) {
                const StridedIn taps = adjoint_taps(problem_, exchanged, rows_.phases[i], columns_.phases[j]);
                const AlgorithmPlan &plan = *plans_[plan_index(i, j)];
                std::byte *const block = packed + packed_offset(i, j);
                // The last bytes may be alignment only; saved blocks must not carry old memory.
                if (plan.packed_bytes >= kAlignment) {
                    std::memset(block + plan.packed_bytes - kAlignment, 0, kAlignment);
                }
                if (Status status = plan.pack(taps, block, workspace + pack_phases_offset_, execution); !status.ok()) {
                    return status;
                }
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
    /// Of the i-th phase of the rows and the j-th of the columns.
    size_t plan_index(size_t i, size_t j) const {
        return rows_.kind[i] * columns_.of_kind.size() + columns_.kind[j];
    }
    size_t packed_offset(size_t i, size_t j) const {
        return packed_offsets_[i * columns_.phases.size() + j];
    }

    /// Whether the phases' own plans add bias and residual and apply the post-op.
    bool finishes_in_place() const {
        return !folds_ && !interleaves_;
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
            if (Status status = interleave_rows(t, epilogue, finish, target, packed, workspace); !status.ok()) {
                return status;
            }
            return folds_ ? fold(t, target, finish) : Status();
        }
        if (gaps_) {
            if (Status status = finish.run(StridedIn{}, {images_, p.in_channels, height_, width_}, epilogue, target); !status.ok()) {
                return status;
            }
        }
        for (size_t i = 0; i < rows_.phases.size(); i++) {
            for (size_t j = 0; j < columns_.phases.size(); j++) {
                ForwardTensors one;
                const auto every = [&](auto view) { return every_row(every_column(view, columns_.phases[j].first), rows_.phases[i].first); };
                one.output = every(target);
                if (!folds_) {
                    one.bias = t.bias;
                    one.residual = t.residual.data != nullptr ? every(t.residual) : t.residual;
                }
                if (Status status = run_phase(i, j, t, one, packed, workspace, execution); !status.ok()) {
                    return status;
                }
            }
        }
        return folds_ ? fold(t, target, finish) : Status();
    }

    /// The plan of two phases on the part of gy that its window meets; `one` has the rest.
    Status run_phase(size_t i, size_t j, const ForwardTensors &t, ForwardTensors &one, const std::byte *packed, std::byte *workspace, const Execution &execution) const {
        one.input = t.input;
        one.input.data += rows_.phases[i].skip * t.input.s[2] + columns_.phases[j].skip * t.input.s[3];
        return plans_[plan_index(i, j)]->forward(one, packed + packed_offset(i, j), workspace + phases_offset_, execution);
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

    /// Every stride_h-th row of gx at a time: the phases of its columns one after the other, then all of them side by side.
    Status interleave_rows(const ForwardTensors &t, const Epilogue &epilogue, const Finish &finish, const StridedOut &target, const std::byte *packed, std::byte *workspace) const {
        float *const base = floats_at(workspace, interleaved_offset_);
        const auto finish_rows = [&](int64_t first, int64_t count, const std::vector<ColumnPhase> &columns) {
            Epilogue own = epilogue;
            own.residual = own.residual.data != nullptr ? every_row(own.residual, first) : own.residual;
            return finish.interleave(base, columns, problem_.stride_w, {images_, problem_.in_channels, count, width_}, own, every_row(target, first));
        };
        for (size_t i = 0; i < rows_.phases.size(); i++) {
            const AxisPhase &a = rows_.phases[i];
            for (size_t j = 0; j < columns_.phases.size(); j++) {
                const ColumnPhase &columns = column_phases_[j];
                const int64_t plane = a.count * columns.count;
                ForwardTensors one;
                one.output = {base + images_ * problem_.in_channels * a.count * columns.before, {problem_.in_channels * plane, plane, columns.count, 1}};
                if (Status status = run_phase(i, j, t, one, packed, workspace, finish.execution); !status.ok()) {
                    return status;
                }
            }
            if (Status status = finish_rows(a.first, a.count, column_phases_); !status.ok()) {
                return status;
            }
        }
        auto next = first_rows_.begin();
        for (int64_t first = 0; first < std::min(problem_.stride_h, height_); first++) {
            if (next != first_rows_.end() && *next == first) {
                ++next;
            } else if (Status status = finish_rows(first, ceil_div(height_ - first, problem_.stride_h), {}); !status.ok()) {
                return status;
            }
        }
        return Status();
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
    const bool folds_;      ///< padding back onto the image
    const int64_t height_, width_;  ///< of the gradient that the phases compute: the padded image's where it is folded
    const AdjointAxis rows_, columns_;
    bool interleaves_, gaps_, copies_filters_;
    std::vector<std::unique_ptr<AlgorithmPlan>> plans_;  ///< of each kind of rows, those of columns
    std::vector<size_t> packed_offsets_;                 ///< of each phase of the rows, those of the columns
    std::vector<ColumnPhase> column_phases_;             ///< where columns are interleaved
    std::vector<int64_t> first_rows_;                    ///< of the phases, ascending, there too
    size_t padded_offset_ = 0, interleaved_offset_ = 0, phases_offset_ = 0, filters_offset_ = 0, pack_phases_offset_ = 0;
};

/// All images at once, or one by one where the workspace is short.
Result<std::unique_ptr<AlgorithmPlan>> plan_phases(const AlgorithmEntry &entry, const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const int64_t rows = phase_count(p.stride_h, p.dilation_h, p.filter_height), columns = phase_count(p.stride_w, p.dilation_w, p.filter_width);
    if (rows > kMostPhases / columns) {
        return Status(StatusCode::kUnsupported, "the gradient has " + std::to_string(rows) + "x" + std::to_string(columns) + " phases, one for every tap within a stride; at most 2^20 are planned");
    }
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
    if (!request.options.variant.empty()) {
        // Even where no phase asks for it, a variant that does not exist is an error.
        if (const Result<const Variant *> forced = forced_variant(request.options, nullptr); !forced && forced.status().code() == StatusCode::kInvalidArgument) {
            return forced.status();
        }
    }
    Result<std::unique_ptr<AlgorithmPlan>> phases = plan_phases(entry, request);
    if (entry.algorithm == Algorithm::kNaive && request.options.variant.empty() && phases.status().code() == StatusCode::kUnsupported) {
        return plan_data_gradient_naive(request);  // of too many phases
    }
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
