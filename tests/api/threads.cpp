// Whose threads the work runs on: several callers at once, the caller's own executors, nested calls, a forked child.
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <sys/wait.h>
#include <unistd.h>

#include "api/prepared.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

constexpr const char *kProblem = "b3 ic12 i33x35 oc20 f3 p1 reflect";

PlanOptions with(Algorithm algorithm, int threads) {
    PlanOptions options;
    options.algorithm = algorithm;
    options.threads = threads;
    return options;
}

/// Counts calls and jobs, so that a test sees that its executor was asked at all.
class CountingExecutor : public Executor {
public:
    std::atomic<int> runs{0}, jobs{0}, most_jobs{0};

protected:
    void count(int n) {
        runs++;
        jobs += n;
        int most = most_jobs;
        while (n > most && !most_jobs.compare_exchange_weak(most, n)) {
        }
    }
};

class SerialExecutor : public CountingExecutor {
public:
    void run(int n, void (*job)(void *, int), void *argument) override {
        count(n);
        for (int i = 0; i < n; i++) {
            job(argument, i);
        }
    }
};

/// The last job first: none may rely on an earlier one having run.
class ReverseExecutor : public CountingExecutor {
public:
    void run(int n, void (*job)(void *, int), void *argument) override {
        count(n);
        for (int i = n - 1; i >= 0; i--) {
            job(argument, i);
        }
    }
};

/// A fresh thread for every job, none of them the caller's.
class ThreadPerJobExecutor : public CountingExecutor {
public:
    void run(int n, void (*job)(void *, int), void *argument) override {
        count(n);
        std::vector<std::thread> threads;
        for (int i = 0; i < n; i++) {
            threads.emplace_back(job, argument, i);
        }
        for (std::thread &thread : threads) {
            thread.join();
        }
    }
};

/// A pool as programs have them: some workers, one queue, and whoever waits helps.
class QueueExecutor : public CountingExecutor {
public:
    QueueExecutor() {
        for (int i = 0; i < 2; i++) {
            workers_.emplace_back([this] {
                std::unique_lock<std::mutex> lock(mutex_);
                while (true) {
                    changed_.wait(lock, [&] { return ended_ || !queue_.empty(); });
                    if (queue_.empty()) {
                        return;
                    }
                    run_one(lock);
                }
            });
        }
    }
    ~QueueExecutor() override {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            ended_ = true;
        }
        changed_.notify_all();
        for (std::thread &worker : workers_) {
            worker.join();
        }
    }
    void run(int n, void (*job)(void *, int), void *argument) override {
        count(n);
        int left = n;
        std::unique_lock<std::mutex> lock(mutex_);
        for (int i = 0; i < n; i++) {
            queue_.push_back({job, argument, i, &left});
        }
        changed_.notify_all();
        while (left > 0) {
            if (queue_.empty()) {
                changed_.wait(lock);
            } else {
                run_one(lock);
            }
        }
    }

private:
    struct Item {
        void (*job)(void *, int);
        void *argument;
        int index;
        int *left;
    };
    void run_one(std::unique_lock<std::mutex> &lock) {
        const Item item = queue_.front();
        queue_.pop_front();
        lock.unlock();
        item.job(item.argument, item.index);
        lock.lock();
        if (--*item.left == 0) {
            changed_.notify_all();
        }
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Item> queue_;
    bool ended_ = false;
    std::vector<std::thread> workers_;
};

class Threads : public ::testing::TestWithParam<Algorithm> {
protected:
    static Prepared make(int threads) {
        return prepare(parse_problem(kProblem), with(GetParam(), threads), test_seed());
    }
    static std::vector<float> expected(Prepared &p) {
        EXPECT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
        std::vector<float> y = p.operands.output.values();
        p.operands.clear_output();
        return y;
    }
};

TEST_P(Threads, EightCallersOfOnePlan) {
    for (int threads : {1, 2}) {
        Prepared p = make(threads);
        const std::vector<float> y = expected(p);
        std::atomic<int> wrong{0};
        std::vector<std::thread> callers;
        for (int i = 0; i < 8; i++) {
            callers.emplace_back([&] {
                Array output(p.operands.output.sizes(), Placement::kGuardBytes, false);
                AlignedBuffer workspace(p.plan.workspace_bytes());
                Tensors t = p.tensors();
                t.output = output.mutable_view();
                for (int repeat = 0; repeat < 5; repeat++) {
                    wrong += !p.plan.execute(t, workspace).ok() || !same_bits(output.values(), y);
                }
            });
        }
        for (std::thread &caller : callers) {
            caller.join();
        }
        EXPECT_EQ(wrong, 0);
    }
}

