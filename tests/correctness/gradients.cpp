// The gradients on problems drawn at random, and what they must be whatever the reference says: adjoint to the forward
// convolution, equal to its differences, and, as a transposed convolution, to that one's own definition.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "correctness/check.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

constexpr Operation kGradients[] = {Operation::kBackwardData, Operation::kBackwardFilters};

TEST(Gradients, RandomProblems) {
    check_random_problems({std::begin(kGradients), std::end(kGradients)}, 1e6);
}

TEST(Gradients, TightWorkspace) {
    check_tight_workspace({std::begin(kGradients), std::end(kGradients)});
}

/// Depthwise layers on whole planes: multipliers, batches whose sums are made in parts, planes narrower than a block, gradients
/// whose filters reach past the image.
TEST(Gradients, DepthwiseOnWholePlanes) {
    for (const char *text : {"b2 ic40 i20x19 oc40 f13 p6 g40", "b70 ic5 i9x8 oc10 f3 p1 g5", "b3 ic17 i7x5 oc17 f11x9 p5,5,4,4 g17 conv", "b2 ic16 i30x12 oc48 f5x4 d2x3 p4,0,1,3 g16", "b1 ic3 i1x1 oc3 f1 g3", "b130 ic2 i6 oc2 f3 p1 g2"}) {
        const Conv2dProblem problem = gradient_of(parse_problem(text), Operation::kBackwardFilters);
        int tried = 0;
        for (const std::string &variant : runnable_variants(Algorithm::kFftTiled, Operation::kBackwardFilters)) {
            if (variant.rfind("lane_columns", 0) != 0) {
                continue;
            }
            for (Values values : {Values::kUniform, Values::kPositive}) {
                PlanOptions options;
                options.algorithm = Algorithm::kFftTiled;
                options.variant = variant;
                Operands operands(problem, test_seed(), values, kPlacements[tried % 3], values == Values::kUniform);
                const Status status = run_plan(options, operands);
                if (status.code() == StatusCode::kUnsupported) {
                    continue;
                }
                tried++;
                ASSERT_TRUE(status.ok()) << operands.to_string() << ", " << variant << ": " << status.message();
                EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kFftTiled))) << variant;
                EXPECT_TRUE(operands.bias_matches(1e-6)) << variant;
            }
        }
        EXPECT_GT(tried, 0) << text;
    }
}

/// The variants of a stage that run here and can do the problem.
std::vector<std::string> variants_that_plan(const Conv2dProblem &problem, const std::string &stage, Algorithm algorithm = Algorithm::kDirect) {
    std::vector<std::string> names;
    for (const VariantInfo &variant : list_variants()) {
        PlanOptions options;
        options.algorithm = algorithm;
        options.variant = variant.name;
        if (variant.runnable && variant.stage == stage && Plan::create(problem, options).ok()) {
            names.push_back(variant.name);
        }
    }
    return names;
}

