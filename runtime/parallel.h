// Tasks on an Executor, each with a slot of its own in the workspace.
#pragma once

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
/// it can name scratch memory. A task returns false, with a message in its context, to fail; the others then stop early.
/// Allocates nothing unless a task fails.
template<typename Task>
Status parallel_for(const Execution &execution, int slots, int64_t tasks, const Task &task) {
    struct Shared {
        const Task &task;
        const int64_t tasks;
        Profile *const profile;
        std::atomic<int64_t> next{0};
        std::atomic<bool> failed{false};
        std::mutex mutex;
        KernelContext error;  ///< the first task's that failed
    } shared{task, tasks, execution.profile, {}, {}, {}, {}};

    const auto job = [](void *argument, int slot) {
        auto &s = *static_cast<Shared *>(argument);
        while (!s.failed.load(std::memory_order_relaxed)) {
            const int64_t index = s.next.fetch_add(1, std::memory_order_relaxed);
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
    const int jobs = static_cast<int>(tasks < slots ? tasks : slots);
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
