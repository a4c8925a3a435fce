#include "judged_field.h"

#include <algorithm>
#include <memory>

#include <fmt/format.h>

#include "machine_limits.h"
#include "own_process.h"

namespace fourfold::cli {

JudgedField::JudgedField(const Conv2dProblem &problem, const std::vector<Member> &members, const Options &options)
    : result_(ProblemData::result_elements(problem)) {
    std::vector<CandidateField::Member> list;
    for (const Member &m : members) {
        algorithms_.push_back(m.algorithm);
        list.push_back({m.choice, m.predicted, m.bytes});
    }
    CandidateField::Options field;
    field.command = {"/proc/self/exe", "candidate", "--problem", problem.to_string(), "--device", to_string(options.device), "--threads", std::to_string(options.threads), "--seed", std::to_string(options.seed), "--result-file", std::to_string(result_.file())};
    field.cold = options.cold;
    if (options.cold) {
        field.command.push_back("--cold");
    }
    if (!options.variants.empty()) {
        field.command.insert(field.command.end(), {"--variants", options.variants});
    }
    field.ready_seconds = options.ready_seconds;
    const Result<DeviceInfo> gpu = device_info(options.device);
    const size_t memory = gpu ? gpu->memory_bytes : usable_memory();
    field.memory = std::max(1.0, static_cast<double>(memory) / 2 - ProblemData::bytes(problem) - 8.0 * static_cast<double>(ProblemData::result_elements(problem)));
    field.before_run = [this] { result_.fill_nan(); };
    field.judge = [this](size_t i) { return judge(i); };
    field.stopped = is_stopped;
    field_.emplace(std::move(list), std::move(field));
    if (const std::unique_ptr<ProblemData> data = ProblemData::make(problem, options.seed)) {
        reference_.emplace(problem, arrays_of(*data), options.check_all_below_flops);
    }
}

Failure JudgedField::sample(size_t i, double &seconds) {
    const Failure failure = field_->sample(i, seconds);
    // A signal to the whole group ends candidates as well: that is no fault of theirs.
    return failure && is_stopped() ? Failure{"stopped", ""} : failure;
}

Failure JudgedField::judge(size_t i) const {
    const double error = reference_->max_error(result_.data()), limit = error_limit(to_string(algorithms_[i]));
    return error <= limit ? Failure() : Failure{"wrong", fmt::format("max error {:.2g} is over the limit {:.0e}", error, limit)};
}

}  // namespace fourfold::cli
