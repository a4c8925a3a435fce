// What must hold of any convolution, whatever computes it; and what this library promises about bits.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

constexpr const char *kProblems[] = {
    "b1 ic3 i17x19 oc5 f3 p1",
    "b2 ic6 i12x35 oc10 f5x3 s2x1 p2,1,0,3",
    "b1 ic20 i14 oc33 f3 p2 d2 reflect",
    "b3 ic8 i11 oc8 f3 p1 g8 circular",
    "b1 ic1 i40x50 oc1 f11",
    "b1 ic33 i9 oc17 f1",
    "b2 ic12 i16 oc18 f3 s3 p1 g3 replicate conv",
    "b1 ic4 i64 oc70 f7 p3 symmetric",
    "b2 ic19 i21x13 oc35 f3 p1",
};

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}

class Properties : public ::testing::TestWithParam<Algorithm> {
protected:
    static PlanOptions options(int threads = 2) {
        PlanOptions o;
        o.algorithm = GetParam();
        o.threads = threads;
        return o;
    }

    /// The output as values, or a failure.
    static std::vector<float> run(const PlanOptions &o, Operands &operands, const RunOptions &how = {}) {
        const Status status = run_plan(o, operands, how);
        EXPECT_TRUE(status.ok()) << to_string(o.algorithm) << ", " << operands.to_string() << ": " << status.message();
        return status.ok() ? operands.output.values() : std::vector<float>();
    }
    static std::vector<float> run(Operands &operands) {
        return run(options(), operands);
    }

    /// Integers add up exactly in any order, except in a spectrum; winograd may err ten times as much.
    static double exact_or(double limit) {
        return GetParam() == Algorithm::kWinograd ? 10 * limit : GetParam() == Algorithm::kFft || GetParam() == Algorithm::kFftTiled ? limit
                                                                                                                                     : 0.0;
    }
};

void remove_bias(Operands &operands) {
    std::memset(operands.bias.data(), 0, operands.bias.bytes());
}

/// max|a - b|.
double distance(const std::vector<float> &a, const std::vector<float> &b) {
    EXPECT_EQ(a.size(), b.size());
    double worst = 0.0;
    for (size_t i = 0; i < std::min(a.size(), b.size()); i++) {
        const double d = std::fabs(static_cast<double>(a[i]) - b[i]);
        worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(worst, d);
    }
    return worst;
}

std::vector<float> combine(float alpha, const std::vector<float> &a, float beta, const std::vector<float> &b) {
    std::vector<float> result(std::min(a.size(), b.size()));
    for (size_t i = 0; i < result.size(); i++) {
        result[i] = alpha * a[i] + beta * b[i];
    }
    return result;
}

TEST_P(Properties, LinearInTheInput) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        if (refuses(GetParam(), p)) {
            continue;
        }
        Operands first(p, test_seed(), Values::kIntegers), second(p, test_seed() + 1, Values::kIntegers), sum(p, test_seed(), Values::kIntegers);
        for (Operands *o : {&first, &second, &sum}) {
            remove_bias(*o);
        }
        second.filters.assign(first.filters.values());
        sum.input.assign(combine(2.0f, first.input.values(), -3.0f, second.input.values()));
        const std::vector<float> expected = combine(2.0f, run(first), -3.0f, run(second));
        const double scale = 2.0 * first.expected().scale + 3.0 * second.expected().scale + sum.expected().scale;
        EXPECT_LE(distance(run(sum), expected), exact_or(2e-6) * scale) << sum.to_string();
    }
}

TEST_P(Properties, LinearInTheFilters) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        if (refuses(GetParam(), p)) {
            continue;
        }
        Operands first(p, test_seed(), Values::kIntegers), second(p, test_seed() + 1, Values::kIntegers), sum(p, test_seed(), Values::kIntegers);
        for (Operands *o : {&first, &second, &sum}) {
            remove_bias(*o);
        }
        second.input.assign(first.input.values());
        sum.filters.assign(combine(-1.0f, first.filters.values(), 2.0f, second.filters.values()));
        const std::vector<float> expected = combine(-1.0f, run(first), 2.0f, run(second));
        const double scale = first.expected().scale + 2.0 * second.expected().scale + sum.expected().scale;
        EXPECT_LE(distance(run(sum), expected), exact_or(2e-6) * scale) << sum.to_string();
    }
}

