// PyTorch's results, computed in double: the library must give them, and so must the reference that all other tests trust.
#include <algorithm>
#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "golden/golden_cases.h"
#include "support/npy.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

std::string case_name(const ::testing::TestParamInfo<GoldenCase> &info) {
    return info.param.name;
}

class Golden : public ::testing::TestWithParam<GoldenCase> {
protected:
    /// Operands with PyTorch's data in them.
    static Operands load(const Conv2dProblem &problem) {
        Operands operands(problem, 0, Values::kUniform, Placement::kPageAfter);
        operands.input.assign(read_npy(GetParam().path("input")).values);
        operands.filters.assign(read_npy(GetParam().path("filters")).values);
        const std::vector<float> bias = read_npy(GetParam().path("bias")).values;
        std::memcpy(operands.bias.data(), bias.data(), operands.bias.bytes());
        return operands;
    }

    /// PyTorch's output with the scale of the reference.
    static reference::Forward pytorch(const reference::Forward &reference) {
        reference::Forward expected = reference;
        const std::vector<float> y = read_npy(GetParam().path("output")).values;
        expected.y.assign(y.begin(), y.end());
        return expected;
    }
};

TEST_P(Golden, ShapesAreTheirs) {
    const Conv2dProblem &p = GetParam().problem;
    ASSERT_EQ(p.error(), nullptr);
    const std::vector<int64_t> shape = {p.batch, p.out_channels, p.out_height(), p.out_width()};
    EXPECT_EQ(read_npy(GetParam().path("output")).shape, shape);
    const std::vector<int64_t> filters = {p.out_channels, p.in_channels / p.groups, p.filter_height, p.filter_width};
    EXPECT_EQ(read_npy(GetParam().path("filters")).shape, filters);
}

TEST_P(Golden, ReferenceAgrees) {
    const reference::Forward reference = load(GetParam().problem).expected();
    const reference::Forward expected = pytorch(reference);
    ASSERT_EQ(reference.y.size(), expected.y.size());
    double worst = 0.0;
    for (size_t i = 0; i < reference.y.size(); i++) {
        worst = std::max(worst, std::fabs(reference.y[i] - expected.y[i]));
    }
    // Half a unit in the last place of the float32 that the files hold.
    EXPECT_LE(worst / expected.scale, 6e-8);
}

TEST_P(Golden, Forward) {
    Operands operands = load(GetParam().problem);
    const reference::Forward expected = pytorch(operands.expected());
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        for (bool unpacked : {false, true}) {
            PlanOptions options;
            options.algorithm = algorithm;
            RunOptions how;
            how.unpacked = unpacked;
            const Status status = run_plan(options, operands, how);
            if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
                continue;
            }
            ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
            EXPECT_TRUE(matches(operands, expected, algorithm == Algorithm::kWinograd ? error_limit(algorithm) : std::min(error_limit(algorithm), 2e-6))) << to_string(algorithm);
        }
    }
}

TEST_P(Golden, FlippedFiltersInConvolutionMode) {
    Conv2dProblem problem = GetParam().problem;
    problem.filter_mode = FilterMode::kConvolution;
    Operands operands = load(problem);
    const reference::Forward expected = pytorch(load(GetParam().problem).expected());
    const Array straight = load(problem).filters;
    for (int64_t k = 0; k < straight.sizes()[0]; k++) {
        for (int64_t c = 0; c < straight.sizes()[1]; c++) {
            for (int64_t r = 0; r < problem.filter_height; r++) {
                for (int64_t s = 0; s < problem.filter_width; s++) {
                    operands.filters(k, c, r, s) = straight(k, c, problem.filter_height - 1 - r, problem.filter_width - 1 - s);
                }
            }
        }
    }
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Status status = run_plan(options, operands);
        if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
            continue;
        }
        ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
        EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(algorithm);
    }
}

TEST_P(Golden, Gradients) {
    const std::vector<float> x = read_npy(GetParam().path("input")).values, w = read_npy(GetParam().path("filters")).values, gy = read_npy(GetParam().path("grad_output")).values;
    for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
        const bool data = operation == Operation::kBackwardData;
        Operands operands(gradient_of(GetParam().problem, operation), 0, Values::kUniform, Placement::kPageAfter);
        operands.grad_output.assign(gy);
        (data ? operands.filters : operands.input).assign(data ? w : x);
        if (data) {
            std::memset(operands.bias.data(), 0, operands.bias.bytes());
        }
        reference::Forward expected = operands.expected();
        const std::vector<float> gradient = read_npy(GetParam().path(data ? "grad_input" : "grad_filters")).values;
        ASSERT_EQ(gradient.size(), expected.y.size());
        for (size_t i = 0; i < gradient.size(); i++) {
            ASSERT_NEAR(expected.y[i], gradient[i], 6e-8 * expected.scale);
        }
        expected.y.assign(gradient.begin(), gradient.end());
        for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled}) {
            PlanOptions options;
            options.algorithm = algorithm;
            const Status status = run_plan(options, operands);
            if (may_refuse(algorithm) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
                continue;
            }
            ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
            EXPECT_TRUE(matches(operands, expected, std::min(error_limit(algorithm), 2e-6))) << to_string(algorithm);
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
