// Another Halide-made library in the same program: its handlers, allocations and threads stay its own, and so do ours.
#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <HalideBuffer.h>
#include <gtest/gtest.h>

#include "api/prepared.h"
#include "kernel.h"
#include "second.h"
#include "support/problems.h"
#include "support/random.h"
#include "support/spawn.h"

namespace fourfold::test {
namespace {

std::atomic<int> errors{0}, allocations{0}, loops{0};
std::string last_error;

void their_error(void *, const char *message) {
    errors++;
    last_error = message;
}
void *their_malloc(void *, size_t bytes) {
    allocations++;
    return std::aligned_alloc(128, (bytes + 255) / 128 * 128);
}
void their_free(void *, void *block) {
    std::free(block);
}
int their_loop(void *user_context, halide_task_t task, int min, int size, uint8_t *closure) {
    loops++;
    return halide_default_do_par_for(user_context, task, min, size, closure);
}

constexpr int kWidth = 300, kHeight = 20;

/// Runs their function and says whether the result is right.
bool second_is_right() {
    Halide::Runtime::Buffer<float> x(kWidth, kHeight), y(kWidth, kHeight);
    x.fill(2.0f);
    if (second(x, y) != 0) {
        return false;
    }
    for (int j = 0; j < kHeight; j++) {
        for (int i = 0; i < kWidth; i++) {
            if (y(i, j) != 2.0f * kWidth * static_cast<float>(i + 1) + 2.0f) {
                return false;
            }
        }
    }
    return true;
}

void install_their_handlers() {
    halide_set_error_handler(their_error);
    halide_set_custom_malloc(their_malloc);
    halide_set_custom_free(their_free);
    halide_set_custom_do_par_for(their_loop);
    errors = allocations = loops = 0;
}

#if defined(__SANITIZE_THREAD__)
#define SKIP_UNDER_TSAN() GTEST_SKIP() << "the thread sanitizer does not see the locks of their pool"
#else
#define SKIP_UNDER_TSAN() static_cast<void>(0)
#endif

class Company : public ::testing::TestWithParam<Algorithm> {
protected:
    void SetUp() override {
        SKIP_UNDER_TSAN();
        install_their_handlers();
    }
    static Prepared make() {
        PlanOptions options;
        options.algorithm = GetParam();
        options.threads = 2;
        return prepare(parse_problem("b3 ic12 i33x35 oc20 f3 p1"), options, test_seed());
    }
};

TEST_P(Company, HandlersStayTheirs) {
    ASSERT_TRUE(second_is_right());
    EXPECT_GT(allocations, 0);
    EXPECT_GT(loops, 0);
    allocations = loops = 0;

    Prepared p = make();
    for (int i = 0; i < 3; i++) {
        const Status status = p.plan.execute(p.tensors(), p.workspace);
        ASSERT_TRUE(status.ok()) << status.message();
    }
    EXPECT_EQ(allocations, 0) << "fourfold allocated through their allocator";
    EXPECT_EQ(loops, 0) << "fourfold ran on their thread pool";
    EXPECT_EQ(errors, 0);

    // And what we installed has not replaced theirs.
    EXPECT_EQ(halide_set_error_handler(their_error), &their_error);
    EXPECT_EQ(halide_set_custom_malloc(their_malloc), &their_malloc);
    EXPECT_EQ(halide_set_custom_do_par_for(their_loop), &their_loop);
    ASSERT_TRUE(second_is_right());
    EXPECT_GT(allocations, 0);
    EXPECT_GT(loops, 0);
}

TEST_P(Company, InsideATaskOfTheirPool) {
    Prepared p = make();
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    struct Nested {
        Prepared *prepared;
        std::vector<float> expected;
        std::atomic<int> wrong{0}, ran{0};
    } nested{&p, p.operands.output.values()};
    const auto task = [](void *, int, uint8_t *closure) {
        auto *n = reinterpret_cast<Nested *>(closure);
        Array output(n->prepared->operands.output.sizes(), Placement::kGuardBytes, false);
        AlignedBuffer workspace(n->prepared->plan.workspace_bytes());
        Tensors t = n->prepared->tensors();
        t.output = output.mutable_view();
        n->wrong += !n->prepared->plan.execute(t, workspace).ok() || !same_bits(output.values(), n->expected);
        n->ran++;
        return 0;
    };
    EXPECT_EQ(halide_do_par_for(nullptr, task, 0, 8, reinterpret_cast<uint8_t *>(&nested)), 0);
    EXPECT_EQ(nested.ran, 8);
    EXPECT_EQ(nested.wrong, 0);
}

TEST_P(Company, SideBySide) {
    Prepared p = make();
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    const std::vector<float> expected = p.operands.output.values();
    std::atomic<int> wrong{0};
    std::thread other([&] {
        for (int i = 0; i < 50; i++) {
            wrong += !second_is_right();
        }
    });
    for (int i = 0; i < 50; i++) {
        wrong += !p.plan.execute(p.tensors(), p.workspace).ok() || !same_bits(p.operands.output.values(), expected);
    }
    other.join();
    EXPECT_EQ(wrong, 0);
}

/// fourfold on their thread pool, when the caller wants that.
class TheirPool : public Executor {
public:
    void run(int jobs, void (*job)(void *, int), void *argument) override {
        struct Call {
            void (*job)(void *, int);
            void *argument;
        } call{job, argument};
        const auto task = [](void *, int index, uint8_t *closure) {
            const auto *c = reinterpret_cast<const Call *>(closure);
            c->job(c->argument, index);
            return 0;
        };
        halide_do_par_for(nullptr, task, 0, jobs, reinterpret_cast<uint8_t *>(&call));
    }
};

TEST_P(Company, OnTheirPoolWhenAsked) {
    Prepared p = make();
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    const std::vector<float> expected = p.operands.output.values();
    TheirPool pool;
    ExecutionContext context;
    context.executor = &pool;
    p.operands.clear_output();
    loops = allocations = 0;
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace, context).ok());
    EXPECT_TRUE(same_bits(p.operands.output.values(), expected));
    EXPECT_EQ(allocations, 0);
    if (p.plan.threads() > 1) {
        EXPECT_GT(loops, 0) << "their pool was never asked";
    }
}

