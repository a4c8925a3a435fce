// Tasks on an Executor, each with a slot of its own in the workspace.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "fourfold/executor.h"
#include "fourfold/status.h"
#include "halide_hooks.h"

namespace fourfold {

/// Where an execution runs, and where it reports.
struct Execution {
    Executor &executor;
    Profile *profile;
    // On a GPU: the device and the caller's stream. With `modules` all launches are gone through without making them, and the modules
    // that they need are compiled and kept there: so plans are made.
    DeviceRuntime *device = nullptr;
    void *stream = nullptr;
    std::vector<std::shared_ptr<void>> *modules = nullptr;
};

/// Runs task(index, slot, context) for index in [0, tasks); slot in [0, slots) is not used by two tasks at the same time, so
/// it can name scratch memory. Each slot has a run of tasks of its own, in order, and then helps the others with theirs: what a
/// task finds again in the next stage, or the next call, is mostly in its own processor's cache. A task returns false, with a
/// message in its context, to fail; the others then stop early. Allocates nothing unless a task fails.
template<typename Task>
Status parallel_for(const Execution &execution, int slots, int64_t tasks, const Task &task) {
    constexpr int kRuns = 32;
    const int jobs = static_cast<int>(tasks < slots ? tasks : slots);
    struct Shared {
        const Task &task;
        const int64_t tasks;
        const int runs;
        Profile *const profile;
        std::atomic<bool> failed{false};
        std::mutex mutex;
        KernelContext error;  ///< the first task's that failed
        struct alignas(64) Run {
            std::atomic<int64_t> next{0};
        } run[kRuns];

        int64_t begin(int r) const {
            return tasks / runs * r + std::min<int64_t>(tasks % runs, r);
        }
        /// The next task of run r, or of the first one after it that has any left; `tasks` where none has.
        int64_t take(int &r, int &exhausted) {
            for (; exhausted < runs; exhausted++, r = (r + 1) % runs) {
                const int64_t index = begin(r) + run[r].next.fetch_add(1, std::memory_order_relaxed);
                if (index < begin(r + 1)) {
                    return index;
                }
            }
            return tasks;
        }
    } shared{task, tasks, std::min(std::max(jobs, 1), kRuns), execution.profile, {}, {}, {}, {}};

    const auto job = [](void *argument, int slot) {
        auto &s = *static_cast<Shared *>(argument);
        int run = slot % s.runs, exhausted = 0;
        while (!s.failed.load(std::memory_order_relaxed)) {
            const int64_t index = s.take(run, exhausted);
            if (index >= s.tasks) {
                return;
            }
            KernelContext context;
            context.profile = s.profile;
            if (!s.task(index, slot, context)) {
                std::lock_guard<std::mutex> lock(s.mutex);
                if (!s.failed.exchange(true)) {
                    s.error = context;
                }
            }
        }
    };
    if (jobs <= 1) {
        job(&shared, 0);
    } else {
        execution.executor.run(jobs, job, &shared);
    }
    if (shared.failed) {
        return Status(StatusCode::kInternal, shared.error.text[0] != '\0' ? std::string("a generated kernel refused: ") + shared.error.text : "a generated kernel failed");
    }
    return Status();
}

}  // namespace fourfold
