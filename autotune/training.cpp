#include "training.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "fourfold/training.h"
#include "clock.h"
#include "machine_limits.h"
#include "measure.h"
#include "problem_data.h"
#include "text.h"

namespace fourfold::cli {
namespace {

constexpr double kDifferenceLimit = 1e-4;  ///< of results, relative to the largest: one side may be winograd's

Result<AlignedBuffer> allocate(size_t bytes) {
    AlignedBuffer buffer(bytes);
    if (buffer.data() == nullptr && bytes > 0) {
        return Status(StatusCode::kResourceExhausted, fmt::format("no memory for {}", bytes_text(bytes)));
    }
    return buffer;
}

/// A layer's x, w and gy, and the results of one way to make a step.
struct StepData {
    Conv2dProblem problems[3];  ///< forward, bwd-data, bwd-filters
    std::unique_ptr<ProblemData> data[3];

    static Result<StepData> make(const Conv2dProblem &forward) {
        StepData s;
        constexpr Operation operations[3] = {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters};
        for (int i = 0; i < 3; i++) {
            s.problems[i] = forward;
            s.problems[i].operation = operations[i];
            s.data[i] = ProblemData::make(s.problems[i], 1);
            if (s.data[i] == nullptr) {
                return Status(StatusCode::kResourceExhausted, fmt::format("no memory for the arrays of '{}'", s.problems[i].to_string()));
            }
        }
        return s;
    }
    std::array<FloatBuffer, 3> results() const {
        std::array<FloatBuffer, 3> list;
        for (int i = 0; i < 3; i++) {
            list[static_cast<size_t>(i)] = FloatBuffer(ProblemData::result_elements(problems[i]));
        }
        return list;
    }
};

/// Three plans, filters given as they are: training changes them in every step.
struct Separate {
    std::vector<Plan> plans;
    std::array<FloatBuffer, 3> results;
    AlignedBuffer workspace;

    static Result<Separate> make(const StepData &s, const PlanOptions &options) {
        Separate separate;
        size_t bytes = 0;
        for (const Conv2dProblem &problem : s.problems) {
            Result<Plan> plan = Plan::create(problem, options);
            if (!plan) {
                return plan.status();
            }
            bytes = std::max(bytes, plan->workspace_bytes_unpacked());
            separate.plans.push_back(std::move(*plan));
        }
        separate.results = s.results();
        Result<AlignedBuffer> workspace = allocate(bytes);
        if (!workspace) {
            return workspace.status();
        }
        separate.workspace = std::move(*workspace);
        return separate;
    }
    Status step(const StepData &s) const {
        Status status;
        for (size_t i = 0; i < 3 && status.ok(); i++) {
            // Each gradient's arrays are the ones of the step.
            Tensors t = s.data[i]->tensors(s.problems[i], AlignedBuffer(), results[i].data());
            t.input = s.data[0]->input.data();
            t.filters = Filters(s.data[0]->filter_view(s.problems[0]));
            t.grad_output = s.data[1]->grad_output.data();
            t.bias = i == 0 ? s.data[0]->bias.data() : nullptr;
            status = plans[i].execute(t, workspace);
        }
        return status;
    }
    std::string algorithms() const {
        std::string list;
        for (const Plan &plan : plans) {
            list += (list.empty() ? "" : "+") + std::string(to_string(plan.algorithm()));
        }
        return list;
    }
};

struct Shared {
    TrainingPlan plan;
    std::array<FloatBuffer, 3> results;
    AlignedBuffer input, filters, gradient, workspace;

