// fourfold candidate: the other end of candidate_process.h. Not for people.
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <limits>
#include <memory>
#include <new>
#include <sstream>
#include <vector>

#include <fmt/format.h>

#include "bad.h"
#include "candidate_bench.h"
#include "clock.h"
#include "commands.h"
#include "compiled_variants.h"
#include "device_bench.h"
#include "machine_limits.h"
#include "problem_data.h"
#include "record.h"
#include "shapes.h"
#include "spectral_data.h"

namespace fourfold::cli {
namespace {

struct CandidateFlags {
    std::string problem, variants, device = "cpu";
    int threads = 1, result_file = -1;
    bool cold = false;
    uint64_t seed = 1;
    size_t workspace_limit = std::numeric_limits<size_t>::max();  ///< bytes
};

void answer(const std::string &line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
}

/// On the CPU: the candidates of one process share a workspace between guard bytes.
class CpuBench : public CandidateBench {
protected:
    /// Memory between guard bytes, filled with NaN, so that reading what was never written shows.
    class GuardedBlock {
    public:
        explicit GuardedBlock(size_t bytes)
            : buffer_(bytes + 2 * kGuard), bytes_(bytes) {
            if (buffer_.data() != nullptr) {
                std::memset(buffer_.data(), kGuardByte, buffer_.bytes());
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
            const auto sound = [](const unsigned char *at) { return std::all_of(at, at + kGuard, [](unsigned char c) { return c == kGuardByte; }); };
            return sound(begin) && sound(begin + kGuard + bytes_);
        }

    private:
        AlignedBuffer buffer_;
        size_t bytes_;
    };

    CpuBench(const CandidateFlags &flags, size_t result_bytes)
        : CandidateBench(flags.result_file, clock_for(flags.threads)), result_(result_bytes), evictor_(flags.cold ? std::make_unique<CacheEvictor>() : nullptr) {
    }

    /// Memory for one candidate's packed filters and the common workspace; false where it ran out.
    bool reserve(size_t workspace, size_t packed_bytes, AlignedBuffer &packed) {
        if (workspace_ == nullptr || workspace_->block().bytes < workspace) {
            workspace_.reset();
            workspace_ = std::make_unique<GuardedBlock>(workspace);
        }
        if (packed_bytes > 0) {
            packed = AlignedBuffer(packed_bytes);
        }
        if (!workspace_->ok() || (packed_bytes > 0 && packed.data() == nullptr)) {
            workspace_.reset();
            return false;
        }
        return true;
    }
    /// Runs the last one that was added, unless its packing failed; "ready", or what went wrong.
    std::string first_run(size_t workspace_bytes, Status packing) {
        const size_t bytes = result_.block().bytes;
        std::memset(workspace_->data(), 0xff, workspace_bytes);
        std::memset(result_.data(), 0xff, bytes);
        const Status status = packing ? run(added() - 1) : packing;
        if (!status) {
            return "wrong " + status.message();
        }
        if (!intact()) {
            return kOutside;
        }
        return ready(bytes, [&](void *memory) {
            std::memcpy(memory, result_.data(), bytes);
            return Status();
        });
    }
    Status settle() override {
        if (evictor_ != nullptr) {
            (*evictor_)();
        }
        return {};
    }
    Status wait() override {
        return {};
    }
    bool intact() const override {
        return workspace_->intact() && result_.intact();
    }

    const GuardedBlock result_;
    const std::unique_ptr<CacheEvictor> evictor_;
    std::unique_ptr<GuardedBlock> workspace_;  ///< everybody's
};

class Bench final : public CpuBench {
public:
    Bench(const Conv2dProblem &problem, const CandidateFlags &flags)
        : CpuBench(flags, static_cast<size_t>(ProblemData::result_elements(problem)) * sizeof(float)), problem_(problem), flags_(flags), data_(ProblemData::make(problem, flags.seed)) {
    }

    bool ok() const {
        return data_ != nullptr && result_.ok();
    }

