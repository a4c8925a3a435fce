// bwd-data on a GPU by an algorithm that has forward plans alone: the gradient is a forward problem for each phase of the stride, on gy with
// the channels of the filters exchanged (backward_data.cpp has the formulas). A phase writes every s-th row and column of the gradient
// where it lies. Where padding is folded back, or no tap reaches some pixels, the phases write to a gradient in the workspace first.
#include <sstream>
#include <utility>

#include "adjoint.h"
#include "device/device_plan.h"

namespace fourfold {
namespace {

constexpr int64_t kMostPhases = 1024;  ///< each is a forward execution

class DeviceAdjointPlan final : public AlgorithmPlan {
public:
    explicit DeviceAdjointPlan(const PlanRequest &request)
        : problem_(request.problem), device_(*request.device), cut_(device_variant(device_, "cut_planes")), post_(kernel_post_op(problem_)), fold_(device_, problem_, tables_), rows_(axis_phases(fold_.height(), fold_.needed() ? 0 : problem_.pad_top, problem_.stride_h, problem_.dilation_h, problem_.filter_height, problem_.out_height())), columns_(axis_phases(fold_.width(), fold_.needed() ? 0 : problem_.pad_left, problem_.stride_w, problem_.dilation_w, problem_.filter_width, problem_.out_width())), gaps_(rows_.covered < fold_.height() || columns_.covered < fold_.width()), in_place_(!fold_.needed() && !gaps_), copies_filters_(problem_.groups > 1 && problem_.in_channels > problem_.groups), zeros_(tables_.add_zeros(static_cast<size_t>(problem_.in_channels))) {
    }

    Status plan_phases(Algorithm algorithm, Planner planner, const PlanRequest &request) {
        const double gradient = in_place_ ? 0.0 : static_cast<double>(problem_.batch * problem_.in_channels) * static_cast<double>(fold_.height()) * static_cast<double>(fold_.width());
        Arena arena;
        gradient_offset_ = arena.reserve_floats(gradient);
        phases_offset_ = workspace_bytes = arena.bytes();
        if (phases_offset_ > request.options.workspace_limit) {
            return workspace_exhausted(phases_offset_, request.options.workspace_limit);
        }
        if (static_cast<double>(problem_.filter_elements()) >= static_cast<double>(1 << 29)) {
            return Status(StatusCode::kUnsupported, "filters of 2^31 bytes or more are beyond a kernel call's reach");
        }
        PlanRequest part = request;
        part.options.workspace_limit -= phases_offset_;
        part.rank = nullptr;  // it knows the whole problem only
        // The largest phase chooses, and the others follow, so that the choice tells the whole plan.
        size_t largest = 0;
        double most_flops = -1.0;
        const size_t across = columns_.of_kind.size(), kinds = rows_.of_kind.size() * across;
        const auto problem_of = [&](size_t kind) { return adjoint_problem(problem_, problem_.batch, rows_.of_kind[kind / across], columns_.of_kind[kind % across], in_place_); };
        for (size_t kind = 0; kind < kinds; kind++) {
            if (const double flops = problem_of(kind).flops(); flops > most_flops) {
                most_flops = flops;
                largest = kind;
            }
        }
        plans_.resize(kinds);
        for (size_t i = 0; i < kinds; i++) {
            const size_t kind = i == 0 ? largest : i - (i <= largest ? 1 : 0);
            const Result<Conv2dProblem> problem = reachable_problem(problem_of(kind));
            Status status = problem.status();
            if (problem) {
                part.problem = *problem;
                Result<std::unique_ptr<AlgorithmPlan>> made = planner(part);
                status = made.status();
                plans_[kind] = made ? std::move(*made) : nullptr;
            }
            if (!status.ok()) {
                return Status(status.code(), "as a forward problem, '" + problem_of(kind).to_string() + "': " + status.message() + (phases_offset_ > 0 ? " (besides " + std::to_string(phases_offset_) + " bytes of the gradient in passing)" : ""));
            }
            const AlgorithmPlan &made = *plans_[kind];
            workspace_bytes = std::max(workspace_bytes, phases_offset_ + made.workspace_bytes);
            pack_workspace_bytes = std::max(pack_workspace_bytes, made.pack_workspace_bytes);
            if (i == 0) {
                variant = made.variant;
                choice = made.choice;
                details = (rows_.phases.size() * columns_.phases.size() > 1 ? std::to_string(rows_.phases.size() * columns_.phases.size()) + " phases, the largest " : "") + std::string("as '") + part.problem.to_string() + "': " + made.details;
                part.collect = nullptr;
                part.choice.clear();
                std::istringstream words(choice);
                for (std::string word; words >> word;) {
                    part.choice.push_back(word);
                }
            }
        }
        layout = "bwd-data";
        Arena packed;
        for (const size_t row : rows_.kind) {
            for (const size_t column : columns_.kind) {
                const AlgorithmPlan &phase = *plans_[row * across + column];
                layout += " [" + phase.layout + "]";
                packed_offsets_.push_back(packed.reserve(static_cast<double>(phase.packed_bytes)));
                serial_seconds += phase.serial_seconds;
            }
        }
        packed_bytes = packed.bytes();
        Arena pack;
        filters_offset_ = pack.reserve_floats(copies_filters_ ? static_cast<double>(problem_.filter_elements()) : 0.0);
        pack_phases_offset_ = pack.bytes();
        pack_workspace_bytes += pack_phases_offset_;
        if (kinds == 0) {
            variant = choice = to_string(algorithm);
            details = "no tap reaches the input";
        }
        if (!in_place_) {
            details += fold_.needed() ? "; the padded image's gradient is folded back" : "; finished after all phases";
            const DeviceModel model(device_.info());
            serial_seconds += 4.0 * (gaps_ ? 3.0 : 2.0) * gradient / model.bytes_per_second + 2.0 * model.launch_seconds;
        }
        serial_workspace_bytes = workspace_bytes;
        predicted_seconds = serial_seconds;
        return Status();
    }

