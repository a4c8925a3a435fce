#include "judged_field.h"

#include <algorithm>
#include <memory>
#include <new>

#include <fmt/format.h>

#include "machine_limits.h"
#include "own_process.h"
#include "spectral_data.h"

namespace fourfold::cli {
namespace {

Failure within(double error, double limit) {
    return error <= limit ? Failure() : Failure{"wrong", fmt::format("max error {:.2g} is over the limit {:.0e}", error, limit)};
}

}  // namespace

JudgedField::JudgedField(const Conv2dProblem &problem, const std::vector<Member> &members, const Options &options)
    : result_(ProblemData::result_elements(problem)) {
    start(problem.to_string(), members, options, ProblemData::bytes(problem) + 8.0 * static_cast<double>(ProblemData::result_elements(problem)));
    if (const std::unique_ptr<ProblemData> data = ProblemData::make(problem, options.seed)) {
        std::vector<double> limits;
        for (const Member &m : members) {
            limits.push_back(error_limit(to_string(m.algorithm)));
        }
        const auto reference = std::make_shared<const Reference>(problem, arrays_of(*data), options.check_all_below_flops);
        judge_ = [this, reference, limits](size_t i) { return within(reference->max_error(result_.data()), limits[i]); };
    }
}

JudgedField::JudgedField(const SpectralProblem &problem, const std::vector<Member> &members, const Options &options)
    : result_(2 * SpectralData::result_elements(problem)) {
    start(problem.to_string(), members, options, 2.0 * SpectralData::bytes(problem));
    try {
        const auto data = std::make_shared<const SpectralData>(problem, options.seed);
        judge_ = [this, data](size_t) { return within(data->max_error(reinterpret_cast<const Complex *>(result_.data())), kSpectralErrorLimit); };
    } catch (const std::bad_alloc &) {
        // ok() says so.
    }
}

void JudgedField::start(const std::string &problem, const std::vector<Member> &members, const Options &options, double bytes) {
    std::vector<CandidateField::Member> list;
    for (const Member &m : members) {
        list.push_back({m.choice, m.predicted, m.bytes});
    }
    CandidateField::Options field;
    field.command = {"/proc/self/exe", "candidate", "--problem", problem, "--device", to_string(options.device), "--threads", std::to_string(options.threads), "--seed", std::to_string(options.seed), "--result-file", std::to_string(result_.file())};
    field.cold = options.cold;
    if (options.cold) {
        field.command.push_back("--cold");
    }
    if (options.workspace_limit < std::numeric_limits<size_t>::max()) {
        field.command.insert(field.command.end(), {"--workspace-max", std::to_string(options.workspace_limit)});
    }
    if (!options.variants.empty()) {
        field.command.insert(field.command.end(), {"--variants", options.variants});
    }
    field.ready_seconds = options.ready_seconds;
    field.fastest = options.fastest;
    const Result<DeviceInfo> gpu = device_info(options.device);
    const size_t memory = gpu ? gpu->memory_bytes : usable_memory();
    field.memory = std::max(1.0, static_cast<double>(memory) / 2 - bytes);
    field.before_run = [this] { result_.fill_nan(); };
    field.judge = [this](size_t i) { return judge_(i); };
    field.stopped = is_stopped;
    field_.emplace(std::move(list), std::move(field));
}

Failure JudgedField::sample(size_t i, double &seconds) {
    const Failure failure = field_->sample(i, seconds);
    // A signal to the whole group ends candidates as well: that is no fault of theirs.
    return failure && is_stopped() ? Failure{"stopped", ""} : failure;
}

}  // namespace fourfold::cli
