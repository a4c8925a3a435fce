// unfold and fold: against the reference, and what they must be whatever it says: each other's adjoint, and together a count.
#include <vector>

#include <gtest/gtest.h>

#include "correctness/check.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

constexpr Operation kBoth[] = {Operation::kUnfold, Operation::kFold};

/// PyTorch's arguments, and what it has not: four-sided padding, padding modes, NHWC; rows shorter and longer than vectors.
const char *const kProblems[] = {"b2 ic5 i13x14 f3 p1", "b1 ic3 i40x37 f5x4 p2,1,0,3", "b2 ic17 i20 f3 s2 p1 nhwc", "b1 ic20 i9x70 f2x7 d3x2 p4 nhwc reflect", "b3 ic2 i16 f2 s2", "b1 ic4 i11 f1 s3", "b1 ic1 i8 f8", "b2 ic3 i7x9 f3 p3 circular s2x3",
                                 "b1 ic6 i33 f4 s3 d2 p5 symmetric", "b1 ic2 i5x6 f3 p9,0,2,11 replicate", "b1 ic2 i10 f3 p2 constant:2.5", "b2 ic40 i7 f7 p3", "b1 ic1 i200x190 f15 p7", "b1 ic3 i4 f2 s7", "b1 ic2 i6 f2 d5 p1 s4x1", "b1 ic2 i3x300 f3x33 p1,1,16,16"};

TEST(Columns, NamedProblems) {
    for (const char *text : kProblems) {
        for (Operation operation : kBoth) {
            for (const bool regions : {false, true}) {
                for (Placement placement : kPlacements) {
                    Operands operands(gradient_of(parse_problem(text), operation), test_seed(), Values::kUniform, placement, regions);
                    const reference::Forward expected = operands.expected();
                    RunOptions how;
                    how.placement = placement;
                    for (Algorithm algorithm : algorithms_of(operation)) {
                        for (const std::string &variant : runnable_variants(algorithm, operation)) {
                            PlanOptions options;
                            options.algorithm = algorithm;
                            options.variant = variant;
                            check(options, operands, expected, how);
                        }
                    }
                }
            }
        }
    }
}

TEST(Columns, RandomProblems) {
    check_random_problems({std::begin(kBoth), std::end(kBoth)}, 1e6);
}

TEST(Columns, TightWorkspace) {
    check_tight_workspace({std::begin(kBoth), std::end(kBoth)});
}