/// Depthwise layers have kernels of their own: what they take and refuse, and with less workspace the same result.
TEST(Gradients, DepthwiseKernels) {
    const char *const data = "conv_depthwise_strided_gradient", *const filters = "conv_depthwise_backward_filters";
    for (const char *text : {"b1 ic4 i20 oc8 f3 s2 p1 g4", "b1 ic4 i20 oc4 f3 s2 p1 g4 nhwc", "b1 ic4 i20 oc4 f3 s2 p1 g4 reflect", "b1 ic4 i20 oc4 f3 s2 d2 p1 g4", "b1 ic4 i20 oc4 f3 s2x1 p1 g4", "b1 ic4 i20 oc4 f3 s2 p1"}) {
        EXPECT_TRUE(variants_that_plan(gradient_of(parse_problem(text), Operation::kBackwardData), data).empty()) << text;
        EXPECT_TRUE(variants_that_plan(gradient_of(parse_problem(text), Operation::kBackwardFilters), filters).empty()) << text;
    }
    EXPECT_FALSE(variants_that_plan(gradient_of(parse_problem("b1 ic4 i20 oc4 f3 s2 p1 g4"), Operation::kBackwardData), data).empty());
    for (const char *text : {"b2 ic5 i200x90 oc5 f3 s2 p1 g5", "b3 ic2 i330x40 oc2 f5 p2 g2", "b2 ic3 i90x150 oc3 f7 s2 p3 g3 conv"}) {
        for (Operation operation : kGradients) {
            const Conv2dProblem p = gradient_of(parse_problem(text), operation);
            Operands operands(p, test_seed());
            const reference::Forward expected = operands.expected();
            const std::vector<std::string> variants = variants_that_plan(p, operation == Operation::kBackwardData ? data : filters);
            // The strided kernel is for stride 2 alone, the other for the strides that the list has on this ISA level.
            const std::vector<VariantInfo> all = list_variants();
            const bool listed = std::any_of(all.begin(), all.end(), [&](const VariantInfo &v) { return v.runnable && v.stage == filters && v.name.find("_stride" + std::to_string(p.stride_h)) != std::string::npos; });
            EXPECT_EQ(variants.empty(), operation == Operation::kBackwardData ? p.stride_h == 1 : !listed) << p.to_string();
            int blocked = 0;
            for (const std::string &variant : variants) {
                PlanOptions options;
                options.algorithm = Algorithm::kDirect;
                options.variant = variant;
                const Result<Plan> whole = Plan::create(p, options);
                ASSERT_TRUE(whole.ok()) << whole.status().message();
                options.workspace_limit = 0;
                EXPECT_EQ(Plan::create(p, options).status().code(), StatusCode::kResourceExhausted) << variant;
                for (size_t part : {8, 3, 2}) {
                    options.workspace_limit = whole->workspace_bytes() / part;
                    const Result<Plan> tight = Plan::create(p, options);
                    if (tight.ok()) {
                        EXPECT_LE(tight->workspace_bytes(), options.workspace_limit) << variant;
                        check(options, operands, expected);
                        blocked++;
                    }
                }
            }
            EXPECT_TRUE(variants.empty() || blocked > 0) << p.to_string() << ": nothing ran in less workspace";
        }
    }
}

/// Without workspace it is refused; in half of what it takes, where a plan fits into that, which is counted, the result is the same.
void check_in_half(PlanOptions options, Operands &operands, const reference::Forward &expected, const RunOptions &how, int &tightened) {
    const Conv2dProblem &p = operands.problem;
    options.workspace_limit = 0;
    EXPECT_EQ(Plan::create(p, options).status().code(), StatusCode::kResourceExhausted);
    options.workspace_limit = std::numeric_limits<size_t>::max();
    const Result<Plan> whole = Plan::create(p, options);
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    options.workspace_limit = whole->workspace_bytes() / 2;
    if (const Result<Plan> tight = Plan::create(p, options); tight.ok()) {
        EXPECT_LE(tight->workspace_bytes(), options.workspace_limit);
        check(options, operands, expected, how);
        tightened++;
    }
}

/// bwd-data by columns from the filters as they are: packed, unpacked and as regions, which it has to copy; several rounds of images;
/// fewer channels than tasks; and with less workspace the same result.
TEST(Gradients, ColumnsFromFiltersAsTheyAre) {
    int tightened = 0;  // plans within half of the workspace
    const char *const stage = "winograd_correlation";
    const auto variants = [&](const Conv2dProblem &p) { return variants_that_plan(p, stage, Algorithm::kIm2col); };
    EXPECT_TRUE(variants(gradient_of(parse_problem("b1 ic40 i7 oc40 f3 p1 nhwc"), Operation::kBackwardData)).empty());
    for (const char *text : {"b1 ic70 i7 oc520 f3 p1", "b40 ic6 i9x8 oc130 f3 s2 p1 g2 conv", "b3 ic5 i12x19 oc7 f5x4 s2x3 p2,1,0,3 d1x2 relu", "b2 ic13 i20x9 oc6 f3 p2 reflect residual", "b2 ic64 i5 oc33 f1 s2", "b12 ic3 i16 oc70 f7 p3 clamp:-1,2", "b1 ic1 i9 oc4 f1"}) {
        const Conv2dProblem p = gradient_of(parse_problem(text), Operation::kBackwardData);
        EXPECT_FALSE(variants(p).empty()) << text;
        for (bool regions : {false, true}) {
            Operands operands(p, test_seed(), Values::kUniform, regions ? Placement::kPageBefore : Placement::kPageAfter, regions);
            const reference::Forward expected = operands.expected();
            for (const std::string &variant : variants(p)) {
                SCOPED_TRACE(variant);
                PlanOptions options;
                options.algorithm = Algorithm::kIm2col;
                options.variant = variant;
                for (int threads : {1, 3}) {
                    RunOptions how;
                    how.placement = operands.placement;
                    options.threads = threads;
                    how.unpacked = threads == 1;
                    check(options, operands, expected, how);
                    how.unpacked = !how.unpacked;
                    check(options, operands, expected, how);
                }
                ASSERT_NO_FATAL_FAILURE(check_in_half(options, operands, expected, {}, tightened));
            }
        }
    }
    EXPECT_GT(tightened, 0);
}