TEST_P(Threads, PlansAreMadeConcurrently) {
    // FFTW's planner is not thread-safe by itself.
    Prepared p = make(1);
    const std::vector<float> y = expected(p);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; i++) {
        callers.emplace_back([&, i] {
            for (int repeat = 0; repeat < 3; repeat++) {
                Conv2dProblem other = p.operands.problem;
                other.in_height += i;
                wrong += !Plan::create(other, with(GetParam(), 1)).ok();
                Operands operands(p.operands.problem, test_seed());
                wrong += !run_plan(with(GetParam(), 1), operands).ok() || !same_bits(operands.output.values(), y);
            }
        });
    }
    for (std::thread &caller : callers) {
        caller.join();
    }
    EXPECT_EQ(wrong, 0);
}

TEST_P(Threads, CallersExecutor) {
    Prepared p = make(3);
    const std::vector<float> y = expected(p);
    SerialExecutor serial;
    ReverseExecutor reverse;
    ThreadPerJobExecutor thread_per_job;
    QueueExecutor queue;
    for (CountingExecutor *executor : {static_cast<CountingExecutor *>(&serial), static_cast<CountingExecutor *>(&reverse),
                                       static_cast<CountingExecutor *>(&thread_per_job), static_cast<CountingExecutor *>(&queue)}) {
        for (bool unpacked : {false, true}) {
            RunOptions how;
            how.executor = executor;
            how.unpacked = unpacked;
            const Status status = run_plan(p.plan, p.operands, how);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(same_bits(p.operands.output.values(), y));
        }
        EXPECT_LE(executor->most_jobs, p.plan.threads());
        if (p.plan.threads() > 1) {
            EXPECT_GT(executor->runs, 0) << "the executor was never asked";
        }
    }
}

TEST_P(Threads, OneThreadMeansTheCallers) {
    Prepared p = make(1);
    const std::vector<float> y = expected(p);
    ReverseExecutor executor;
    RunOptions how;
    how.executor = &executor;
    ASSERT_TRUE(run_plan(p.plan, p.operands, how).ok());
    EXPECT_LE(executor.most_jobs, 1);
    EXPECT_TRUE(same_bits(p.operands.output.values(), y));
}

/// Executes in every job of a loop of the caller's, on the same pool: the default one and one of the caller's own.
TEST_P(Threads, InsideALoopOfTheCallers) {
    Prepared p = make(3);
    const std::vector<float> y = expected(p);
    QueueExecutor queue;
    for (Executor *executor : {&default_executor(), static_cast<Executor *>(&queue)}) {
        struct Nested {
            const Prepared *prepared;
            const std::vector<float> *expected;
            ExecutionContext context;
            std::atomic<int> wrong{0}, ran{0};
        } nested{&p, &y, {}};
        nested.context.executor = executor;
        executor->run(
            6,
            [](void *argument, int) {
                auto *n = static_cast<Nested *>(argument);
                Array output(n->prepared->operands.output.sizes(), Placement::kGuardBytes, false);
                AlignedBuffer workspace(n->prepared->plan.workspace_bytes());
                Tensors t = n->prepared->tensors();
                t.output = output.mutable_view();
                n->wrong += !n->prepared->plan.execute(t, workspace, n->context).ok() || !same_bits(output.values(), *n->expected);
                n->ran++;
            },
            &nested);
        EXPECT_EQ(nested.ran, 6);
        EXPECT_EQ(nested.wrong, 0);
    }
    if (p.plan.threads() > 1) {
        EXPECT_GT(queue.runs, 1) << "the executions did not come to the caller's pool";
    }
}

TEST_P(Threads, AfterForkInTheChild) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer does not follow threads over fork";
#endif
    Prepared p = make(3);
    // The parent's pool is running by now, and will not exist in the child.
    const std::vector<float> y = expected(p);
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        alarm(60);
        bool ok = p.plan.execute(p.tensors(), p.workspace).ok() && same_bits(p.operands.output.values(), y);
        // A new plan as well.
        Operands again(p.operands.problem, test_seed());
        ok = ok && run_plan(with(GetParam(), 3), again).ok() && same_bits(again.output.values(), y);
        _exit(ok ? 0 : 1);
    }
    int result = 0;
    ASSERT_EQ(waitpid(child, &result, 0), child);
    EXPECT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0)
        << (WIFSIGNALED(result) ? "the child ended by signal " + std::to_string(WTERMSIG(result)) : "the child's result was wrong");
    // And the parent's pool still works.
    EXPECT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    EXPECT_TRUE(same_bits(p.operands.output.values(), y));
}

