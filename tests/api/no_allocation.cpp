// No allocation during execute. This executable replaces malloc and its relatives, so that every call is counted, also from
// operator new, FFTW, KissFFT and the code that Halide generates, whose halide_malloc ends in malloc as well.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/prepared.h"
#include "support/problems.h"
#include "support/random.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__GLIBC__)
// The sanitizers replace malloc themselves; without glibc there are no __libc_ names to pass on to.
#define FOURFOLD_CAN_COUNT 0
#else
#define FOURFOLD_CAN_COUNT 1
#endif

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

[[maybe_unused]] void note() {
    if (counting.load(std::memory_order_relaxed)) {
        allocations.fetch_add(1, std::memory_order_relaxed);
    }
}

}  // namespace

#if FOURFOLD_CAN_COUNT
extern "C" {

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

void *malloc(size_t bytes) noexcept {
    note();
    return __libc_malloc(bytes);
}
void *calloc(size_t count, size_t bytes) noexcept {
    note();
    return __libc_calloc(count, bytes);
}
void *realloc(void *old, size_t bytes) noexcept {
    note();
    return __libc_realloc(old, bytes);
}
void *memalign(size_t alignment, size_t bytes) noexcept {
    note();
    return __libc_memalign(alignment, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) noexcept {
    note();
    return __libc_memalign(alignment, bytes);
}
int posix_memalign(void **result, size_t alignment, size_t bytes) noexcept {
    note();
    *result = __libc_memalign(alignment, bytes);
    return *result == nullptr ? ENOMEM : 0;
}

}  // extern "C"
#endif

namespace fourfold::test {
namespace {

constexpr const char *kProblems[] = {
    "b2 ic6 i14x15 oc10 f3 p1",
    "b1 ic64 i56 oc64 f3 p1",
    "b1 ic1 i300x280 oc1 f15",
    "b3 ic5 i37x41 oc7 f5 s2 p2 d2 reflect",
    "b1 ic24 i30 oc24 f3 p1 g24 circular relu",
    "b2 ic40 i20 oc30 f1",
    "b1 ic300 i7 oc20 f3 p1",
};

class NoAllocation : public ::testing::TestWithParam<Algorithm> {};

/// Allocations during one execution, its first.
long count_during(const Prepared &p, const Tensors &tensors, const ExecutionContext &context = {}) {
    allocations = 0;
    counting = true;
    const Status status = p.plan.execute(tensors, p.workspace, context);
    counting = false;
    EXPECT_TRUE(status.ok()) << status.message();
    return allocations;
}

TEST(Counter, Counts) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    counting = true;
    // Volatile, or the compiler may leave out what nobody uses.
    char *volatile text = new char[100];
    delete[] text;
    void *volatile block = std::calloc(3, 5);
    std::free(block);
    void *aligned = nullptr;
    const int failed = posix_memalign(&aligned, 64, 100);
    counting = false;
    EXPECT_EQ(failed, 0);
    std::free(aligned);
    EXPECT_EQ(allocations, 3);
}

TEST_P(NoAllocation, DuringExecute) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    // The default pool starts at its first use, which is not what is counted here.
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : kProblems) {
        if (refuses(GetParam(), parse_problem(text))) {
            continue;
        }
        for (int threads : {1, 2, 3}) {
            for (FftBackend backend : GetParam() == Algorithm::kFft ? fft_backends() : std::vector<FftBackend>{FftBackend::kAuto}) {
                PlanOptions options;
                options.algorithm = GetParam();
                options.threads = threads;
                options.fft_backend = backend;
                const Prepared p = prepare(parse_problem(text), options, test_seed());
                const std::string where = std::string(text) + ", " + std::to_string(threads) + " threads, " + to_string(backend);
                EXPECT_EQ(count_during(p, p.tensors()), 0) << where;
                EXPECT_EQ(count_during(p, p.operands.tensors()), 0) << where << ", filters unpacked";
            }
        }
    }
}

long page_faults() {
    rusage usage = {};
    EXPECT_EQ(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_minflt;
}

/// Nor does an execution map memory behind malloc's back, or give pages back that the next one must fault in again. The least of some: the kernel
/// may take a page away at any time.
TEST_P(NoAllocation, AndNoPageFaults) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "sanitizers map memory of their own";
    }
    const long before = page_faults();
    std::vector<char> fresh(size_t{1} << 24, 1);
    if (page_faults() == before) {
        GTEST_SKIP() << "page faults are not counted here";
    }
    for (const char *text : kProblems) {
        if (refuses(GetParam(), parse_problem(text))) {
            continue;
        }
        PlanOptions options;
        options.algorithm = GetParam();
        options.threads = 1;
        const Prepared p = prepare(parse_problem(text), options, test_seed());
        for (const Tensors &tensors : {p.tensors(), p.operands.tensors()}) {
            long least = std::numeric_limits<long>::max();
            for (int run = 0; run < 6; run++) {
                const long before = page_faults();
                const Status status = p.plan.execute(tensors, p.workspace);
                const long after = page_faults();
                ASSERT_TRUE(status.ok()) << status.message();
                least = std::min(least, after - before);
            }
            EXPECT_EQ(least, 0) << text;
        }
    }
}

