// The default thread pool.
#include "fourfold/executor.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#include "fourfold/plan.h"

namespace fourfold {
namespace {

/// One call of run(), on the caller's stack, linked into the pool while it has jobs to hand out: nothing is allocated.
struct Batch {
    void (*job)(void *, int);
    void *argument;
    int jobs;
    int next = 1;  ///< the first job not handed out; the caller's own is 0, so that it stays with its thread from call to call
    std::atomic<int> done{0};
    Batch *link = nullptr;
};

class Pool final : public Executor {
public:
    Pool()
        : pid_(getpid()) {
        const int workers = machine().hardware_threads - 1;
        for (int i = 0; i < workers; i++) {
            try {
                std::thread([this] { work(); }).detach();
            } catch (const std::system_error &) {
                break;  // fewer threads, same results
            }
        }
    }

    void run(int jobs, void (*job)(void *, int), void *argument) override {
        if (jobs <= 1 || getpid() != pid_) {
            for (int i = 0; i < jobs; i++) {
                job(argument, i);
            }
            return;
        }
        Batch batch{job, argument, jobs};
        {
            std::lock_guard<std::mutex> lock(mutex_);
            batch.link = head_;
            head_ = &batch;
            pending_.fetch_add(jobs - 1, std::memory_order_release);
        }
        if (jobs == 2) {
            wake_.notify_one();
        } else {
            wake_.notify_all();
        }
        job(argument, 0);
        std::unique_lock<std::mutex> lock(mutex_);
        while (batch.next < batch.jobs) {
            run_one(batch, lock);
        }
        lock.unlock();
        const auto finished = [&] { return batch.done.load(std::memory_order_acquire) == batch.jobs - 1; };
        if (!spin(finished)) {
            lock.lock();
            finished_.wait(lock, finished);
        }
    }

private:
    /// Convolutions come in bursts of short stages: a short spin saves the wake-up between them. Whether it came true meanwhile.
    template<typename Condition>
    static bool spin(const Condition &condition) {
        for (int i = 0; i < 2000; i++) {
            if (condition()) {
                return true;
            }
            std::this_thread::yield();
        }
        return condition();
    }

    /// Takes one job of the batch and runs it unlocked. The batch leaves the list with its last job handed out; its owner
    /// still waits for `done`, so it stays valid until that is counted, and no longer.
    void run_one(Batch &batch, std::unique_lock<std::mutex> &lock) {
        const int index = batch.next++, workers = batch.jobs - 1;
        pending_.fetch_sub(1, std::memory_order_relaxed);
        if (batch.next == batch.jobs) {
            Batch **at = &head_;
            while (*at != &batch) {
                at = &(*at)->link;
            }
            *at = batch.link;
        }
        lock.unlock();
        batch.job(batch.argument, index);
        lock.lock();
        if (batch.done.fetch_add(1, std::memory_order_release) + 1 == workers) {
            finished_.notify_all();
        }
    }

    void work() {
        while (true) {
            spin([&] { return pending_.load(std::memory_order_acquire) != 0; });
            std::unique_lock<std::mutex> lock(mutex_);
            wake_.wait(lock, [&] { return head_ != nullptr; });
            while (head_ != nullptr) {
                run_one(*head_, lock);
            }
        }
    }

    const pid_t pid_;
    std::mutex mutex_;
    std::condition_variable wake_, finished_;
    std::atomic<int> pending_{0};
    Batch *head_ = nullptr;
};

}  // namespace

Executor &default_executor() {
    // Never destroyed: its threads may outlive static destructors.
    static Pool *pool = new Pool;
    return *pool;
}

}  // namespace fourfold
