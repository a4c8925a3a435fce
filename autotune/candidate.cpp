// fourfold candidate: the other end of candidate_process.h. Not for people.
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>

#include <fmt/format.h>

#include "commands.h"
#include "machine_limits.h"
#include "problem_data.h"
#include "shapes.h"

namespace fourfold::cli {
namespace {

struct CandidateFlags {
    std::string problem, choice;
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

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status serve(const CandidateFlags &flags) {
    const Result<Conv2dProblem> problem = parse_valid_problem(flags.problem);
    if (!problem) {
        return problem.status();
    }
    PlanOptions options;
    options.choice = flags.choice;
    options.threads = flags.threads;
    const Result<Plan> plan = Plan::create(*problem, options);
    if (!plan) {
        answer("refused " + plan.status().message());
        return {};
    }
    const std::unique_ptr<ProblemData> data = ProblemData::make(*problem, flags.seed);
    const size_t result_bytes = static_cast<size_t>(ProblemData::result_elements(*problem)) * sizeof(float);
    const bool packs = plan->packed_filter_bytes() > 0;
    const GuardedBlock workspace(std::max(plan->workspace_bytes(), packs ? plan->workspace_bytes_unpacked() : 0)), result(result_bytes);
    AlignedBuffer packed;
    if (packs) {
        packed = AlignedBuffer(plan->packed_filter_bytes());
    }
    if (data == nullptr || !workspace.ok() || !result.ok() || (packs && packed.data() == nullptr)) {
        answer("refused memory ran out");
        return {};
    }
    const MemoryBlock scratch = {workspace.data(), plan->workspace_bytes()};
    const Tensors tensors = data->tensors(*problem, packed, reinterpret_cast<float *>(result.data()));
    Status status = packs ? plan->pack_filters(data->filter_view(*problem), packed, workspace.block()) : Status();
    std::memset(workspace.data(), 0xff, scratch.bytes);
    status = status ? plan->execute(tensors, scratch) : status;
    if (!status) {
        answer("wrong " + status.message());
        return {};
    }
    if (!workspace.intact() || !result.intact()) {
        answer("wrong it wrote outside of its output or workspace");
        return {};
    }
    void *shared = ::mmap(nullptr, result_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, flags.result_file, 0);
    if (shared == MAP_FAILED) {
        answer("refused no shared memory for the result");
        return {};
    }
    std::memcpy(shared, result.data(), result_bytes);
    ::munmap(shared, result_bytes);
    answer("ready");

    std::unique_ptr<CacheEvictor> evictor = flags.cold ? std::make_unique<CacheEvictor>() : nullptr;
    std::string word;
    for (int repeats = 0; std::cin >> word >> repeats;) {
        if (evictor != nullptr) {
            (*evictor)();
        }
        const double begin = now();
        for (int i = 0; i < repeats && status; ++i) {
            status = plan->execute(tensors, scratch);
        }
        const double elapsed = now() - begin;
        answer(status ? fmt::format("time {:.9g}", elapsed) : "wrong " + status.message());
    }
    return {};
}

}  // namespace

Action add_candidate(CLI::App &verb) {
    auto flags = std::make_shared<CandidateFlags>();
    verb.group("");
    verb.add_option("--problem", flags->problem)->required();
    verb.add_option("--choice", flags->choice)->required();
    verb.add_option("--threads", flags->threads);
    verb.add_option("--result-file", flags->result_file)->required();
    verb.add_option("--seed", flags->seed);
    verb.add_flag("--cold", flags->cold);
    return [flags] { return serve(*flags); };
}

}  // namespace fourfold::cli