TEST_P(NoAllocation, InTheGradients) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : kProblems) {
        for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
            const Conv2dProblem problem = gradient_of(parse_problem(text), operation);
            if (refuses(GetParam(), problem)) {
                continue;
            }
            for (int threads : {1, 3}) {
                PlanOptions options;
                options.algorithm = GetParam();
                options.threads = threads;
                const Prepared p = prepare(problem, options, test_seed());
                const std::string where = std::string(text) + ", " + std::to_string(threads) + " threads, " + p.plan.problem().to_string();
                EXPECT_EQ(count_during(p, p.tensors()), 0) << where;
                EXPECT_EQ(count_during(p, p.operands.tensors()), 0) << where << ", filters unpacked";
            }
        }
    }
}

TEST(NoAllocationOfColumns, DuringExecute) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : kProblems) {
        for (Operation operation : {Operation::kUnfold, Operation::kFold}) {
            for (int threads : {1, 3}) {
                PlanOptions options;
                options.threads = threads;
                const Prepared p = prepare(gradient_of(parse_problem(text), operation), options, test_seed());
                EXPECT_EQ(count_during(p, p.operands.tensors()), 0) << p.plan.problem().to_string() << ", " << threads << " threads";
            }
        }
    }
}

TEST_P(NoAllocation, InEveryVariant) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    for (const std::string &variant : runnable_variants(GetParam())) {
        PlanOptions options;
        options.algorithm = GetParam();
        options.variant = variant;
        options.threads = 1;
        // Some variants of fft_tiled do groups of one channel only.
        const bool depthwise = variant.starts_with("lane_columns") || variant.starts_with("plane_rows");
        const Prepared p = prepare(parse_problem(depthwise ? "b2 ic9 i31x29 oc18 f3 p1 g9" : "b2 ic9 i31x29 oc20 f3 p1"), options, test_seed());
        EXPECT_EQ(count_during(p, p.tensors()), 0) << variant;
    }
}

TEST(SpectralProduct, AllocatesNothing) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : {"spectral b9 ic13 i8x5 oc21", "spectral b9 ic13 i8x5 oc21 bcij", "spectral b3 ic1 i28x15 oc32", "spectral b9 ic3 i28x15 oc32 bcij"}) {
        for (int threads : {1, 3}) {
            const Result<SpectralProblem> p = SpectralProblem::parse(text);
            ASSERT_TRUE(p.ok()) << p.status().message();
            const Result<SpectralPlan> plan = SpectralPlan::create(*p, {threads, ""});
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            const auto spectrum = [&](int64_t a, int64_t b) { return std::vector<Complex>(static_cast<size_t>(a * b * p->frequencies())); };
            const std::vector<Complex> x = spectrum(p->batch, p->in_channels), w = spectrum(p->out_channels, p->in_channels);
            std::vector<Complex> y = spectrum(p->batch, p->out_channels);
            const AlignedBuffer workspace(plan->workspace_bytes_unpacked()), packed(plan->packed_filter_bytes());
            ASSERT_TRUE(plan->pack_filters(w.data(), packed).ok());
            SpectralTensors t;
            t.input = x.data();
            t.output = y.data();
            for (bool pack : {true, false}) {
                t.filters = pack ? SpectralFilters(packed) : SpectralFilters(w.data());
                allocations = 0;
                counting = true;
                const Status status = plan->execute(t, workspace);
                counting = false;
                EXPECT_TRUE(status.ok()) << status.message();
                EXPECT_EQ(allocations, 0) << text << (pack ? ", packed, " : ", ") << threads << " threads";
            }
        }
    }
}

