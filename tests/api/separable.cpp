// Filters of rank one as two passes: recognised, exact, in every mode; and what is refused.
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

/// Outer products of the first row and the first column of what `operands` has.
void make_rank_one(Operands &operands) {
    Array &w = operands.filters;
    const auto [channels, one, height, width] = w.sizes();
    for (int64_t k = 0; k < channels; k++) {
        for (int64_t r = height; r-- > 0;) {
            for (int64_t s = width; s-- > 0;) {
                w(k, 0, r, s) = w(k, 0, r, 0) * w(k, 0, 0, s);
            }
        }
    }
}

Result<SeparablePlan> plan_of(const Operands &operands, const PlanOptions &options = {}) {
    return SeparablePlan::create(operands.problem, operands.filters.view(), options);
}

Status execute(const SeparablePlan &plan, Operands &operands, Placement placement = Placement::kGuardBytes) {
    const GuardedBuffer workspace(plan.workspace_bytes(), kAlignment, placement);
    const Status status = plan.execute(operands.tensors(), workspace.block());
    EXPECT_TRUE(workspace.intact()) << operands.to_string();
    EXPECT_TRUE(operands.output.surroundings_intact()) << operands.to_string();
    return status;
}

class SeparableCases : public ::testing::TestWithParam<const char *> {};