    Status prepare() override {
        Status status = tables_.upload(device_);
        for (const std::unique_ptr<AlgorithmPlan> &phase : plans_) {
            status = status.ok() ? phase->prepare() : status;
        }
        return status.ok() ? compile_modules(*this, device_, problem_) : status;
    }

    Status pack(const StridedIn &w, std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        StridedIn exchanged;
        Status status = exchange(w, floats_at(workspace, filters_offset_), execution, exchanged);
        each_phase([&](size_t i, const AxisPhase &rows, const AxisPhase &columns, const AlgorithmPlan &phase) {
            status = status.ok() ? phase.pack(adjoint_taps(problem_, exchanged, rows, columns), packed + packed_offsets_[i], workspace + pack_phases_offset_, execution) : status;
        });
        return status;
    }

    Status forward(const ForwardTensors &t, const std::byte *packed, std::byte *workspace, const Execution &execution) const override {
        const Conv2dProblem &p = problem_;
        const int64_t height = fold_.height(), width = fold_.width();
        float *const gradient = floats_at(workspace, gradient_offset_);
        const StridedOut target = in_place_ ? t.output : StridedOut{gradient, {p.in_channels * height * width, height * width, width, 1}};
        Status status;
        if (gaps_ && execution.modules == nullptr) {
            status = device_.zero(gradient, static_cast<size_t>(p.batch * target.s[0]) * sizeof(float), execution.stream);
        }
        each_phase([&](size_t i, const AxisPhase &rows, const AxisPhase &columns, const AlgorithmPlan &phase) {
            ForwardTensors one;
            const auto every = [&](auto view) {
                view.data += rows.first * view.s[2] + columns.first * view.s[3];
                view.s[2] *= p.stride_h;
                view.s[3] *= p.stride_w;
                return view;
            };
            one.input = t.input;
            one.input.data += rows.skip * t.input.s[2] + columns.skip * t.input.s[3];
            one.output = every(target);
            if (in_place_) {
                one.bias = t.bias;
                one.residual = t.residual.data != nullptr ? every(t.residual) : t.residual;
            }
            status = status.ok() ? phase.forward(one, packed + packed_offsets_[i], workspace + phases_offset_, execution) : status;
        });
        if (!status.ok() || in_place_) {
            return status;
        }
        const float *const bias = t.bias != nullptr ? t.bias : tables_.floats(zeros_);
        return on_device(execution, [&](KernelContext &context) {
            return fold_.needed() ? fold_.run(gradient, tables_, bias, post_, t, context)
                                  : device_finish(device_, {gradient, {target.s[0], target.s[1], target.s[2], target.s[3]}}, {p.in_height, p.in_width}, p.in_channels, p.batch, bias, t.residual, post_, t.output, context);
        });
    }

private:
    /// each(number, phase of the rows, of the columns, plan), in the order of the packed blocks.
    template<typename Each>
    void each_phase(const Each &each) const {
        size_t number = 0;
        for (size_t i = 0; i < rows_.phases.size(); i++) {
            for (size_t j = 0; j < columns_.phases.size(); j++) {
                each(number++, rows_.phases[i], columns_.phases[j], *plans_[rows_.kind[i] * columns_.of_kind.size() + columns_.kind[j]]);
            }
        }
    }