TEST_P(Properties, ExactOnIntegers) {
    // Rounding cannot hide an error of one here.
    for (const char *text : kProblems) {
        Operands operands(parse_problem(text), test_seed(), Values::kIntegers);
        if (refuses(GetParam(), operands.problem)) {
            continue;
        }
        run(operands);
        EXPECT_TRUE(matches(operands, operands.expected(), exact_or(2e-6)));
    }
}

TEST_P(Properties, ShiftsWithTheImage) {
    // Circular padding that keeps the size: shifting the image around shifts the result around.
    for (const char *text : {"b1 ic3 i12x19 oc5 f3 p1 circular", "b2 ic4 i16x17 oc4 f5x3 p2,2,1,1 g4 circular", "b1 ic2 i9x31 oc3 f3 p2 d2 circular"}) {
        const Conv2dProblem p = parse_problem(text);
        if (refuses(GetParam(), p)) {
            continue;
        }
        Operands still(p, test_seed(), Values::kIntegers), shifted(p, test_seed(), Values::kIntegers);
        const int64_t down = 5, right = 7;
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t c = 0; c < p.in_channels; c++) {
                for (int64_t h = 0; h < p.in_height; h++) {
                    for (int64_t w = 0; w < p.in_width; w++) {
                        shifted.input(n, c, (h + down) % p.in_height, (w + right) % p.in_width) = still.input(n, c, h, w);
                    }
                }
            }
        }
        run(still);
        const std::vector<float> got = run(shifted);
        Array expected(still.output.sizes(), Placement::kGuardBytes, false);
        for (int64_t n = 0; n < p.batch; n++) {
            for (int64_t k = 0; k < p.out_channels; k++) {
                for (int64_t h = 0; h < p.in_height; h++) {
                    for (int64_t w = 0; w < p.in_width; w++) {
                        expected(n, k, (h + down) % p.in_height, (w + right) % p.in_width) = still.output(n, k, h, w);
                    }
                }
            }
        }
        EXPECT_LE(distance(got, expected.values()), exact_or(4e-6) * still.expected().scale) << shifted.to_string();
    }
}

TEST_P(Properties, ImpulseGivesTheFilter) {
    for (const char *text : {"b1 ic3 i9x11 oc4 f3x5", "b1 ic3 i9x11 oc4 f3x5 conv", "b1 ic2 i13x14 oc3 f3x2 d2x3 conv", "b1 ic4 i9x9 oc8 f4x3 g4"}) {
        const Conv2dProblem p = parse_problem(text).full();
        if (refuses(GetParam(), p)) {
            continue;
        }
        for (int64_t channel = 0; channel < p.in_channels; channel++) {
            Operands operands(p, test_seed());
            remove_bias(operands);
            operands.input.fill(0.0f);
            const int64_t row = 4, column = 6;
            operands.input(0, channel, row, column) = 1.0f;
            run(operands);
            const double limit = exact_or(2e-6) * operands.expected().scale;
            const int64_t group_in = p.in_channels / p.groups, group_out = p.out_channels / p.groups;
            for (int64_t k = 0; k < p.out_channels; k++) {
                for (int64_t r = 0; r < p.filter_height; r++) {
                    for (int64_t s = 0; s < p.filter_width; s++) {
                        // With full padding, convolution puts tap (r, s) at the impulse plus (r, s), correlation the reverse.
                        const bool flipped = p.filter_mode == FilterMode::kConvolution;
                        const int64_t h = row + p.dilation_h * (flipped ? r : p.filter_height - 1 - r);
                        const int64_t w = column + p.dilation_w * (flipped ? s : p.filter_width - 1 - s);
                        const float expected = k / group_out == channel / group_in ? operands.filters(k, channel % group_in, r, s) : 0.0f;
                        ASSERT_LE(std::fabs(operands.output(0, k, h, w) - expected), limit)
                            << operands.to_string() << ", channel " << channel << ", tap " << k << "," << r << "," << s;
                    }
                }
            }
        }
    }
}