/// bwd-filters of 1x1 filters with lanes along input channels: last panels and register tiles that are not full, groups, strides, padding,
/// several images in a product, regions, which lie where the kernel reads them; and with less workspace the same result.
TEST(Gradients, PointwiseFilters) {
    const auto variants = [](const Conv2dProblem &p) { return variants_that_plan(p, "conv_direct_oc"); };
    EXPECT_TRUE(variants(gradient_of(parse_problem("b1 ic20 i9 oc20 f3x1"), Operation::kBackwardFilters)).empty());
    int tightened = 0;
    for (const char *text : {"b1 ic64 i56 oc33 f1", "b2 ic70 i9x11 oc37 f1 s2 p1", "b9 ic130 i7 oc21 f1", "b3 ic36 i7 oc50 f1 g2 nhwc", "b70 ic5 i40x30 oc3 f1 s1x3", "b2 ic17 i6x5 oc9 f1 p2,1,0,3 reflect conv", "b1 ic1 i1 oc1 f1"}) {
        const Conv2dProblem p = gradient_of(parse_problem(text), Operation::kBackwardFilters);
        EXPECT_FALSE(variants(p).empty()) << text;
        for (bool regions : {false, true}) {
            Operands operands(p, test_seed(), Values::kUniform, regions ? Placement::kPageBefore : Placement::kPageAfter, regions);
            const reference::Forward expected = operands.expected();
            for (const std::string &variant : variants(p)) {
                SCOPED_TRACE(variant);
                PlanOptions options;
                options.algorithm = Algorithm::kDirect;
                options.variant = variant;
                RunOptions how;
                how.placement = operands.placement;
                std::vector<float> first;
                for (int threads : {1, 2, 3}) {
                    options.threads = threads;
                    check(options, operands, expected, how);
                    first = first.empty() ? operands.output.values() : first;
                    EXPECT_EQ(first, operands.output.values()) << threads << " threads, " << text;
                }
                ASSERT_NO_FATAL_FAILURE(check_in_half(options, operands, expected, how, tightened));
            }
        }
    }
    EXPECT_GT(tightened, 0);
}

/// Phases that are the same problem share a plan, and those without a tap have none: what is planned does not grow with the stride.
TEST(Gradients, LargeStrides) {
    for (const char *text : {"b2 ic2 i150x140 oc3 f64 s64 p3,5,7,2", "b2 ic2 i150x140 oc3 f64 s64 p3,5,7,2 nhwc", "b1 ic4 i101x130 oc2 f2x3 s40x50 g2 relu residual", "b1 ic2 i70x90 oc3 f17x20 s30x9 d1x2 p6 reflect conv",
                             "b2 ic2 i9x7 oc3 f3 p1 s1000000x3000000"}) {
        Operands operands(gradient_of(parse_problem(text), Operation::kBackwardData), test_seed());
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            if (algorithm != Algorithm::kWinograd) {  // which has no 1x1 filters
                EXPECT_TRUE(check(options, operands, expected)) << to_string(algorithm) << ", " << text;
            }
        }
    }
    const auto plan = [](const char *text, Algorithm algorithm) {
        PlanOptions options;
        options.algorithm = algorithm;
        return Plan::create(gradient_of(parse_problem(text), Operation::kBackwardData), options).status();
    };
    for (Algorithm algorithm : kAlgorithms) {
        const Status status = plan("b1 ic3 i4096 oc2 f1024 s1024", algorithm);
        EXPECT_TRUE(status.ok() || algorithm == Algorithm::kWinograd) << status.message();
    }
    EXPECT_TRUE(plan("b1 ic1 i4294967299x10 oc1 f3 s4294967296x2", Algorithm::kNaive).ok());
    EXPECT_TRUE(plan("b1 ic1 i10x4294967299 oc1 f3 s2x4294967296", Algorithm::kNaive).ok());
    const struct {
        const char *text, *word;
    } refused[] = {
        {"b1 ic1 i1x1099511627776 oc1 f1x1099511627775 s1x1099511627776", "2^31 - 2^16 in one axis"},
        {"b1 ic1 i4096 oc1 f2048 s2048", "2048x2048 phases"},
        {"b1 ic1 i3000 oc1 f64 s40 d41", "1600 different"},
    };
    for (const auto &r : refused) {
        const Status status = plan(r.text, Algorithm::kDirect);
        EXPECT_EQ(status.code(), StatusCode::kUnsupported) << r.text;
        EXPECT_NE(status.message().find(r.word), std::string::npos) << status.message();
        // The plain loop has no phases, and is what is left.
        for (Algorithm algorithm : {Algorithm::kNaive, Algorithm::kAuto}) {
            EXPECT_TRUE(plan(r.text, algorithm).ok()) << r.text << ": " << plan(r.text, algorithm).message();
        }
    }
}

