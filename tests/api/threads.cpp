// Whose threads the work runs on: several callers at once, the caller's own executors, nested calls, a forked child.
#include <atomic>
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
    for (CountingExecutor *executor : {static_cast<CountingExecutor *>(&serial), static_cast<CountingExecutor *>(&reverse),
                                       static_cast<CountingExecutor *>(&thread_per_job)}) {
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

TEST_P(Threads, InsideAJobOfTheDefaultExecutor) {
    Prepared p = make(3);
    const std::vector<float> y = expected(p);
    struct Nested {
        const Prepared *prepared;
        const std::vector<float> *expected;
        std::atomic<int> wrong{0}, ran{0};
    } nested{&p, &y};
    default_executor().run(
        6,
        [](void *argument, int) {
            auto *n = static_cast<Nested *>(argument);
            Array output(n->prepared->operands.output.sizes(), Placement::kGuardBytes, false);
            AlignedBuffer workspace(n->prepared->plan.workspace_bytes());
            Tensors t = n->prepared->tensors();
            t.output = output.mutable_view();
            n->wrong += !n->prepared->plan.execute(t, workspace).ok() || !same_bits(output.values(), *n->expected);
            n->ran++;
        },
        &nested);
    EXPECT_EQ(nested.ran, 6);
    EXPECT_EQ(nested.wrong, 0);
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
        const bool ok = p.plan.execute(p.tensors(), p.workspace).ok() && same_bits(p.operands.output.values(), y);
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

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, Threads, ::testing::ValuesIn(kAlgorithms), algorithm_name);

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