TEST_P(Threads, ForkWhileOthersExecute) {
#if defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "ThreadSanitizer does not follow threads over fork";
#endif
    // The child must not wait for a lock that a thread of the parent held.
    Prepared p = make(3);
    const std::vector<float> y = expected(p);
    std::atomic<bool> ended{false};
    std::atomic<int> wrong{0};
    std::thread busy([&] {
        Array output(p.operands.output.sizes(), Placement::kGuardBytes, false);
        AlignedBuffer workspace(p.plan.workspace_bytes());
        Tensors t = p.tensors();
        t.output = output.mutable_view();
        while (!ended) {
            wrong += !p.plan.execute(t, workspace).ok() || !same_bits(output.values(), y);
        }
    });
    for (int i = 0; i < 5; i++) {
        const pid_t child = fork();
        if (child == 0) {
            alarm(60);
            _exit(p.plan.execute(p.tensors(), p.workspace).ok() && same_bits(p.operands.output.values(), y) ? 0 : 1);
        }
        int result = -1;
        EXPECT_EQ(waitpid(child, &result, 0), child);
        EXPECT_TRUE(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    }
    ended = true;
    busy.join();
    EXPECT_EQ(wrong, 0);
}

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, Threads, ::testing::ValuesIn(kAlgorithms), algorithm_name);

/// With few filters and many tiles each thread has blocks of its own, given the workspace; else all share one.
TEST(TiledPlans, ThreadsWithBlocksOfTheirOwnChangeNothing) {
    for (Algorithm algorithm : {Algorithm::kWinograd, Algorithm::kFftTiled}) {
        for (const char *text : {"b5 ic16 i120 oc24 f3 p1 relu", "b3 ic6 i150x90 oc10 f3 d2 g2 reflect nhwc"}) {
            Operands operands(parse_problem(text), test_seed());
            PlanOptions options = with(algorithm, 1);
            const Result<Plan> serial = Plan::create(operands.problem, options);
            ASSERT_TRUE(serial.ok()) << serial.status().message();
            ASSERT_TRUE(run_plan(*serial, operands).ok());
            const std::vector<float> y = operands.output.values();
            options.threads = 3;
            const Result<Plan> own = Plan::create(operands.problem, options);
            ASSERT_TRUE(own.ok()) << own.status().message();
            for (size_t limit : {own->workspace_bytes(), own->workspace_bytes() - 1, serial->workspace_bytes()}) {
                options.workspace_limit = limit;
                const Result<Plan> plan = Plan::create(operands.problem, options);
                ASSERT_TRUE(plan.ok()) << plan.status().message();
                EXPECT_LE(plan->workspace_bytes(), limit);
                operands.clear_output();
                ASSERT_TRUE(run_plan(*plan, operands).ok());
                EXPECT_TRUE(same_bits(operands.output.values(), y)) << text << ", " << to_string(algorithm) << ", at most " << limit << " bytes";
            }
        }
    }
}

TEST(DefaultExecutor, RunsEveryJobOnce) {
    for (int jobs : {0, 1, 2, 3, 17, 1000}) {
        std::vector<std::atomic<int>> count(static_cast<size_t>(jobs));
        default_executor().run(jobs, [](void *argument, int i) { (*static_cast<std::vector<std::atomic<int>> *>(argument))[static_cast<size_t>(i)]++; }, &count);
        for (const std::atomic<int> &c : count) {
            ASSERT_EQ(c, 1);
        }
    }
}

TEST(DefaultExecutor, NestsAndServesSeveralCallers) {
    std::atomic<int> count{0};
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; i++) {
        callers.emplace_back([&count] {
            for (int repeat = 0; repeat < 50; repeat++) {
                default_executor().run(
                    5,
                    [](void *argument, int) {
                        default_executor().run(3, [](void *inner, int) { (*static_cast<std::atomic<int> *>(inner))++; }, argument);
                    },
                    &count);
            }
        });
    }
    for (std::thread &caller : callers) {
        caller.join();
    }
    EXPECT_EQ(count, 4 * 50 * 5 * 3);
}

}  // namespace
}  // namespace fourfold::test
