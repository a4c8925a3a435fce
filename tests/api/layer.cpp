// Conv2dLayer: the results of plans, with memory of its own; sizes at run time and in the type.
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

TEST(Layer, ComputesWhatItsPlanDoes) {
    for (const char *text : {"b2 ic8 i12 oc16 f3 p1 relu", "b1 ic8 i12 oc8 f3 p1 g8 residual", "b1 ic6 i13x9 oc4 f3 s2 p1 nhwc", "bwd-data b2 ic4 i12 oc8 f4 s2 p1"}) {
        Operands operands(parse_problem(text), 3);
        const Tensors tensors = operands.tensors();
        const bool forward = operands.problem.operation == Operation::kForward;
        Result<Conv2dLayer> layer = Conv2dLayer::create(operands.problem, tensors.filters.view, tensors.bias);
        ASSERT_TRUE(layer.ok()) << text << ": " << layer.status().message();
        EXPECT_FALSE(layer->separable()) << text;
        // Twice, and after a move: nothing of a run is left behind.
        Conv2dLayer moved = std::move(*layer);
        for (int i = 0; i < 2; i++) {
            operands.clear_output();
            const Status status = moved.run(forward ? tensors.input : tensors.grad_output, operands.output.mutable_view(), tensors.residual);
            ASSERT_TRUE(status.ok()) << text << ": " << status.message();
            EXPECT_TRUE(matches(operands, operands.expected(), 2e-5)) << text;
        }
        EXPECT_FALSE(layer->run(tensors.input, operands.output.mutable_view()).ok()) << "moved from";
    }
}

TEST(Layer, TakesRankOneFiltersAsTwoPassesWhenFaster) {
    Operands operands(parse_problem("b1 ic1 i300x400 oc1 f9 p4 symmetric"), 3);
    operands.filters.fill(1.0f / 81);
    const Tensors tensors = operands.tensors();
    Result<Conv2dLayer> layer = Conv2dLayer::create(operands.problem, tensors.filters.view, tensors.bias);
    ASSERT_TRUE(layer.ok()) << layer.status().message();
    if (kSanitized && !layer->separable()) {
        GTEST_SKIP() << "with the variants left two passes are predicted no faster";
    }
    EXPECT_TRUE(layer->separable()) << layer->describe();
    const Result<Plan> plan = Plan::create(operands.problem);
    ASSERT_TRUE(plan.ok());
    EXPECT_LT(layer->predicted_seconds(), plan->predicted_seconds());
    ASSERT_TRUE(layer->run(tensors.input, operands.output.mutable_view()).ok());
    EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
    // Not when an algorithm is named, and not for a filter of higher rank.
    PlanOptions named;
    named.algorithm = Algorithm::kIm2col;
    EXPECT_FALSE(Conv2dLayer::create(operands.problem, tensors.filters.view, tensors.bias, named)->separable());
    PlanOptions barred;
    barred.blocked = {"direct"};
    EXPECT_FALSE(Conv2dLayer::create(operands.problem, tensors.filters.view, tensors.bias, barred)->separable());
    operands.filters(0, 0, 3, 3) = 0.0f;
    EXPECT_FALSE(Conv2dLayer::create(operands.problem, tensors.filters.view, tensors.bias)->separable());
}

/// Two passes and one differ in their last bits.
TEST(Layer, ChoosesTheSameForAnyNumberOfThreads) {
    int passes[2] = {};
    for (const char *text : {"b1 ic1 i64 oc1 f%1 p%2", "b1 ic1 i256 oc1 f%1 p%2 reflect", "b2 ic3 i100x400 oc3 f%1 p%2 g3", "b1 ic2 i200 oc2 f%1 p%2 g2 nhwc"}) {
        for (int f : {3, 5, 7, 9, 11, 13, 15}) {
            std::string problem = text;
            problem.replace(problem.find("%1"), 2, std::to_string(f));
            problem.replace(problem.find("%2"), 2, std::to_string(f / 2));
            const Conv2dProblem p = parse_problem(problem);
            const std::vector<float> filters(static_cast<size_t>(p.filter_elements()), 1.0f / static_cast<float>(f * f));
            PlanOptions options;
            options.threads = 1;
            const Result<Conv2dLayer> one = Conv2dLayer::create(p, filters.data(), nullptr, options);
            ASSERT_TRUE(one.ok()) << one.status().message();
            passes[one->separable()]++;
            for (int threads : {2, 7, 64}) {
                options.threads = threads;
                const Result<Conv2dLayer> layer = Conv2dLayer::create(p, filters.data(), nullptr, options);
                ASSERT_TRUE(layer.ok()) << layer.status().message();
                EXPECT_EQ(layer->separable(), one->separable()) << problem << " on " << threads << " threads";
            }
        }
    }
    EXPECT_TRUE(kSanitized || (passes[0] > 0 && passes[1] > 0));
}

TEST(Layer, RefusesWithAReason) {
    const std::vector<float> w(9, 1.0f);
    EXPECT_EQ(Conv2dLayer::create(parse_problem("b1 ic1 i9 oc1 f3"), nullptr).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(Conv2dLayer::create(parse_problem("unfold b1 ic1 i9 oc1 f3"), w.data()).status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(Conv2dLayer::create(*Conv2dProblem::parse("b1 ic1 i2 oc1 f3"), w.data()).status().code(), StatusCode::kInvalidArgument);
    Result<Conv2dLayer> layer = Conv2dLayer::create(parse_problem("b1 ic1 i9 oc1 f3"), w.data());
    ASSERT_TRUE(layer.ok());
    std::vector<float> y(49);
    EXPECT_EQ(layer->run(nullptr, y.data()).code(), StatusCode::kInvalidArgument);
}

TEST(SizedLayer, SizesAreOfTheType) {
    using First = SizedConv2dLayer<1, 2, 9, 8, 4, 3, 3, 2, 1>;
    using Second = SizedConv2dLayer<1, 4, 5, 4, 4, 3, 3, 1, 1, 1, 4>;
    static_assert(First::kProblem.out_height() == 5 && First::kProblem.out_width() == 4);
    static_assert(First::Input::kElements == 2 * 9 * 8 && First::Filters::kElements == 4 * 2 * 9 && First::Output::kElements == 4 * 5 * 4);
    static_assert(Second::Filters::kElements == 4 * 9, "depthwise");
    const std::vector<float> x(First::Input::kElements, 1.0f), w(First::Filters::kElements, 0.5f);
    std::vector<float> y(First::Output::kElements), z(Second::Output::kElements);
    const std::vector<float> bias(4, -8.0f);
    Result<First> first = First::create(First::Filters(w.data()), bias.data(), PostOp::kRelu);
    Result<Second> second = Second::create(Second::Filters(w.data()));
    ASSERT_TRUE(first.ok() && second.ok());
    ASSERT_TRUE(first->run(First::Input(x.data()), First::Output(y.data())).ok());
    ASSERT_TRUE(second->run(Second::Input(y.data()), Second::Output(z.data())).ok());
    EXPECT_FLOAT_EQ(y[5], 1.0f);  // 2 channels x 9 taps x 0.5 - 8
    EXPECT_FLOAT_EQ(y[0], 0.0f);  // at a corner 4 taps: below zero
    EXPECT_FLOAT_EQ(z[5], 2.0f);  // four inner pixels of y, the others under it are 0
    EXPECT_TRUE(second->layer().problem() == Second::kProblem);
    // It would have no bounds.
    EXPECT_EQ(First::create(First::Filters(w.data()), nullptr, PostOp::kClamp).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace fourfold::test