TEST_P(Properties, SameBitsForAnyNumberOfThreads) {
    for (const char *text : kProblems) {
        Operands operands(parse_problem(text), test_seed());
        if (refuses(GetParam(), operands.problem)) {
            continue;
        }
        const std::vector<float> one = run(options(1), operands);
        for (int threads : {2, 3, 7}) {
            EXPECT_TRUE(same_sums(one, run(options(threads), operands))) << threads << " threads, " << operands.to_string();
        }
        EXPECT_TRUE(same_sums(one, run(options(0), operands))) << "all threads, " << operands.to_string();
    }
}

TEST_P(Properties, SameBitsForAnyNumberOfThreadsAtRandom) {
    Random random(test_seed());
    for (int i = 0; i < 40; i++) {
        const Conv2dProblem p = random_problem(random, 2e6);
        if (!Plan::create(p, options(1)).ok()) {
            continue;
        }
        Operands operands(p, test_seed());
        const std::vector<float> one = run(options(1), operands);
        for (int threads : {2, 3, 8}) {
            ASSERT_TRUE(same_sums(one, run(options(threads), operands))) << threads << " threads, " << operands.to_string();
        }
    }
}

// A tile's place in a block, and so in its register tile, depends on the number of threads: whichever row computes it, the sums are the same.
TEST_P(Properties, SameBitsOfEveryVariantForAnyNumberOfThreads) {
    for (const char *text : {"b2 ic20 i14 oc36 f3 p1", "b3 ic24 i7 oc20 f5 p2", "b1 ic16 i30x29 oc40 f3 p1 nhwc", "b2 ic18 i21 oc18 f3 p1 g18"}) {
        Operands operands(parse_problem(text), test_seed());
        for (const std::string &variant : runnable_variants(GetParam())) {
            PlanOptions each = options(1);
            each.variant = variant;
            if (!Plan::create(operands.problem, each).ok()) {
                continue;
            }
            const std::vector<float> one = run(each, operands);
            for (int threads : {2, 3, 5}) {
                each.threads = threads;
                EXPECT_TRUE(same_sums(one, run(each, operands))) << variant << ", " << threads << " threads, " << operands.to_string();
            }
        }
    }
}

TEST(Agreement, AutoChoosesTheSameForAnyNumberOfThreads) {
    Random random(test_seed());
    for (int i = 0; i < 200; i++) {
        const Conv2dProblem p = random_problem(random, 2e6);
        PlanOptions options;
        options.threads = 1;
        const Result<Plan> one = Plan::create(p, options);
        ASSERT_TRUE(one.ok()) << p.to_string() << ": " << one.status().message();
        for (int threads : {2, 3, 8}) {
            options.threads = threads;
            const Result<Plan> other = Plan::create(p, options);
            ASSERT_TRUE(other.ok());
            EXPECT_EQ(one->algorithm(), other->algorithm()) << threads << " threads, " << p.to_string();
            EXPECT_EQ(one->variant(), other->variant()) << threads << " threads, " << p.to_string();
        }
    }
}

TEST_P(Properties, SameBitsForAnyNumberOfThreadsWhenLarge) {
    // Large enough that the work is split however many threads there are.
    for (const char *text : {"b5 ic40 i7 oc70 f3 p1", "b3 ic24 i40x37 oc48 f3 p1", "b1 ic40 i30 oc20 f5 s2 p2"}) {
        Operands operands(parse_problem(text), test_seed());
        if (refuses(GetParam(), operands.problem)) {
            continue;
        }
        const std::vector<float> one = run(options(1), operands);
        for (int threads : {2, 3, 8}) {
            EXPECT_TRUE(same_sums(one, run(options(threads), operands))) << threads << " threads, " << operands.to_string();
        }
    }
}