    /// Filters (ic, oc/groups, f0, f1) from (oc, ic/groups, f0, f1): by strides, or copied where groups make that impossible.
    Status exchange(const StridedIn &w, float *copy, const Execution &execution, StridedIn &exchanged) const {
        const Conv2dProblem &p = problem_;
        const int64_t inputs = p.in_channels / p.groups, outputs = p.out_channels / p.groups, taps = p.filter_height * p.filter_width;
        if (!copies_filters_) {
            exchanged = {w.data, {inputs == 1 ? outputs * w.s[0] : w.s[1], w.s[0], w.s[2], w.s[3]}};
            return Status();
        }
        exchanged = {copy, {outputs * taps, taps, p.filter_width, 1}};
        return on_device(execution, [&](KernelContext &context) {
            const auto height = static_cast<int32_t>(p.filter_height), width = static_cast<int32_t>(p.filter_width);
            for (int64_t g = 0; g < p.groups; g++) {
                // As images (column, row, output, input), each one tile.
                const Floats<4> from(w.data + g * outputs * w.s[0], {{p.filter_width, w.s[3]}, {p.filter_height, w.s[2]}, {outputs, w.s[0]}, {inputs, w.s[1]}});
                const Floats<4> to(copy + g * inputs * outputs * taps, {{p.filter_width, 1}, {p.filter_height, p.filter_width}, {outputs, taps}, {inputs, outputs * taps}});
                if (!call(cut_, context, from, int32_t{1}, int32_t{1}, width, height, int32_t{1}, int32_t{1}, int32_t{0}, int32_t{0}, width, height, 0.0f, to)) {
                    return false;
                }
            }
            return true;
        });
    }

    const Conv2dProblem problem_;
    DeviceRuntime &device_;
    const Variant &cut_;
    const KernelPostOp post_;
    DeviceTables tables_;
    const DeviceFoldPadding fold_;
    const AdjointAxis rows_, columns_;
    const bool gaps_;            ///< pixels that no tap reaches
    const bool in_place_;        ///< the phases write the caller's gradient, finished
    const bool copies_filters_;
    const size_t zeros_;
    std::vector<std::unique_ptr<AlgorithmPlan>> plans_;  ///< of each kind of rows, those of columns
    std::vector<size_t> packed_offsets_;                 ///< of each phase
    size_t gradient_offset_ = 0, phases_offset_ = 0, filters_offset_ = 0, pack_phases_offset_ = 0;
};

}  // namespace

Result<std::unique_ptr<AlgorithmPlan>> plan_device_adjoint(Algorithm algorithm, Planner planner, const PlanRequest &request) {
    const Conv2dProblem &p = request.problem;
    const int64_t rows = phase_count(p.stride_h, p.dilation_h, p.filter_height), columns = phase_count(p.stride_w, p.dilation_w, p.filter_width);
    if (rows > kMostPhases / columns) {
        return Status(StatusCode::kUnsupported, "the gradient has " + std::to_string(rows) + "x" + std::to_string(columns) + " phases, one for every tap within a stride; at most " + std::to_string(kMostPhases) + " are planned on a GPU");
    }
    auto plan = std::make_unique<DeviceAdjointPlan>(request);
    if (Status status = plan->plan_phases(algorithm, planner, request); !status.ok()) {
        return status;
    }
    return std::unique_ptr<AlgorithmPlan>(std::move(plan));
}

}  // namespace fourfold