TEST_P(SeparableCases, MatchTheReference) {
    const Conv2dProblem problem = parse_problem(GetParam());
    for (const Placement placement : kPlacements) {
        for (const size_t limit : {std::numeric_limits<size_t>::max(), size_t{1}}) {
            Operands operands(problem, 5, Values::kUniform, placement, placement == Placement::kGuardBytes);
            make_rank_one(operands);
            PlanOptions options;
            options.threads = 2;
            if (limit == 1) {
                // As little as will do: many strips.
                options.workspace_limit = 1;
                const Result<SeparablePlan> refused = plan_of(operands, options);
                ASSERT_FALSE(refused.ok());
                ASSERT_EQ(refused.status().code(), StatusCode::kResourceExhausted);
                const std::string &message = refused.status().message();
                options.workspace_limit = std::stoul(message.substr(message.find("need ") + 5));
            }
            const Result<SeparablePlan> plan = plan_of(operands, options);
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            EXPECT_LE(plan->workspace_bytes(), options.workspace_limit);
            const uint64_t before = operands.inputs_checksum();
            ASSERT_TRUE(execute(*plan, operands, placement).ok()) << GetParam();
            EXPECT_EQ(operands.inputs_checksum(), before);
            EXPECT_TRUE(matches(operands, operands.expected(), 1e-6)) << plan->describe();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Separable, SeparableCases,
                         ::testing::Values("b1 ic1 i40x50 oc1 f3", "b2 ic1 i70x33 oc1 f5x7 p2,2,3,3", "b1 ic1 i9x8 oc1 f9x8", "b1 ic1 i5x90 oc1 f5x1", "b1 ic1 i90x5 oc1 f1x5",
                                           "b1 ic1 i50x40 oc1 f7 p3 reflect", "b1 ic1 i50x40 oc1 f7 p3 symmetric", "b1 ic1 i50x40 oc1 f7 p3 replicate", "b1 ic1 i50x40 oc1 f7 p3 circular",
                                           "b1 ic1 i50x40 oc1 f7 p3 constant:0.7", "b1 ic1 i3x4 oc1 f7 p3 replicate", "b1 ic1 i4x3 oc1 f9 p4,4,3,3 zeros", "b1 ic3 i33x47 oc3 f5x3 p4,1,0,2 g3 reflect conv",
                                           "b2 ic4 i40x30 oc4 f5 p2 s2x3 g4", "b1 ic2 i60x50 oc2 f5 p8 d4x3 g2", "b1 ic2 i60x50 oc2 f2 s3 d2 g2", "b1 ic3 i40x31 oc3 f7 p3 g3 nhwc",
                                           "b2 ic5 i33x20 oc5 f3 p1 g5 nhwc constant:-0.5 residual relu", "b1 ic2 i40x30 oc2 f5 p2 g2 residual clamp:-0.2,0.3", "b1 ic1 i200x17 oc1 f31x3 p15,15,1,1 circular"));

TEST(Separable, DoesNotDependOnThreads) {
    const Conv2dProblem problem = parse_problem("b1 ic1 i700x300 oc1 f15 p7 reflect");
    std::vector<float> expected;
    for (int threads : {1, 2, 3, 8}) {
        Operands operands(problem, 7);
        make_rank_one(operands);
        PlanOptions options;
        options.threads = threads;
        options.workspace_limit = 1 << 20;
        const Result<SeparablePlan> plan = plan_of(operands, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        ASSERT_TRUE(execute(*plan, operands).ok());
        if (expected.empty()) {
            expected = operands.output.values();
        }
        EXPECT_TRUE(same_bits(operands.output.values(), expected)) << threads << " threads";
    }
}

/// What separation may cost on top of the sums: filters whose taps are rounded outer products.
TEST(Separable, RoundedGaussiansStayWithinTheLimit) {
    for (int64_t size : {3, 15, 31, 101}) {
        Conv2dProblem problem = parse_problem("b1 ic1 i130x140 oc1");
        problem.filter_height = problem.filter_width = size;
        Operands operands(problem.same(), 9);
        double sum = 0.0;
        const double sigma = static_cast<double>(size) / 6;
        const auto bell = [&](int64_t i) { return std::exp(-std::pow(static_cast<double>(2 * i - size + 1) / 2, 2) / (2 * sigma * sigma)); };
        for (int64_t i = 0; i < size; i++) {
            sum += bell(i);
        }
        for (int64_t r = 0; r < size; r++) {
            for (int64_t s = 0; s < size; s++) {
                operands.filters(0, 0, r, s) = static_cast<float>(bell(r) * bell(s) / (sum * sum));
            }
        }
        const Result<SeparablePlan> plan = plan_of(operands);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        ASSERT_TRUE(execute(*plan, operands).ok());
        EXPECT_TRUE(matches(operands, operands.expected(), 1e-6)) << size;
    }
}

TEST(Separable, IntegersAreExact) {
    const std::vector<std::vector<float>> filters = {{-1, 0, 1, -2, 0, 2, -1, 0, 1}, {-3, -10, -3, 0, 0, 0, 3, 10, 3}, {1, 2, 1, 2, 4, 2, 1, 2, 1}, {0, 0, 0, 0, 0, 0, 0, 0, 0}};
    for (const std::vector<float> &taps : filters) {
        const Result<SeparableFilters> factors = separate(parse_problem("b1 ic1 i9 oc1 f3"), taps.data());
        ASSERT_TRUE(factors.ok()) << factors.status().message();
        for (size_t i = 0; i < 9; i++) {
            EXPECT_EQ(factors->columns[i / 3] * factors->rows[i % 3], taps[i]);
        }
    }
}

TEST(Separable, HigherRanksAreRefused) {
    const Conv2dProblem problem = parse_problem("b1 ic2 i9 oc2 f3 g2");
    std::vector<float> taps = {1, 2, 1, 2, 4, 2, 1, 2, 1, 0, 1, 0, 1, -4, 1, 0, 1, 0};
    Result<SeparableFilters> factors = separate(problem, taps.data());
    ASSERT_FALSE(factors.ok());
    EXPECT_EQ(factors.status().code(), StatusCode::kUnsupported);
    EXPECT_NE(factors.status().message().find("filter 1 "), std::string::npos) << factors.status().message();
    // A millionth of a tap off, and NaN anywhere.
    for (const float wrong : {4.0f + 8e-6f, std::nanf("")}) {
        std::copy_n(taps.begin(), 9, taps.begin() + 9);
        ASSERT_TRUE(separate(problem, taps.data()).ok());
        taps[9 + 4] = wrong;
        EXPECT_EQ(separate(problem, taps.data()).status().code(), StatusCode::kUnsupported) << wrong;
    }
}

TEST(Separable, RefusesWithAReason) {
    const std::vector<float> taps(64, 1.0f);
    for (const char *text : {"b1 ic4 i9 oc4 f3", "b1 ic1 i9 oc2 f3", "bwd-data b1 ic1 i9 oc1 f3"}) {
        EXPECT_EQ(separate(parse_problem(text), taps.data()).status().code(), StatusCode::kUnsupported) << text;
    }
    const Conv2dProblem problem = parse_problem("b1 ic1 i9 oc1 f3");
    EXPECT_EQ(separate(problem, nullptr).status().code(), StatusCode::kInvalidArgument);
    PlanOptions options;
    options.algorithm = Algorithm::kFft;
    EXPECT_EQ(SeparablePlan::create(problem, taps.data(), options).status().code(), StatusCode::kUnsupported);
    SeparableFilters factors = *separate(problem, taps.data());
    factors.rows.pop_back();
    EXPECT_EQ(SeparablePlan::create(problem, factors).status().code(), StatusCode::kInvalidArgument);

    const Result<SeparablePlan> plan = SeparablePlan::create(problem, taps.data());
    ASSERT_TRUE(plan.ok());
    std::vector<float> x(81), y(49, 5.0f);
    const AlignedBuffer workspace(plan->workspace_bytes());
    Tensors tensors;
    tensors.output = y.data();
    EXPECT_EQ(plan->execute(tensors, workspace).code(), StatusCode::kInvalidArgument);
    tensors.input = x.data();
    EXPECT_EQ(plan->execute(tensors, {workspace.data(), plan->workspace_bytes() - 1}).code(), StatusCode::kInvalidArgument);
    tensors.input = ConstView(x.data(), 81, 81, 8, 1);
    EXPECT_EQ(plan->execute(tensors, workspace).code(), StatusCode::kInvalidArgument);
    tensors.input = y.data();
    EXPECT_EQ(plan->execute(tensors, workspace).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(y, std::vector<float>(49, 5.0f));
}

}  // namespace
}  // namespace fourfold::test