    std::string add(const std::string &choice) override {
        PlanOptions options;
        options.choice = choice;
        options.threads = flags_.threads;
        options.workspace_limit = flags_.workspace_limit;
        const Result<Plan> plan = Plan::create(problem_, options);
        if (!plan) {
            return "refused " + plan.status().message();
        }
        const bool packs = plan->packed_filter_bytes() > 0;
        AlignedBuffer packed;
        if (!reserve(std::max(plan->workspace_bytes(), packs ? plan->workspace_bytes_unpacked() : 0), plan->packed_filter_bytes(), packed)) {
            return "refused memory ran out";
        }
        Status status = packs ? plan->pack_filters(data_->filter_view(problem_), packed, workspace_->block()) : Status();
        added_.push_back({*plan, std::move(packed)});
        return first_run(plan->workspace_bytes(), std::move(status));
    }

private:
    struct Added {
        Plan plan;
        AlignedBuffer packed;
    };

    size_t added() const override {
        return added_.size();
    }
    Status run(size_t which) override {
        const Added &candidate = added_[which];
        return candidate.plan.execute(data_->tensors(problem_, candidate.packed, reinterpret_cast<float *>(result_.data())), {workspace_->data(), candidate.plan.workspace_bytes()});
    }

    const Conv2dProblem problem_;
    const CandidateFlags &flags_;
    const std::unique_ptr<ProblemData> data_;
    std::vector<Added> added_;
};

class SpectralBench final : public CpuBench {
public:
    /// Throws std::bad_alloc.
    SpectralBench(const SpectralProblem &problem, const CandidateFlags &flags)
        : CpuBench(flags, static_cast<size_t>(SpectralData::result_elements(problem)) * sizeof(Complex)), problem_(problem), threads_(flags.threads), data_(problem, flags.seed) {
        if (!result_.ok()) {
            throw std::bad_alloc();
        }
    }

    std::string add(const std::string &choice) override {
        const auto [kind, variant] = split_choice(choice);
        const Result<SpectralPlan> plan = kind == kSpectralKind ? SpectralPlan::create(problem_, {threads_, std::string(variant)}) : Result<SpectralPlan>(bad("'" + choice + "' is no choice of a spectral product"));
        if (!plan) {
            return "refused " + plan.status().message();
        }
        AlignedBuffer packed;
        if (!reserve(plan->workspace_bytes(), plan->packed_filter_bytes(), packed)) {
            return "refused memory ran out";
        }
        Status status = plan->packed_filter_bytes() > 0 ? plan->pack_filters(data_.filters(), packed) : Status();
        added_.push_back({*plan, std::move(packed)});
        return first_run(plan->workspace_bytes(), std::move(status));
    }

private:
    struct Added {
        SpectralPlan plan;
        AlignedBuffer packed;
    };

    size_t added() const override {
        return added_.size();
    }
    Status run(size_t which) override {
        const Added &candidate = added_[which];
        return candidate.plan.execute(data_.tensors(candidate.packed, reinterpret_cast<Complex *>(result_.data())), {workspace_->data(), candidate.plan.workspace_bytes()});
    }

    const SpectralProblem problem_;
    const int threads_;
    const SpectralData data_;
    std::vector<Added> added_;
};

Status answer_all(CandidateBench &bench) {
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

Status serve_spectral(const CandidateFlags &flags) {
    const Result<SpectralProblem> problem = parse_valid_spectral(flags.problem);
    if (!problem) {
        return problem.status();
    }
    std::unique_ptr<SpectralBench> bench;
    try {
        bench = std::make_unique<SpectralBench>(*problem, flags);
    } catch (const std::bad_alloc &) {
        answer("refused memory ran out");
        return {};
    }
    return answer_all(*bench);
}

Status serve(const CandidateFlags &flags) {
    if (is_spectral(flags.problem)) {
        return serve_spectral(flags);
    }
    const Result<Conv2dProblem> problem = parse_valid_problem(flags.problem);
    const Result<Device> device = parse_device(flags.device);
    if (!problem || !device) {
        return problem ? device.status() : problem.status();
    }
    if (*device != Device::kCpu) {
        DeviceBench bench(*problem, *device, flags.seed, flags.result_file, flags.workspace_limit);
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
    verb.add_option("--workspace-max", flags->workspace_limit);
    verb.add_option("--variants", flags->variants);
    verb.add_flag("--cold", flags->cold);
    return [flags] { return serve(*flags); };
}

}  // namespace fourfold::cli