TEST_P(Properties, SameBitsEveryTime) {
    for (const char *text : kProblems) {
        Operands operands(parse_problem(text), test_seed());
        if (refuses(GetParam(), operands.problem)) {
            continue;
        }
        const Result<Plan> plan = Plan::create(operands.problem, options());
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        AlignedBuffer packed(plan->packed_filter_bytes()), workspace(plan->workspace_bytes_unpacked());
        ASSERT_TRUE(plan->pack_filters(operands.filters.view(), packed, workspace).ok());
        Tensors tensors = operands.tensors();
        tensors.filters = packed;
        std::vector<float> first;
        for (unsigned char dirt : {0xff, 0x00, 0x40}) {
            // Nor may an earlier execution's leavings in the workspace matter.
            if (workspace.bytes() > 0) {
                std::memset(workspace.data(), dirt, workspace.bytes());
            }
            operands.clear_output();
            const Status status = plan->execute(tensors, workspace);
            ASSERT_TRUE(status.ok()) << status.message();
            const std::vector<float> y = operands.output.values();
            EXPECT_TRUE(first.empty() || same_bits(first, y)) << operands.to_string();
            first = y;
        }
    }
}

TEST_P(Properties, SameBitsFromAnotherEqualPlan) {
    for (const char *text : kProblems) {
        Operands operands(parse_problem(text), test_seed());
        if (refuses(GetParam(), operands.problem)) {
            continue;
        }
        const std::vector<float> first = run(operands);
        EXPECT_TRUE(same_bits(first, run(operands))) << operands.to_string();
        // Where things lie must not matter either.
        Operands elsewhere(parse_problem(text), test_seed(), Values::kUniform, Placement::kPageBefore, true);
        EXPECT_TRUE(same_bits(first, run(elsewhere))) << elsewhere.to_string();
        RunOptions unpacked;
        unpacked.unpacked = true;
        EXPECT_TRUE(same_bits(first, run(options(), operands, unpacked))) << "filters unpacked, " << operands.to_string();
    }
}

TEST_P(Properties, BatchIsItsImages) {
    for (const char *text : {"b4 ic5 i13x17 oc9 f3 p1", "b3 ic16 i20 oc24 f5 s2 p2", "b5 ic6 i9 oc6 f3 p1 g6"}) {
        const Conv2dProblem p = parse_problem(text);
        if (refuses(GetParam(), p)) {
            continue;
        }
        Operands whole(p, test_seed());
        const Result<Plan> plan = Plan::create(p, options());
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        run(whole);
        Conv2dProblem one = p;
        one.batch = 1;
        PlanOptions same_variant = options();
        same_variant.variant = GetParam() == Algorithm::kNaive ? "" : plan->variant();
        for (int64_t n = 0; n < p.batch; n++) {
            Operands image(one, test_seed());
            image.filters.assign(whole.filters.values());
            std::memcpy(image.bias.data(), whole.bias.data(), image.bias.bytes());
            const std::vector<float> x = whole.input.values();
            const auto per_image = static_cast<size_t>(one.input_elements());
            const auto at = static_cast<int64_t>(per_image) * n;
            image.input.assign(std::vector<float>(x.begin() + at, x.begin() + at + static_cast<int64_t>(per_image)));
            const std::vector<float> got = run(same_variant, image);
            const std::vector<float> y = whole.output.values();
            const int64_t out = one.output_elements();
            const std::vector<float> part(y.begin() + out * n, y.begin() + out * (n + 1));
            if (GetParam() != Algorithm::kFft && GetParam() != Algorithm::kFftTiled && GetParam() != Algorithm::kWinograd) {
                EXPECT_TRUE(same_bits(got, part)) << "image " << n << " of " << whole.to_string();
                continue;
            }
            // The complex product may round differently at another place of its register tile, and winograd may take another
            // tile for a smaller batch: the same values, not bits.
            for (size_t i = 0; i < part.size(); i++) {
                ASSERT_NEAR(got[i], part[i], 2e-5f) << "element " << i << " of image " << n << " of " << whole.to_string();
            }
        }
    }
}