/// Where strides leave more phases than are planned, the plain loop finds what reaches each pixel; auto may have another way.
TEST(Gradients, MorePhasesThanArePlanned) {
    for (const char *text : {"b2 ic2 i1130x1140 oc3 f33 s34 d35 p20,50,40,10", "b1 ic4 i1140x1150 oc2 f33 s34 d35 p3 g2 nhwc relu residual", "b1 ic1 i1160x1150 oc2 f33x34 s34x36 d35 p30,20,9,15 reflect conv", "b1 ic1 i1140x1150 oc1 f33 s34 d35 p10 circular"}) {
        Operands operands(gradient_of(parse_problem(text), Operation::kBackwardData), test_seed());
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : {Algorithm::kNaive, Algorithm::kAuto}) {
            PlanOptions options;
            options.algorithm = algorithm;
            const Result<Plan> plan = Plan::create(operands.problem, options);
            ASSERT_TRUE(plan.ok()) << text << ": " << plan.status().message();
            EXPECT_TRUE(algorithm == Algorithm::kAuto || plan->describe().find("what reaches each pixel") != std::string::npos) << plan->describe();
            EXPECT_TRUE(check(options, operands, expected)) << text;
        }
    }
}

TEST(Gradients, SameBitsForAnyNumberOfThreads) {
    for (const char *text : {"b3 ic20 i29x31 oc24 f3 p1", "b2 ic12 i40x37 oc12 f5 s2 p2 g4 reflect", "b4 ic1 i60 oc8 f7", "b2 ic40 i14 oc32 f3 s2 p1 nhwc", "b1 ic64 i7 oc96 f3 p1", "b2 ic30 i20 oc30 f3 p1 g30", "b2 ic30 i50x40 oc30 f3 s2 p1 g30", "b3 ic3 i300x40 oc3 f5 p2 g3"}) {
        for (Operation operation : kGradients) {
            Operands operands(gradient_of(parse_problem(text), operation), test_seed());
            for (Algorithm algorithm : kAlgorithms) {
                std::vector<float> first, first_bias;
                for (int threads : {1, 2, 3, 8}) {
                    PlanOptions options;
                    options.algorithm = algorithm;
                    options.threads = threads;
                    const Status status = run_plan(options, operands);
                    if (status.code() == StatusCode::kUnsupported && may_refuse(algorithm)) {
                        continue;
                    }
                    ASSERT_TRUE(status.ok()) << status.message();
                    std::vector<float> bias;
                    if (operation == Operation::kBackwardFilters) {
                        const auto *values = reinterpret_cast<const float *>(operands.bias.data());
                        bias.assign(values, values + operands.problem.out_channels);
                    }
                    if (first.empty()) {
                        first = operands.output.values();
                        first_bias = bias;
                    }
                    EXPECT_TRUE(same_sums(first, operands.output.values())) << to_string(options) << ", " << operands.to_string();
                    EXPECT_TRUE(same_sums(first_bias, bias)) << to_string(options) << ", " << operands.to_string();
                }
            }
        }
    }
}

