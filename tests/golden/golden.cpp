// PyTorch's results, computed in double: the library must give them, and so must the reference that all other tests trust.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "golden/golden_cases.h"
#include "support/npy.h"
#include "support/problems.h"
#include "support/refusals.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

std::string case_name(const ::testing::TestParamInfo<GoldenCase> &info) {
    return info.param.name;
}

class Golden : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(Golden, ShapesAreTheirs) {
    const Conv2dProblem &p = GetParam().problem;
    ASSERT_EQ(p.error(), nullptr);
    const std::vector<int64_t> shape = {p.batch, p.out_channels, p.out_height(), p.out_width()};
    EXPECT_EQ(read_npy(GetParam().path("output")).shape, shape);
    const std::vector<int64_t> filters = {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
    EXPECT_EQ(read_npy(GetParam().path("filters")).shape, filters);
}

TEST_P(Golden, ReferenceAgrees) {
    const reference::Forward reference = golden_operands(GetParam(), GetParam().problem).expected();
    const reference::Forward expected = golden_result(GetParam(), reference, Operation::kForward);
    ASSERT_EQ(reference.y.size(), expected.y.size());
    double worst = 0.0;
    for (size_t i = 0; i < reference.y.size(); i++) {
        worst = std::max(worst, std::fabs(reference.y[i] - expected.y[i]));
    }
    // Half a unit in the last place of the float32 that the files hold.
    EXPECT_LE(worst / expected.scale, 6e-8);
}

TEST_P(Golden, Forward) {
    Operands operands = golden_operands(GetParam(), GetParam().problem);
    const reference::Forward expected = golden_result(GetParam(), operands.expected(), Operation::kForward);
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        for (bool unpacked : {false, true}) {
            PlanOptions options;
            options.algorithm = algorithm;
            RunOptions how;
            how.unpacked = unpacked;
            const Status status = run_plan(options, operands, how);
            if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
                EXPECT_FALSE(must_do(algorithm, operands.problem)) << to_string(algorithm) << ": " << status.message();
                continue;
            }
            ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
            EXPECT_TRUE(matches(operands, expected, algorithm == Algorithm::kWinograd ? error_limit(algorithm) : std::min(error_limit(algorithm), 2e-6))) << to_string(algorithm);
        }
    }
}

TEST_P(Golden, FlippedFiltersInConvolutionMode) {
    Operands operands = golden_flipped(GetParam());
    const reference::Forward expected = golden_result(GetParam(), operands.expected(), Operation::kForward);
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Status status = run_plan(options, operands);
        if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
            EXPECT_FALSE(must_do(algorithm, operands.problem)) << to_string(algorithm) << ": " << status.message();
            continue;
        }
        ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
        EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(algorithm);
    }
}

TEST_P(Golden, Gradients) {
    for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
        const bool data = operation == Operation::kBackwardData;
        Operands operands = golden_operands(GetParam(), gradient_of(GetParam().problem, operation));
        const reference::Forward reference = operands.expected(), expected = golden_result(GetParam(), reference, operation);
        ASSERT_EQ(reference.y.size(), expected.y.size());
        for (size_t i = 0; i < reference.y.size(); i++) {
            ASSERT_NEAR(expected.y[i], reference.y[i], 6e-8 * expected.scale);
        }
        for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            PlanOptions options;
            options.algorithm = algorithm;
            const Status status = run_plan(options, operands);
            if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
                EXPECT_FALSE(must_do(algorithm, operands.problem)) << to_string(algorithm) << ": " << status.message();
                continue;
            }
            ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
            EXPECT_TRUE(matches(operands, expected, algorithm == Algorithm::kWinograd ? error_limit(algorithm) : std::min(error_limit(algorithm), 2e-6))) << to_string(algorithm);
            if (!data) {
                const std::vector<float> bias = read_npy(GetParam().path("grad_bias")).values;
                for (size_t k = 0; k < bias.size(); k++) {
                    EXPECT_NEAR(reinterpret_cast<const float *>(operands.bias.data())[k], bias[k], 1e-6 * expected.scale) << to_string(algorithm);
                }
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, Golden, ::testing::ValuesIn(golden_cases()), case_name);

}  // namespace
}  // namespace fourfold::test