TEST_P(Properties, LayersShareOnePackedBlock) {
    const Conv2dProblem p = parse_problem("b2 ic9 i15 oc21 f3 p1");
    const Result<Plan> first = Plan::create(p, options()), second = Plan::create(p, options());
    ASSERT_TRUE(first.ok() && second.ok());
    Operands operands(p, test_seed());
    const std::vector<float> expected = run(operands);
    AlignedBuffer packed(first->packed_filter_bytes()), workspace(first->workspace_bytes_unpacked());
    ASSERT_TRUE(first->pack_filters(operands.filters.view(), packed, workspace).ok());
    Tensors tensors = operands.tensors();
    tensors.filters = packed;
    for (const Plan *plan : {&*first, &*second, &*first}) {
        operands.clear_output();
        const Status status = plan->execute(tensors, workspace);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(same_bits(operands.output.values(), expected));
    }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, Properties, ::testing::ValuesIn(kAlgorithms), algorithm_name);

#ifdef __SSE2__
/// Denormals take a processor a hundred times as long, so direct computes with none that the workspace happens to hold.
TEST(Denormals, InTheWorkspaceAreNotReadByDirect) {
    for (const char *text : {"b1 ic5 i17 oc5 f7 p3 g5", "b1 ic4 i18x33 oc4 f3 p1 g4", "b1 ic3 i40x19 oc3 f5 p2 g3 reflect", "b1 ic1 i50x41 oc1 f5 p2", "b1 ic4 i21x40 oc4 f3 s2 p1 g4", "b1 ic3 i17x19 oc5 f3 p1", "bwd-data b1 ic6 i37 oc6 f7 s2 p3 g6", "bwd-data b1 ic5 i34 oc5 f3 s2 p1 g5"}) {
        Operands operands(parse_problem(text), test_seed());
        PlanOptions options;
        options.algorithm = Algorithm::kDirect;
        options.threads = 1;
        const Result<Plan> plan = Plan::create(operands.problem, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        AlignedBuffer workspace(plan->workspace_bytes()), packed(plan->packed_filter_bytes()), packing(plan->workspace_bytes_unpacked());
        ASSERT_TRUE(plan->pack_filters(operands.filters.view(), packed, packing).ok());
        std::fill_n(reinterpret_cast<float *>(workspace.data()), plan->workspace_bytes() / sizeof(float), 1e-40f);
        Tensors t = operands.tensors();
        t.filters = Filters(packed);
        // The processor notes that an operand was one.
        constexpr unsigned denormal = 2;
        _mm_setcsr(_mm_getcsr() & ~denormal);
        const Status status = plan->execute(t, workspace);
        const unsigned flags = _mm_getcsr();
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_EQ(flags & denormal, 0u) << text << ", " << plan->variant();
    }
}
#endif

TEST(Agreement, AllAlgorithms) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        Operands operands(p, test_seed());
        const double scale = operands.expected().scale;
        std::vector<float> first;
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            if (refuses(algorithm, p)) {
                continue;
            }
            const Status status = run_plan(options, operands);
            ASSERT_TRUE(status.ok()) << status.message();
            if (first.empty()) {
                first = operands.output.values();
            }
            EXPECT_LE(distance(first, operands.output.values()), (error_limit(Algorithm::kNaive) + error_limit(algorithm)) * scale)
                << to_string(algorithm) << ", " << operands.to_string();
        }
    }
}

TEST(Agreement, CommutesWhenFilterAndImageSwap) {
    // Full convolution is symmetric in its two arguments.
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Conv2dProblem there = parse_problem("b1 ic1 i9x12 oc1 f4x5 p3,3,4,4 conv"), back = parse_problem("b1 ic1 i4x5 oc1 f9x12 p8,8,11,11 conv");
        if (refuses(algorithm, there)) {
            continue;
        }
        Operands a(there, test_seed()), b(back, test_seed());
        remove_bias(a);
        remove_bias(b);
        b.input.assign(a.filters.values());
        b.filters.assign(a.input.values());
        const Status first = run_plan(options, a), second = run_plan(options, b);
        ASSERT_TRUE(first.ok() && second.ok()) << first.message() << second.message();
        EXPECT_LE(distance(a.output.values(), b.output.values()), 2.0 * error_limit(algorithm) * a.expected().scale) << to_string(algorithm);
    }
}

}  // namespace
}  // namespace fourfold::test