TEST(Gradients, LongPositiveSums) {
    // Sums over thousands of images or strips of rows: rounding must not grow with their number. The least workspace leaves one part.
    struct Case {
        const char *problem;
        bool least_workspace;
    };
    for (const Case &c : {Case{"b2000 ic128 i3 oc128 f3 p1", false}, {"b2000 ic20 i3 oc18 f3 p1", true}, {"b8001 ic3 i3 oc2 f3 p1", false}, {"b40 ic9 i112 oc7 f3 p1", true}, {"b3000 ic6 i4 oc4 f3 p1 g2", false}, {"b3000 ic6 i4 oc4 f3 p1 g2", true}, {"b4001 ic3 i5 oc3 f3 p1 g3", false}, {"b1 ic1 i1x150000 oc1 f1x3", true}}) {
        Operands operands(gradient_of(parse_problem(c.problem), Operation::kBackwardFilters), test_seed(), Values::kPositive);
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            // The loop nest promises nothing for long sums, and would take half a minute for the first.
            if (algorithm == Algorithm::kNaive) {
                continue;
            }
            PlanOptions options, smaller;
            options.algorithm = smaller.algorithm = algorithm;
            for (Result<Plan> plan = Plan::create(operands.problem, options); c.least_workspace && plan.ok() && plan->workspace_bytes() > 0; plan = Plan::create(operands.problem, smaller)) {
                options.workspace_limit = smaller.workspace_limit;
                smaller.workspace_limit = plan->workspace_bytes() / 2;
            }
            const Status status = run_plan(options, operands);
            if (status.code() == StatusCode::kUnsupported) {
                continue;  // an image too wide for one transform, or no 3x3 filter
            }
            ASSERT_TRUE(status.ok()) << operands.to_string() << ", " << to_string(options) << ": " << status.message();
            RecordProperty(std::string(c.problem) + (c.least_workspace ? " least " : " ") + to_string(algorithm), std::to_string(max_error(operands.output, expected) / error_limit(algorithm)));
            EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(options);
            EXPECT_TRUE(operands.bias_matches(1e-6)) << to_string(options);
        }
    }
}

TEST(Gradients, LongPositiveSumsOverOutputChannels) {
    for (const char *text : {"b1 ic20 i6 oc4096 f3 p1", "b2 ic70 i9 oc2048 f1", "b1 ic9 i8 oc1025 f3 s2 p1", "b3 ic8 i9 oc1240 f3 p1 g2"}) {
        Operands operands(gradient_of(parse_problem(text), Operation::kBackwardData), test_seed(), Values::kPositive);
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            std::vector<std::string> variants = variants_that_plan(operands.problem, "winograd_correlation", algorithm);
            variants.emplace_back();
            for (const std::string &variant : variants) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.variant = variant;
                std::vector<float> first;
                for (int threads : {1, 2, 3}) {
                    options.threads = threads;
                    const Status status = run_plan(options, operands);
                    if (status.code() == StatusCode::kUnsupported) {
                        break;  // no 3x3 filter
                    }
                    ASSERT_TRUE(status.ok()) << operands.to_string() << ", " << to_string(options) << ": " << status.message();
                    RecordProperty(std::string(text) + " " + to_string(options), std::to_string(max_error(operands.output, expected) / error_limit(algorithm)));
                    EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(options);
                    first = first.empty() ? operands.output.values() : first;
                    EXPECT_EQ(first, operands.output.values()) << to_string(options);
                }
            }
        }
    }
}

/// Taps that meet nothing but zeros around the image have no gradient, not even the rounding of a transform.
TEST(Gradients, TapsOutsideTheImageHaveNone) {
    for (const char *text : {"b1 ic2 i5x1 oc34 f1x1 s6x1 p7,7,50,0 d1x4 g2", "b2 ic3 i6 oc4 f9 p8,0,8,0", "b2 ic3 i6 oc4 f9 p8,0,8,0 conv nhwc", "b2 ic16 i6x5 oc16 f3 p2,2,4,0 d3 s2 g16", "b1 ic1 i30 oc1 f31 p40,0,0,40"}) {
        Operands operands(gradient_of(parse_problem(text), Operation::kBackwardFilters), test_seed());
        const reference::Forward expected = operands.expected();
        const auto zeros = std::count(expected.y.begin(), expected.y.end(), 0.0);
        ASSERT_GT(zeros, 0) << text;
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            const Status status = run_plan(options, operands);
            if (status.code() == StatusCode::kUnsupported) {
                continue;
            }
            ASSERT_TRUE(status.ok()) << text << ", " << to_string(options) << ": " << status.message();
            const std::vector<float> result = operands.output.values();
            for (size_t i = 0; i < result.size(); i++) {
                ASSERT_TRUE(expected.y[i] != 0.0 || result[i] == 0.0f) << text << ", " << to_string(options) << ": element " << i << " is " << result[i];
            }
        }
    }
}