TEST_P(Company, TheirPoolMayEnd) {
    Prepared p = make();
    ASSERT_TRUE(second_is_right());
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    const std::vector<float> expected = p.operands.output.values();
    halide_set_num_threads(1);
    halide_shutdown_thread_pool();
    p.operands.clear_output();
    EXPECT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    EXPECT_TRUE(same_bits(p.operands.output.values(), expected));
    halide_set_num_threads(0);
    EXPECT_TRUE(second_is_right());
}

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, Company, ::testing::ValuesIn(kAlgorithms), algorithm_name);

TEST(OtherOperations, LeaveTheirHandlersAlone) {
    SKIP_UNDER_TSAN();
    ASSERT_TRUE(second_is_right());
    install_their_handlers();
    const Conv2dProblem forward = parse_problem("b3 ic12 i33x35 oc20 f3 p1");
    for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters, Operation::kUnfold, Operation::kFold}) {
        Operands operands(gradient_of(forward, operation), test_seed());
        PlanOptions options;
        options.threads = 2;
        const Status status = run_plan(options, operands);
        EXPECT_TRUE(status.ok()) << status.message();
    }
    // Sizes that KissFFT does too.
    const SpectralProblem product = {Operation::kForward, 3, 12, 30, 19, 20, SpectralOrder::kBijc};
    const Result<SpectralTransform> transform = SpectralTransform::create(30, 36, SpectralOrder::kBijc);
    const Result<SpectralPlan> plan = SpectralPlan::create(product);
    ASSERT_TRUE(transform.ok() && plan.ok()) << transform.status().message() << plan.status().message();
    const auto numbers = [&](int64_t a, int64_t b) { return std::vector<Complex>(static_cast<size_t>(a * b * product.frequencies())); };
    std::vector<Complex> xs = numbers(3, 12), ys = numbers(3, 20);
    const std::vector<Complex> ws = numbers(12, 20);
    const std::vector<float> x(3 * 12 * 30 * 36, 1.0f);
    const AlignedBuffer transforming(transform->workspace_bytes()), multiplying(plan->workspace_bytes_unpacked());
    EXPECT_TRUE(transform->forward(x.data(), 3, 12, xs.data(), transforming).ok());
    SpectralTensors t;
    t.input = xs.data();
    t.filters = SpectralFilters(ws.data());
    t.output = ys.data();
    EXPECT_TRUE(plan->execute(t, multiplying).ok());
    EXPECT_EQ(errors, 0);
    EXPECT_EQ(allocations, 0);
    EXPECT_EQ(loops, 0);
    EXPECT_TRUE(second_is_right());
}

TEST(Errors, GoToTheirOwnSinks) {
    install_their_handlers();
    // Theirs: an output larger than the input.
    Halide::Runtime::Buffer<float> x(4, 4), y(8, 4);
    EXPECT_NE(second(x, y), 0);
    EXPECT_EQ(errors, 1);
    EXPECT_NE(last_error.find("x"), std::string::npos) << last_error;

    // Ours: a generated kernel refuses rows of another register tile.
    ASSERT_TRUE(Plan::create(parse_problem("b1 ic1 i4 oc1 f1")).ok());
    const Variant *gemm = variants_of("gemm").front();
    const int m = gemm->parameter("m", 1);
    std::vector<float> memory(4096);
    const Floats<3> packed(memory.data(), {{m + 1, 1}, {4, m}, {1, 4 * m}});
    const Floats<2> columns(memory.data(), {{512, 1}, {4, 512}}), out(memory.data(), {{16, 1}, {m, 16}});
    const Floats<1> bias(memory.data(), {{m, 1}});
    KernelContext context;
    EXPECT_FALSE(call(*gemm, context, packed, columns, bias, int32_t{4}, int32_t{1}, int32_t{0}, 0.0f, 0.0f, out));
    EXPECT_STRNE(context.text, "");
    EXPECT_EQ(errors, 1) << "our error went to their handler: " << last_error;
}

