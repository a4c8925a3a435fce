// The few variants that cover measured problems.
#include "cover.h"

#include <cmath>

#include <gtest/gtest.h>

namespace fourfold::test {
namespace {

using namespace fourfold::cli;
using Names = std::vector<std::string>;

TEST(Cover, TakesWhatServesMostFirstAndStopsAtTheGoal) {
    // "a" is best for two problems and good enough for the third; "c" is never needed.
    const std::vector<CoverProblem> problems = {{{{{"a"}, 1.0}, {{"b"}, 0.5}}}, {{{{"a"}, 1.0}}}, {{{{"c"}, 1.0}, {{"a"}, 0.98}}}, {{{{"b"}, 1.0}, {{"a"}, 0.8}}}};
    const std::vector<CoverStep> steps = cover(problems, 0.97);
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps[0].added, Names({"a"}));
    EXPECT_EQ(steps[0].within, 3u);
    EXPECT_DOUBLE_EQ(steps[0].worst, 0.8);
    EXPECT_EQ(steps[1].added, Names({"b"}));
    EXPECT_EQ(steps[1].variants, 2u);
    EXPECT_EQ(steps[1].within, 4u);
    EXPECT_NEAR(steps[1].geomean, std::pow(0.98, 0.25), 1e-12);
    EXPECT_EQ(cover(problems, 1.0).back().variants, 3u) << "nothing may be lost";
}

TEST(Cover, CountsNewVariantsOnly) {
    // With "t" and "p" there, "q" alone completes the second problem's choice; its other choice needs two.
    const std::vector<CoverProblem> problems = {{{{{"t", "p"}, 1.0}}}, {{{{"t", "q"}, 1.0}, {{"u", "v"}, 1.0}}}};
    const std::vector<CoverStep> steps = cover(problems, 0.97);
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_EQ(steps.back().variants, 3u);
    EXPECT_EQ(steps.back().geomean, 1.0);
}

TEST(Cover, IsWrittenAsACurve) {
    const std::vector<CoverProblem> problems = {{{{{"a"}, 1.0}, {{"b"}, 0.5}}}, {{{{"b"}, 1.0}, {{"a"}, 0.8}}}};
    EXPECT_EQ(std::string(kCurveHeader) + curve_lines("gemm", "avx2", cover(problems, 0.97), 2, 0.97),
              "stage,target,variants,geomean_loss,worst_loss,within_goal,problems,goal_loss,added\n"
              "gemm,avx2,1,0.1056,0.2000,1,2,0.0300,a\n"
              "gemm,avx2,2,0.0000,0.0000,2,2,0.0300,b\n");
    EXPECT_EQ(curve_lines("gemm", "avx2", {}, 0, 0.97), "");
}

TEST(Cover, AChoiceMayNeedNoVariant) {
    const std::vector<CoverProblem> problems = {{{{{}, 1.0}}}, {{{{"a"}, 1.0}}}};
    EXPECT_EQ(cover(problems, 0.97).back().variants, 1u);
    EXPECT_TRUE(cover({}, 0.97).empty());
}

}  // namespace
}  // namespace fourfold::test