/// The sum of the products of all elements.
double dot(const Array &a, const Array &b) {
    const std::vector<float> x = a.values(), y = b.values();
    double sum = 0.0;
    for (size_t i = 0; i < x.size(); i++) {
        sum += static_cast<double>(x[i]) * y[i];
    }
    return sum;
}

/// A forward problem and its two gradients, on the same tensors of small integers.
struct Triple {
    Operands forward, data, filters;

    Triple(const Conv2dProblem &p, uint64_t seed)
        : forward(p, seed, Values::kIntegers), data(gradient_of(p, Operation::kBackwardData), seed + 1, Values::kIntegers), filters(gradient_of(p, Operation::kBackwardFilters), seed + 2, Values::kIntegers) {
        data.filters.assign(forward.filters.values());
        filters.input.assign(forward.input.values());
        filters.grad_output.assign(data.grad_output.values());
        std::fill_n(reinterpret_cast<float *>(forward.bias.data()), p.out_channels, 0.0f);
        std::fill_n(reinterpret_cast<float *>(data.bias.data()), p.in_channels, 0.0f);
    }
};

Conv2dProblem linear_problem(Random &random, double max_macs) {
    Conv2dProblem p = random_problem(random, max_macs);
    p.post_op = PostOp::kNone;
    p.residual = false;
    p.padding_value = 0.0f;
    return p;
}

TEST(Gradients, AreAdjoint) {
    // <conv(x, w), g> = <x, bwd-data(g, w)> = <w, bwd-filters(x, g)>; exactly, where sums of small integers are exact.
    const int64_t cases = test_cases(1000);
    std::map<Algorithm, int64_t> drawn;
    std::printf("adjointness of %ld problems, seeds from %lu\n", static_cast<long>(cases), static_cast<unsigned long>(test_seed()));
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem p = linear_problem(random, 2e5);
        Triple t(p, seed);
        PlanOptions options;
        // Any algorithm, if it does all three.
        const bool automatic = random.chance(0.2);
        do {
            options.algorithm = automatic ? Algorithm::kAuto : kAlgorithms[random.between(0, static_cast<int64_t>(std::size(kAlgorithms)) - 1)];
        } while (may_refuse(options.algorithm) && (refuses(options.algorithm, p) || refuses(options.algorithm, t.data.problem) || refuses(options.algorithm, t.filters.problem)));
        drawn[options.algorithm]++;
        const Status forward = run_plan(options, t.forward), data = run_plan(options, t.data), filters = run_plan(options, t.filters);
        ASSERT_TRUE(forward.ok() && data.ok() && filters.ok()) << forward.message() << data.message() << filters.message() << t.forward.to_string();
        const double expected = dot(t.forward.output, t.data.grad_output);
        const double scale = t.forward.expected().scale * static_cast<double>(t.forward.output.elements()) * 2.0;
        const bool exact = options.algorithm == Algorithm::kNaive || options.algorithm == Algorithm::kDirect || options.algorithm == Algorithm::kIm2col;
        const double limit = exact ? 0.0 : 4e-6 * scale;
        ASSERT_NEAR(dot(t.forward.input, t.data.output), expected, limit) << to_string(options) << ", " << t.forward.to_string();
        ASSERT_NEAR(dot(t.forward.filters, t.filters.output), expected, limit) << to_string(options) << ", " << t.forward.to_string();
    }
    for (Algorithm algorithm : kAlgorithms) {
        EXPECT_TRUE(cases < 1000 || drawn[algorithm] >= 10) << to_string(algorithm) << ": " << drawn[algorithm];
    }
}