TEST(Errors, SideBySide) {
    install_their_handlers();
    ASSERT_TRUE(Plan::create(parse_problem("b1 ic1 i4 oc1 f1")).ok());
    constexpr int kTimes = 200;
    std::atomic<int> mine{0};
    std::thread other([&mine] {
        const Variant *gemm = variants_of("gemm").front();
        const int m = gemm->parameter("m", 1);
        std::vector<float> memory(4096);
        const Floats<3> packed(memory.data(), {{m + 1, 1}, {4, m}, {1, 4 * m}});
        const Floats<2> columns(memory.data(), {{512, 1}, {4, 512}}), out(memory.data(), {{16, 1}, {m, 16}});
        const Floats<1> bias(memory.data(), {{m, 1}});
        for (int i = 0; i < kTimes; i++) {
            KernelContext context;
            mine += !call(*gemm, context, packed, columns, bias, int32_t{4}, int32_t{1}, int32_t{0}, 0.0f, 0.0f, out) && context.text[0] != '\0';
        }
    });
    for (int i = 0; i < kTimes; i++) {
        Halide::Runtime::Buffer<float> x(4, 4), y(8, 4);
        EXPECT_NE(second(x, y), 0);
    }
    other.join();
    EXPECT_EQ(mine, kTimes);
    EXPECT_EQ(errors, kTimes);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
/// Rows and columns of a product of some register tiles.
std::pair<int, int> product_sizes() {
    const Variant *gemm = variants_of("gemm").front();
    return {gemm->parameter("m", 1), 64 * gemm->parameter("n", 1)};
}

/// Filters times columns, written to `out`, which must hold the product.
void multiply(float *out) {
    const Variant *gemm = variants_of("gemm").front();
    const auto [m, lanes] = product_sizes();
    std::vector<float> memory(4096);
    const Floats<3> packed(memory.data(), {{m, 1}, {4, m}, {1, 4 * m}});
    const Floats<2> columns(memory.data(), {{lanes, 1}, {4, lanes}}), product(out, {{lanes, 1}, {m, lanes}});
    const Floats<1> bias(memory.data(), {{m, 1}});
    KernelContext context;
    EXPECT_TRUE(call(*gemm, context, packed, columns, bias, int32_t{4}, int32_t{1}, int32_t{0}, 0.0f, 0.0f, product)) << context.text;
}

TEST(Sanitizer, SeesGeneratedCode) {
    ASSERT_TRUE(Plan::create(parse_problem("b1 ic1 i4 oc1 f1")).ok());
    ::testing::FLAGS_gtest_death_test_style = "threadsafe";
    const auto [m, lanes] = product_sizes();
    const auto elements = static_cast<size_t>(m * lanes);
    std::vector<float> enough(elements);
    multiply(enough.data());
#if defined(__SANITIZE_ADDRESS__)
    std::vector<float> short_of_one(elements - 1);
    EXPECT_DEATH(multiply(short_of_one.data()), "heap-buffer-overflow");
#else
    const auto race = [&] {
        std::thread other([&] { multiply(enough.data()); });
        multiply(enough.data());
        other.join();
        std::exit(0);  // with the sanitizer's own code, after a report
    };
    // LLVM instruments no access of more than 16 bytes: the preset runs the generic kernels.
    if (variants_of("gemm").front()->isa != Isa::kGeneric) {
        GTEST_SKIP() << "wide vectors are not watched; FOURFOLD_ISA=generic";
    }
    EXPECT_EXIT(race(), ::testing::ExitedWithCode(66), "data race");
#endif
}
#endif

TEST(Archive, HasNoSymbolOfHalides) {
    const Outcome outcome = spawn({FOURFOLD_NM, "--extern-only", FOURFOLD_LIBRARY});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE(outcome.out.find("fourfold_crop_"), std::string::npos);
    EXPECT_EQ(outcome.out.find(" halide_"), std::string::npos) << outcome.out.substr(outcome.out.find(" halide_"), 80);
    EXPECT_EQ(outcome.out.find("Halide8Runtime"), std::string::npos);
}

}  // namespace
}  // namespace fourfold::test