TEST(Columns, SameBitsForAnyNumberOfThreads) {
    for (const char *text : kProblems) {
        for (Operation operation : kBoth) {
            Operands operands(gradient_of(parse_problem(text), operation), test_seed());
            std::vector<float> first;
            for (int threads : {1, 2, 3, 8}) {
                PlanOptions options;
                options.threads = threads;
                const Status status = run_plan(options, operands);
                ASSERT_TRUE(status.ok()) << status.message();
                if (first.empty()) {
                    first = operands.output.values();
                }
                EXPECT_TRUE(same_sums(first, operands.output.values())) << threads << " threads, " << operands.to_string();
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

TEST(Columns, AreAdjoint) {
    // <unfold(x), c> = <x, fold(c)>; exactly, where sums of small integers are exact.
    const int64_t cases = test_cases(200);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        Conv2dProblem p = random_problem(random, 2e5);
        p.padding_value = 0.0f;
        Operands unfold(gradient_of(p, Operation::kUnfold), seed, Values::kIntegers), fold(gradient_of(p, Operation::kFold), seed + 1, Values::kIntegers);
        const Status one = run_plan(PlanOptions{}, unfold), other = run_plan(PlanOptions{}, fold);
        ASSERT_TRUE(one.ok() && other.ok()) << one.message() << other.message() << unfold.to_string();
        ASSERT_EQ(dot(unfold.output, fold.input), dot(unfold.input, fold.output)) << unfold.to_string();
    }
}

TEST(Columns, FoldOfUnfoldCounts) {
    // fold(unfold(x)) = counts * x, where counts = fold(unfold(1)): for every padding mode whose border repeats no pixel.
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        if (p.padding_mode != PaddingMode::kZeros) {
            continue;
        }
        Operands unfold(gradient_of(p, Operation::kUnfold), test_seed(), Values::kIntegers), fold(gradient_of(p, Operation::kFold), test_seed());
        const auto there_and_back = [&](const std::vector<float> &x) {
            unfold.input.assign(x);
            EXPECT_TRUE(run_plan(PlanOptions{}, unfold).ok());
            fold.input.assign(unfold.output.values());
            EXPECT_TRUE(run_plan(PlanOptions{}, fold).ok());
            return fold.output.values();
        };
        const std::vector<float> x = unfold.input.values();
        const std::vector<float> counts = there_and_back(std::vector<float>(x.size(), 1.0f)), twice = there_and_back(x);
        for (size_t i = 0; i < x.size(); i++) {
            ASSERT_EQ(twice[i], counts[i] * x[i]) << text << ", element " << i;
        }
    }
}

TEST(Columns, TimesFiltersAreTheConvolution) {
    // y[k] = w[k] . columns, PyTorch's order of rows.
    const Conv2dProblem p = parse_problem("b2 ic3 i9x8 oc4 f3x2 s2x1 p1,0,2,1 d1x2");
    Operands forward(p, test_seed(), Values::kIntegers), unfold(gradient_of(p, Operation::kUnfold), test_seed());
    unfold.input.assign(forward.input.values());
    PlanOptions direct;
    direct.algorithm = Algorithm::kDirect;
    ASSERT_TRUE(run_plan(direct, forward).ok());
    ASSERT_TRUE(run_plan(PlanOptions{}, unfold).ok());
    const std::vector<float> columns = unfold.output.values(), w = forward.filters.values();
    const int64_t depth = 3 * 3 * 2, pixels = p.out_height() * p.out_width();
    for (int64_t n = 0; n < p.batch; n++) {
        for (int64_t k = 0; k < p.out_channels; k++) {
            for (int64_t j = 0; j < pixels; j++) {
                float sum = reinterpret_cast<const float *>(forward.bias.data())[k];
                for (int64_t d = 0; d < depth; d++) {
                    sum += w[static_cast<size_t>(k * depth + d)] * columns[static_cast<size_t>((n * depth + d) * pixels + j)];
                }
                ASSERT_EQ(sum, forward.output(n, k, j / p.out_width(), j % p.out_width()));
            }
        }
    }
}

TEST(Columns, LongPositiveSums) {
    // Each inner pixel is the sum of 2,000 terms, of a row of taps, of a column, or of both; others with phases, layouts and borders.
    for (const char *text : {"fold b1 ic1 i1x6000 oc1 f1x2000", "fold b1 ic1 i6000x1 oc1 f2000x1", "fold b1 ic1 i100x90 oc1 f50x40 p20", "fold b2 ic3 i700x11 oc1 f600x2 s1x2 p1 nhwc",
                             "fold b1 ic2 i5x1300 oc1 f3x600 s2 d1x2 p1 reflect", "fold b1 ic2 i262x264 oc1 f257x258 p1"}) {
        Operands operands(parse_problem(text), test_seed(), Values::kPositive);
        const reference::Forward expected = operands.expected();
        for (const std::string &variant : runnable_variants(Algorithm::kIm2col, Operation::kFold)) {
            PlanOptions options;
            options.algorithm = Algorithm::kIm2col;
            options.variant = variant;
            const Status status = run_plan(options, operands);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(matches(operands, expected, error_limit(Algorithm::kIm2col))) << variant;
        }
    }
}

TEST(Columns, LongPositiveSumsOfGradients) {
    // bwd-data by columns, which for flipped filters are folded from the last tap on.
    int variants = 0;
    for (const VariantInfo &v : list_variants()) {
        for (const char *text : {"bwd-data b1 ic2 i2x1500 oc1 f1x700", "bwd-data b1 ic2 i1500x2 oc1 f700x1 conv", "bwd-data b1 ic1 i4x1500 oc3 f2x600 s1x2 d1x2 conv"}) {
            if (!v.runnable || v.stage != "winograd_correlation") {
                continue;
            }
            Operands operands(parse_problem(text), test_seed(), Values::kPositive);
            PlanOptions options;
            options.algorithm = Algorithm::kIm2col;
            options.variant = v.name;
            const Status status = run_plan(options, operands);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kIm2col))) << v.name;
            variants++;
        }
    }
    EXPECT_GT(variants, 0);
}

TEST(Columns, TakeNoFlippedFiltersAndNoPostOp) {
    for (const char *text : {"unfold b1 ic3 i9 f3 relu", "fold b1 ic3 i9 f3 conv", "fold b1 ic3 i9 f3 residual"}) {
        const Result<Conv2dProblem> p = Conv2dProblem::parse(text);
        ASSERT_TRUE(p.ok());
        const Status status = Plan::create(*p).status();
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << text;
        EXPECT_NE(status.message().find("fold take no"), std::string::npos) << status.message();
    }
}

}  // namespace
}  // namespace fourfold::test