TEST(Gradients, AreTheDifferences) {
    // A bilinear map's central differences are its derivatives, however large the step. Here they are integers.
    std::map<Algorithm, int> checked;
    for (const char *text : {"b2 ic3 i7x8 oc4 f3 p1", "b1 ic4 i9 oc6 f3x2 s2x1 p1 g2", "b2 ic2 i8 oc3 f3 p2 d2 reflect", "b1 ic3 i6x7 oc3 f2 p1 g3 circular", "b1 ic2 i7 oc2 f3 s3 p2 symmetric", "b1 ic3 i5x6 oc2 f3 p2 replicate conv",
                             "b2 ic2 i6 oc3 f2 s2 nhwc", "b1 ic2 i9 oc2 f3 s2 d3 p3", "b3 ic1 i5 oc1 f5", "b1 ic5 i4 oc7 f1", "b1 ic2 i6 oc2 f4 p3", "b1 ic2 i10x5 oc4 f3x1 s1x4 g2 conv"}) {
        const Conv2dProblem p = parse_problem(text);
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            const bool exact = algorithm == Algorithm::kNaive || algorithm == Algorithm::kDirect || algorithm == Algorithm::kIm2col;
            Triple t(p, test_seed());
            const auto runs = [&](Operands &operands) {
                const Status status = run_plan(options, operands);
                EXPECT_TRUE(status.ok() || (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported)) << text << ", " << to_string(algorithm) << ": " << status.message();
                return status.ok();
            };
            if (!runs(t.forward)) {
                continue;
            }
            Random random(test_seed());
            const auto check_gradient = [&](Array &argument, const Array &gradient) {
                const std::vector<float> values = argument.values(), slopes = gradient.values();
                for (int i = 0; i < 8; i++) {
                    const auto at = static_cast<size_t>(random.between(0, static_cast<int64_t>(values.size()) - 1));
                    double difference = 0.0;
                    for (float step : {8.0f, -8.0f}) {
                        std::vector<float> moved = values;
                        moved[at] += step;
                        argument.assign(moved);
                        ASSERT_TRUE(run_plan(options, t.forward).ok());
                        difference += dot(t.forward.output, t.data.grad_output) * (step > 0 ? 1.0 : -1.0);
                    }
                    argument.assign(values);
                    EXPECT_NEAR(difference / 16.0, slopes[at], exact ? 0.0 : 1e-3) << to_string(algorithm) << ", " << text << ", element " << at << ", " << seed_note(test_seed());
                }
                checked[algorithm]++;
            };
            if (runs(t.data)) {
                check_gradient(t.forward.input, t.data.output);
            }
            if (runs(t.filters)) {
                check_gradient(t.forward.filters, t.filters.output);
            }
        }
    }
    for (Algorithm algorithm : kAlgorithms) {
        EXPECT_GE(checked[algorithm], may_refuse(algorithm) ? 4 : 24) << to_string(algorithm);
    }
}