TEST(Separable, AllocatesNothing) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : {"b2 ic1 i200x150 oc1 f9 p4 reflect", "b1 ic3 i60x50 oc3 f5 p2 s2 g3 constant:0.5 relu"}) {
        for (int threads : {1, 3}) {
            const Conv2dProblem problem = parse_problem(text);
            const std::vector<float> w(static_cast<size_t>(problem.filter_elements()), 0.1f), x(static_cast<size_t>(problem.input_elements()), 1.0f);
            std::vector<float> y(static_cast<size_t>(problem.output_elements()));
            PlanOptions options;
            options.threads = threads;
            const Result<SeparablePlan> plan = SeparablePlan::create(problem, w.data(), options);
            Result<Conv2dLayer> layer = Conv2dLayer::create(problem, w.data(), nullptr, options);
            ASSERT_TRUE(plan.ok() && layer.ok());
            const AlignedBuffer workspace(plan->workspace_bytes());
            Tensors t;
            t.input = x.data();
            t.output = y.data();
            allocations = 0;
            counting = true;
            const bool ok = plan->execute(t, workspace).ok() && layer->run(x.data(), y.data()).ok();
            counting = false;
            EXPECT_TRUE(ok);
            EXPECT_EQ(allocations, 0) << text << ", " << threads << " threads";
        }
    }
}

TEST(Training, AllocatesNothing) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    for (const char *text : {"b2 ic6 i14x15 oc10 f3 p1", "b3 ic5 i37x41 oc7 f5 s2 p2 d2 reflect", "b1 ic24 i30 oc24 f3 p1 g24 circular nhwc"}) {
        for (FftBackend backend : fft_backends()) {
            TrainingOptions options;
            options.threads = 3;
            options.fft_backend = backend;
            const Conv2dProblem problem = parse_problem(text);
            const Result<TrainingPlan> plan = TrainingPlan::create(problem, options);
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            Operands x(problem, test_seed()), gx(gradient_of(problem, Operation::kBackwardData), test_seed()), gw(gradient_of(problem, Operation::kBackwardFilters), test_seed());
            const AlignedBuffer input(plan->input_spectra_bytes()), filters(plan->filter_spectra_bytes()), gradient(plan->gradient_spectra_bytes()), workspace(plan->workspace_bytes());
            allocations = 0;
            counting = true;
            const bool ok = plan->transform_input(x.input.view(), 7, input, workspace).ok() && plan->transform_filters(x.filters.view(), 7, filters, workspace).ok() && plan->transform_gradient(gx.grad_output.view(), 7, gradient, workspace).ok() &&
                            plan->forward(input, filters, nullptr, x.output.mutable_view(), workspace).ok() && plan->backward_data(gradient, filters, gx.output.mutable_view(), workspace).ok() &&
                            plan->backward_filters(input, gradient, gw.output.mutable_view(), reinterpret_cast<float *>(gw.bias.data()), workspace).ok();
            counting = false;
            EXPECT_TRUE(ok) << text;
            EXPECT_EQ(allocations, 0) << text << ", " << to_string(backend);
        }
    }
}

TEST(SpectralTransform, AllocatesNothing) {
    if (!FOURFOLD_CAN_COUNT) {
        GTEST_SKIP() << "malloc cannot be counted in this build";
    }
    default_executor().run(8, [](void *, int) {}, nullptr);
    const int64_t sizes[][2] = {{1, 1}, {28, 28}, {9, 15}, {13, 22}, {17, 34}, {56, 100}};
    for (FftBackend backend : fft_backends()) {
        for (const auto &size : sizes) {
            for (SpectralOrder order : {SpectralOrder::kBijc, SpectralOrder::kBcij}) {
                SpectralTransformOptions options;
                options.fft_backend = backend;
                options.threads = 2;
                const Result<SpectralTransform> transform = SpectralTransform::create(size[0], size[1], order, options);
                if (!transform.ok()) {
                    EXPECT_EQ(transform.status().code(), StatusCode::kUnsupported) << transform.status().message();
                    continue;
                }
                std::vector<float> x(static_cast<size_t>(3 * 9 * size[0] * size[1]));
                std::vector<Complex> spectra(static_cast<size_t>(3 * 9 * size[0] * transform->half_width()));
                const AlignedBuffer workspace(transform->workspace_bytes());
                Conv2dProblem p;
                p.in_channels = 9;
                p.out_channels = 3;
                p.in_height = size[0];
                p.in_width = size[1];
                allocations = 0;
                counting = true;
                const bool ok = transform->forward(x.data(), 3, 9, spectra.data(), workspace).ok() && transform->inverse(spectra.data(), 3, 9, x.data(), workspace).ok() && transform->filters(p, x.data(), spectra.data(), workspace).ok();
                counting = false;
                EXPECT_TRUE(ok);
                EXPECT_EQ(allocations, 0) << size[0] << "x" << size[1] << ", " << to_string(backend);
            }
        }
    }
}

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, NoAllocation, ::testing::ValuesIn(kAlgorithms), algorithm_name);

}  // namespace
}  // namespace fourfold::test