    static Result<Shared> make(const StepData &s, const TrainingOptions &options) {
        Result<TrainingPlan> plan = TrainingPlan::create(s.problems[0], options);
        if (!plan) {
            return plan.status();
        }
        Shared shared{*plan, s.results(), {}, {}, {}, {}};
        const std::pair<AlignedBuffer *, size_t> blocks[] = {{&shared.input, plan->input_spectra_bytes()}, {&shared.filters, plan->filter_spectra_bytes()}, {&shared.gradient, plan->gradient_spectra_bytes()}, {&shared.workspace, plan->workspace_bytes()}};
        for (const auto &[buffer, bytes] : blocks) {
            Result<AlignedBuffer> block = allocate(bytes);
            if (!block) {
                return block.status();
            }
            *buffer = std::move(*block);
        }
        return shared;
    }
    Status step(const StepData &s) const {
        const Conv2dProblem &p = s.problems[0];
        const Tensors gradient_tensors = s.data[2]->tensors(s.problems[2], AlignedBuffer(), results[2].data());
        Status status = plan.transform_filters(s.data[0]->filter_view(p), 1, filters, workspace);
        status = status.ok() ? plan.transform_input(s.data[0]->input.data(), 1, input, workspace) : status;
        status = status.ok() ? plan.forward(input, filters, s.data[0]->bias.data(), results[0].data(), workspace) : status;
        status = status.ok() ? plan.transform_gradient(s.data[1]->grad_output.data(), 1, gradient, workspace) : status;
        status = status.ok() ? plan.backward_data(gradient, filters, results[1].data(), workspace) : status;
        return status.ok() ? plan.backward_filters(input, gradient, gradient_tensors.grad_filters, nullptr, workspace) : status;
    }
};

/// The largest difference of two steps' results, each relative to the largest of its kind.
double difference(const StepData &s, const std::array<FloatBuffer, 3> &a, const std::array<FloatBuffer, 3> &b) {
    double worst = 0.0;
    for (size_t i = 0; i < 3; i++) {
        double largest = 1e-30, difference = 0.0;
        for (int64_t j = 0; j < ProblemData::result_elements(s.problems[i]); j++) {
            const double x = static_cast<double>(a[i].data()[j]), y = static_cast<double>(b[i].data()[j]);
            if (!std::isfinite(x) || !std::isfinite(y)) {
                return INFINITY;
            }
            largest = std::max(largest, std::fabs(y));
            difference = std::max(difference, std::fabs(x - y));
        }
        worst = std::max(worst, difference / largest);
    }
    return worst;
}

}  // namespace

Status bench_training(const std::vector<Shape> &shapes, const TrainingBench &flags) {
    Result<PlanOptions> options = to_plan_options(flags.plan);
    if (!options) {
        return options.status();
    }
    options->packs_each_time = true;
    TrainingOptions training;
    training.threads = flags.plan.threads;
    PlanOptions fft = *options;
    fft.algorithm = Algorithm::kFft;
    std::FILE *notes = flags.json ? stderr : stdout;
    fmt::print(notes, "{}\n", machine_text(measure_machine_limits(flags.plan.threads)));
    fmt::print(notes, "fourfold {}; a training step, forward and both gradients, filters packed or transformed in each: spectra shared, three plans of auto, three of fft\n", version());
    for (const Shape &shape : shapes) {
        const Result<StepData> data = StepData::make(shape.problem);
        if (!data) {
            return data.status();
        }
        const Result<Shared> shared = Shared::make(*data, training);
        const Result<Separate> chosen = Separate::make(*data, *options), whole = Separate::make(*data, fft);
        for (const Status &status : {shared.status(), chosen.status(), whole.status()}) {
            if (!status.ok()) {
                return Status(status.code(), shape.name + ": " + status.message());
            }
        }
        MeasureOptions measure;
        measure.min_time = flags.min_time;
        measure.clock = clock_for(options->threads);
        const std::vector<Timing> times = measure_interleaved({[&] { return shared->step(*data); }, [&] { return chosen->step(*data); }, [&] { return whole->step(*data); }}, measure);
        for (const Timing &timing : times) {
            if (!timing.status.ok()) {
                return Status(timing.status.code(), shape.name + ": " + timing.status.message());
            }
        }
        const double error = flags.check ? std::max(difference(*data, shared->results, chosen->results), difference(*data, shared->results, whole->results)) : -1.0;
        if (error > kDifferenceLimit) {
            return {StatusCode::kInternal, fmt::format("{} FAILED: results differ by {}; no time is reported for a wrong result", shape.name, error_text(error))};
        }
        const double seconds[3] = {times[0].min_seconds, times[1].min_seconds, times[2].min_seconds};
        const size_t spectra = shared->plan.input_spectra_bytes() + shared->plan.filter_spectra_bytes() + shared->plan.gradient_spectra_bytes();
        if (flags.json) {
            nlohmann::ordered_json line;
            line["name"] = shape.name;
            line["problem"] = shape.problem.to_string();
            line["threads"] = shared->plan.threads();
            line["shared_ms"] = seconds[0] * 1e3;
            line["auto_ms"] = seconds[1] * 1e3;
            line["fft_ms"] = seconds[2] * 1e3;
            line["auto"] = chosen->algorithms();
            line["spectra_bytes"] = spectra;
            line["workspace_bytes"] = shared->plan.workspace_bytes();
            line["difference"] = error < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(error);
            fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
        } else {
            fmt::print("{:<24} shared {:>9} ms  fft {:>9} ms ({:.2f})  auto {:>9} ms ({:.2f}, {})  spectra {}\n", shape.name, milliseconds_text(seconds[0]), milliseconds_text(seconds[2]), seconds[2] / seconds[0], milliseconds_text(seconds[1]), seconds[1] / seconds[0], chosen->algorithms(), bytes_text(spectra));
        }
        std::fflush(stdout);
    }
    return {};
}

}  // namespace fourfold::cli