TEST(Gradients, TransposedConvolution) {
    // Each input element spreads the filter over the output, PyTorch's ConvTranspose2d.
    struct Case {
        Conv2dProblem::Transposed layer;
        const char *name;
    };
    std::vector<Case> cases;
    const auto add = [&](const char *name, auto set) {
        Conv2dProblem::Transposed l;
        l.batch = 2;
        l.in_channels = 6;
        l.in_height = 5;
        l.in_width = 7;
        l.out_channels = 4;
        l.filter_height = l.filter_width = 3;
        set(l);
        cases.push_back({l, name});
    };
    add("plain", [](auto &) {});
    add("stride 2, padding 1, output padding 1", [](auto &l) { l.stride_h = l.stride_w = 2, l.padding_h = l.padding_w = 1, l.output_padding_h = l.output_padding_w = 1; });
    add("stride 3x2, filter 4x5", [](auto &l) { l.stride_h = 3, l.stride_w = 2, l.filter_height = 4, l.filter_width = 5, l.padding_w = 2, l.output_padding_h = 2; });
    add("groups, dilation", [](auto &l) { l.groups = 2, l.dilation_h = 2, l.dilation_w = 3, l.padding_h = 1; });
    add("output padding of a stride under dilation", [](auto &l) { l.dilation_h = 3, l.dilation_w = 3, l.padding_h = 2, l.padding_w = 2, l.output_padding_h = 2, l.output_padding_w = 1; });
    add("output padding beyond the padding", [](auto &l) { l.dilation_h = l.dilation_w = 3, l.output_padding_h = l.output_padding_w = 2; });
    add("output padding beyond the padding, stride 2", [](auto &l) { l.stride_h = l.stride_w = 2, l.dilation_h = l.dilation_w = 3, l.padding_h = l.padding_w = 1, l.output_padding_h = l.output_padding_w = 2, l.groups = 2; });
    add("output padding beyond the padding, one axis", [](auto &l) { l.stride_h = 3, l.dilation_w = 4, l.output_padding_w = 3, l.filter_height = l.filter_width = 1; });
    for (const Case &c : cases) {
        const Conv2dProblem::Transposed &l = c.layer;
        for (PostOp post : {PostOp::kNone, PostOp::kRelu}) {
            Conv2dProblem p = Conv2dProblem::transposed(l);
            p.post_op = post;
            ASSERT_EQ(p.error(), nullptr) << c.name;
            ASSERT_EQ(p.out_height(), l.in_height) << c.name;
            ASSERT_EQ(p.out_width(), l.in_width) << c.name;
            Operands operands(p, test_seed(), Values::kIntegers);
            std::vector<float> expected;
            const auto *bias = reinterpret_cast<const float *>(operands.bias.data());
            for (int64_t n = 0; n < l.batch; n++) {
                for (int64_t k = 0; k < l.out_channels; k++) {
                    std::vector<float> plane(static_cast<size_t>(p.in_height * p.in_width), bias[k]);
                    const int64_t outputs = l.out_channels / l.groups, inputs = l.in_channels / l.groups;
                    for (int64_t ci = k / outputs * inputs; ci < (k / outputs + 1) * inputs; ci++) {
                        for (int64_t y = 0; y < l.in_height; y++) {
                            for (int64_t x = 0; x < l.in_width; x++) {
                                for (int64_t r = 0; r < l.filter_height; r++) {
                                    for (int64_t s = 0; s < l.filter_width; s++) {
                                        const int64_t row = y * l.stride_h - l.padding_h + r * l.dilation_h, column = x * l.stride_w - l.padding_w + s * l.dilation_w;
                                        if (row >= 0 && row < p.in_height && column >= 0 && column < p.in_width) {
                                            plane[static_cast<size_t>(row * p.in_width + column)] += operands.grad_output(n, ci, y, x) * operands.filters(ci, k % outputs, r, s);
                                        }
                                    }
                                }
                            }
                        }
                    }
                    for (float v : plane) {
                        expected.push_back(post == PostOp::kRelu ? std::max(v, 0.0f) : v);
                    }
                }
            }
            for (Algorithm algorithm : {Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd, Algorithm::kAuto}) {
                PlanOptions options;
                options.algorithm = algorithm;
                const Status status = run_plan(options, operands);
                if (status.code() == StatusCode::kUnsupported && may_refuse(algorithm)) {
                    continue;
                }
                ASSERT_TRUE(status.ok()) << c.name << ": " << status.message();
                const std::vector<float> got = operands.output.values();
                ASSERT_EQ(got.size(), expected.size());
                for (size_t i = 0; i < got.size(); i++) {
                    ASSERT_NEAR(got[i], expected[i], algorithm == Algorithm::kNaive || algorithm == Algorithm::kDirect || algorithm == Algorithm::kIm2col ? 0.0 : 1e-3) << c.name << ", " << to_string(algorithm) << ", element " << i;
                }
            }
        }
    }
}

TEST(Gradients, OfValidIsFull) {
    // The gradient of a valid convolution is the full one with the filters flipped and the channels exchanged.
    const Conv2dProblem valid = gradient_of(parse_problem("b2 ic3 i9x10 oc4 f3x2"), Operation::kBackwardData);
    Operands gradient(valid, test_seed(), Values::kIntegers);
    Operands full(parse_problem("b2 ic4 i7x9 oc3 f3x2 conv").full(), test_seed(), Values::kIntegers);
    full.input.assign(gradient.grad_output.values());
    for (int64_t k = 0; k < 4; k++) {
        for (int64_t c = 0; c < 3; c++) {
            for (int64_t r = 0; r < 3; r++) {
                for (int64_t s = 0; s < 2; s++) {
                    full.filters(c, k, r, s) = gradient.filters(k, c, r, s);
                }
            }
        }
    }
    std::copy_n(gradient.bias.data(), gradient.bias.bytes(), full.bias.data());
    PlanOptions options;
    options.algorithm = Algorithm::kDirect;
    ASSERT_TRUE(run_plan(options, gradient).ok());
    ASSERT_TRUE(run_plan(options, full).ok());
    EXPECT_TRUE(same_bits(gradient.output.values(), full.output.values()));
}

}  // namespace
}  // namespace fourfold::test
