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

constexpr int kMostStands = 8;  ///< memory's bandwidth is everybody's
constexpr int64_t kMostCompared = int64_t{64} << 20;  ///< elements of a result that is kept to compare others with

Failure within(double error, double limit) {
    return error <= limit ? Failure() : Failure{"wrong", fmt::format("max error {:.2g} is over the limit {:.0e}", error, limit)};
}

}  // namespace

JudgedField::JudgedField(const Conv2dProblem &problem, const std::vector<Member> &members, const Options &options) {
    start(problem.to_string(), members, options, ProblemData::result_elements(problem), ProblemData::bytes(problem) + 8.0 * static_cast<double>(ProblemData::result_elements(problem)));
    if (const std::unique_ptr<ProblemData> data = ProblemData::make(problem, options.seed)) {
        std::vector<double> limits;
        for (const Member &m : members) {
            limits.push_back(error_limit(to_string(m.algorithm)));
        }
        const auto reference = std::make_shared<const Reference>(problem, arrays_of(*data), options.check_all_below_flops);
        // The reference looks at a sample of a large result; the rest is compared with the first that passed.
        const bool compares = reference->checked_outputs() < ProblemData::result_elements(problem) && ProblemData::result_elements(problem) <= kMostCompared;
        judge_ = [reference, limits, compares, problem, seed = options.seed, first = std::make_shared<First>()](size_t i, const float *result) {
            Failure failure = within(reference->max_error(result), limits[i]);
            return failure || !compares ? failure : first->compare(*reference, problem, seed, result, limits[i]);
        };
    }
}

/// Whoever differs from it too much meets the reference there; where that finds the kept one wrong, it gives way, and fails when its turn comes.
Failure JudgedField::First::compare(const Reference &reference, const Conv2dProblem &problem, uint64_t seed, const float *other, double other_limit) {
    const auto keep = [&] {
        try {
            result.assign(other, other + ProblemData::result_elements(problem));
            limit = other_limit;
        } catch (const std::bad_alloc &) {
            result.clear();  // none is compared then
        }
        return Failure();
    };
    if (result.empty()) {
        return keep();
    }
    const Reference::Difference d = reference.difference(other, result.data());
    if (d.error <= limit + other_limit) {
        return {};
    }
    const std::unique_ptr<ProblemData> data = ProblemData::make(problem, seed);
    if (data == nullptr) {
        return {"wrong", fmt::format("differs by {:.2g} from another plan", d.error)};
    }
    const Failure failure = within(reference.error_at(d.element, other[d.element], arrays_of(*data)), other_limit);
    return failure ? failure : keep();
}

JudgedField::JudgedField(const SpectralProblem &problem, const std::vector<Member> &members, const Options &options) {
    start(problem.to_string(), members, options, 2 * SpectralData::result_elements(problem), 2.0 * SpectralData::bytes(problem));
    try {
        const auto data = std::make_shared<const SpectralData>(problem, options.seed);
        judge_ = [data](size_t, const float *result) { return within(data->max_error(reinterpret_cast<const Complex *>(result)), kSpectralErrorLimit); };
    } catch (const std::bad_alloc &) {
        // ok() says so.
    }
}

void JudgedField::start(const std::string &problem, const std::vector<Member> &members, const Options &options, int64_t elements, double bytes) {
    std::vector<CandidateField::Member> list;
    for (const Member &m : members) {
        list.push_back({m.choice, m.predicted, m.bytes, m.incumbent});
    }
    CandidateField::Options field;
    field.cold = options.cold;
    std::vector<std::string> command = {"/proc/self/exe", "candidate", "--problem", problem, "--device", to_string(options.device), "--threads", std::to_string(options.threads), "--seed", std::to_string(options.seed)};
    if (options.cold) {
        command.push_back("--cold");
    }
    if (options.workspace_limit < std::numeric_limits<size_t>::max()) {
        command.insert(command.end(), {"--workspace-max", std::to_string(options.workspace_limit)});
    }
    if (!options.variants.empty()) {
        command.insert(command.end(), {"--variants", options.variants});
    }
    // A GPU has room for one.
    const int stands = options.device == Device::kCpu ? std::clamp(machine().hardware_threads / options.threads, 1, kMostStands) : 1;
    for (int k = 0; k < stands; ++k) {
        results_.push_back(std::make_unique<SharedFloats>(elements));
        if (k > 0 && results_.back()->data() == nullptr) {
            results_.pop_back();  // fewer at once
            break;
        }
        CandidateField::Stand stand;
        stand.command = command;
        stand.command.insert(stand.command.end(), {"--result-file", std::to_string(results_.back()->file())});
        stand.before_run = [result = results_.back().get()] { result->fill_nan(); };
        stand.judge = [this, result = results_.back().get()](size_t i) { return judge_(i, result->data()); };
        field.stands.push_back(std::move(stand));
    }
    field.ready_seconds = options.ready_seconds;
    field.fastest = options.fastest;
    const Result<DeviceInfo> gpu = device_info(options.device);
    const size_t memory = gpu ? gpu->memory_bytes : usable_memory();
    field.memory = std::max(1.0, static_cast<double>(memory) / 2 - bytes);
    field.arrays = bytes;
    field.stopped = is_stopped;
    field_.emplace(std::move(list), std::move(field));
}

Failure JudgedField::sample(size_t i, double &seconds) {
    const Failure failure = field_->sample(i, seconds);
    // A signal to the whole group ends candidates as well: that is no fault of theirs.
    return failure && is_stopped() ? Failure{"stopped", ""} : failure;
}

}  // namespace fourfold::cli
