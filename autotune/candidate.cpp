// fourfold candidate: the other end of candidate_process.h. Not for people.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <memory>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "bad.h"
#include "clock.h"
#include "commands.h"
#include "compiled_variants.h"
#include "device_bench.h"
#include "machine_limits.h"
#include "problem_data.h"
#include "shapes.h"

namespace fourfold::cli {
namespace {

struct CandidateFlags {
    std::string problem, variants, device = "cpu";
    int threads = 1, result_file = -1;
    bool cold = false;
    uint64_t seed = 1;
};

constexpr size_t kGuard = 4096;

/// Memory between guard bytes, filled with NaN, so that reading what was never written shows.
class GuardedBlock {
public:
    explicit GuardedBlock(size_t bytes)
        : buffer_(bytes + 2 * kGuard), bytes_(bytes) {
        if (buffer_.data() != nullptr) {
            std::memset(buffer_.data(), 0xa5, buffer_.bytes());
            std::memset(data(), 0xff, bytes);
        }
    }
    bool ok() const {
        return buffer_.data() != nullptr;
    }
    std::byte *data() const {
        return static_cast<std::byte *>(buffer_.data()) + kGuard;
    }
    MemoryBlock block() const {
        return {data(), bytes_};
    }
    bool intact() const {
        const auto *begin = static_cast<const unsigned char *>(buffer_.data());
        const auto sound = [](const unsigned char *at) { return std::all_of(at, at + kGuard, [](unsigned char c) { return c == 0xa5; }); };
        return sound(begin) && sound(begin + kGuard + bytes_);
    }

private:
    AlignedBuffer buffer_;
    size_t bytes_;
};

void answer(const std::string &line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
}

/// The problem's arrays and the candidates that were added.
class Bench {
public:
    Bench(const Conv2dProblem &problem, const CandidateFlags &flags)
        : problem_(problem), flags_(flags), data_(ProblemData::make(problem, flags.seed)), result_(result_bytes()), evictor_(flags.cold ? std::make_unique<CacheEvictor>() : nullptr) {
    }

    bool ok() const {
        return data_ != nullptr && result_.ok();
    }

    /// "ready", or why not.
    std::string add(const std::string &choice) {
        PlanOptions options;
        options.choice = choice;
        options.threads = flags_.threads;
        const Result<Plan> plan = Plan::create(problem_, options);
        if (!plan) {
            return "refused " + plan.status().message();
        }
        const bool packs = plan->packed_filter_bytes() > 0;
        const size_t needed = std::max(plan->workspace_bytes(), packs ? plan->workspace_bytes_unpacked() : 0);
        if (workspace_ == nullptr || workspace_->block().bytes < needed) {
            workspace_.reset();
            workspace_ = std::make_unique<GuardedBlock>(needed);
        }
        AlignedBuffer packed;
        if (packs) {
            packed = AlignedBuffer(plan->packed_filter_bytes());
        }
        if (!workspace_->ok() || (packs && packed.data() == nullptr)) {
            workspace_.reset();
            return "refused memory ran out";
        }
        Status status = packs ? plan->pack_filters(data_->filter_view(problem_), packed, workspace_->block()) : Status();
        added_.push_back({*plan, std::move(packed)});
        std::memset(workspace_->data(), 0xff, plan->workspace_bytes());
        std::memset(result_.data(), 0xff, result_bytes());
        status = status ? execute(added_.back()) : status;
        if (!status) {
            return "wrong " + status.message();
        }
        if (!intact()) {
            return kOutside;
        }
        void *shared = ::mmap(nullptr, result_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, flags_.result_file, 0);
        if (shared == MAP_FAILED) {
            return "refused no shared memory for the result";
        }
        std::memcpy(shared, result_.data(), result_bytes());
        ::munmap(shared, result_bytes());
        return "ready";
    }

    /// "time <seconds>", or what went wrong.
    std::string sample(size_t which, int warm, int repeats) {
        if (which >= added_.size()) {
            return fmt::format("wrong there is no candidate {}", which);
        }
        const Added &candidate = added_[which];
        Status status;
        for (int i = 0; i < warm && status; ++i) {
            status = execute(candidate);
        }
        if (evictor_ != nullptr) {
            (*evictor_)();
        }
        const double begin = now();
        for (int i = 0; i < repeats && status; ++i) {
            status = execute(candidate);
        }
        const double elapsed = now() - begin;
        return !status ? "wrong " + status.message() : intact() ? fmt::format("time {:.9g}", elapsed) : kOutside;
    }

private:
    struct Added {
        Plan plan;
        AlignedBuffer packed;
    };
    static constexpr const char *kOutside = "wrong it wrote outside of its output or workspace";

    size_t result_bytes() const {
        return static_cast<size_t>(ProblemData::result_elements(problem_)) * sizeof(float);
    }
    Status execute(const Added &candidate) const {
        return candidate.plan.execute(data_->tensors(problem_, candidate.packed, reinterpret_cast<float *>(result_.data())), {workspace_->data(), candidate.plan.workspace_bytes()});
    }
    bool intact() const {
        return workspace_->intact() && result_.intact();
    }

    const Conv2dProblem problem_;
    const CandidateFlags &flags_;
    const std::unique_ptr<ProblemData> data_;
    const GuardedBlock result_;
    const std::unique_ptr<CacheEvictor> evictor_;
    std::unique_ptr<GuardedBlock> workspace_;  ///< everybody's
    std::vector<Added> added_;
};

template<typename AnyBench>
Status answer_all(AnyBench &bench) {
    answer("ready");
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream words(line);
        std::string verb;
        size_t which = 0;
        int warm = 0, repeats = 0;
        words >> verb;
        if (verb == "add") {
            answer(bench.add(line.substr(std::min(line.size(), verb.size() + 1))));
        } else if (verb == "sample" && words >> which >> warm >> repeats) {
            answer(bench.sample(which, warm, repeats));
        } else {
            return bad(fmt::format("'{}' is neither 'add CHOICE' nor 'sample WHICH WARM REPEATS'", line));
        }
    }
    return {};
}

Status serve(const CandidateFlags &flags) {
    const Result<Conv2dProblem> problem = parse_valid_problem(flags.problem);
    const Result<Device> device = parse_device(flags.device);
    if (!problem || !device) {
        return problem ? device.status() : problem.status();
    }
    if (*device != Device::kCpu) {
        DeviceBench bench(*problem, *device, flags.seed, flags.result_file);
        if (!bench.status()) {
            answer("refused " + bench.status().message());
            return {};
        }
        return answer_all(bench);
    }
    if (Status status = flags.variants.empty() ? Status() : add_compiled_variants(flags.variants); !status) {
        return status;
    }
    Bench bench(*problem, flags);
    if (!bench.ok()) {
        answer("refused memory ran out");
        return {};
    }
    return answer_all(bench);
}

}  // namespace

Action add_candidate(CLI::App &verb) {
    auto flags = std::make_shared<CandidateFlags>();
    verb.group("");
    verb.add_option("--problem", flags->problem)->required();
    verb.add_option("--device", flags->device);
    verb.add_option("--threads", flags->threads);
    verb.add_option("--result-file", flags->result_file)->required();
    verb.add_option("--seed", flags->seed);
    verb.add_option("--variants", flags->variants);
    verb.add_flag("--cold", flags->cold);
    return [flags] { return serve(*flags); };
}

}  // namespace fourfold::cli
