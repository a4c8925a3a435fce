// Algorithms of GPUs against the reference: on CUDA where there is a GPU, and on OpenCL, which PoCL gives to every machine, with the
// same schedules.
#include <algorithm>
#include <limits>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

/// Bytes of the host on the device.
class Upload {
public:
    Upload(Device device, const void *data, size_t bytes)
        : memory_(std::move(*DeviceBuffer::allocate(device, bytes))) {
        if (bytes > 0) {
            EXPECT_TRUE(copy_to_device(device, memory_.data(), data, bytes).ok());
        }
    }
    float *floats() const {
        return memory_.floats();
    }
    const DeviceBuffer &memory() const {
        return memory_;
    }

private:
    DeviceBuffer memory_;
};

/// Runs the problem on the device and leaves the result in the operands' output.
Status run(Operands &operands, const PlanOptions &options) {
    const Device device = options.device;
    const Conv2dProblem &p = operands.problem;
    const Result<Plan> plan = Plan::create(p, options);
    if (!plan) {
        return plan.status();
    }
    // Arrays that are no regions of larger ones are dense in memory.
    const auto upload = [&](const Array &a) { return Upload(device, a.data(), static_cast<size_t>(a.elements()) * sizeof(float)); };
    const Upload x = upload(operands.input), w = upload(operands.filters), bias(device, operands.bias.data(), operands.bias.bytes());
    const std::vector<unsigned char> garbage(std::max(plan->workspace_bytes_unpacked(), plan->packed_filter_bytes()), 0xff);
    const Upload packed(device, garbage.data(), plan->packed_filter_bytes()), workspace(device, garbage.data(), plan->workspace_bytes_unpacked());
    const std::vector<float> nan(static_cast<size_t>(p.output_elements()), std::numeric_limits<float>::quiet_NaN());
    const Upload y(device, nan.data(), nan.size() * sizeof(float));
    Tensors t;
    t.input = x.floats();
    t.bias = bias.floats();
    t.output = y.floats();
    Upload residual(device, nullptr, 0);
    if (p.residual) {
        residual = upload(operands.residual);
        t.residual = residual.floats();
    }
    Status status = plan->pack_filters(w.floats(), packed.memory(), workspace.memory());
    if (!status.ok()) {
        return status;
    }
    t.filters = ConstMemoryBlock(packed.memory());
    status = plan->execute(t, workspace.memory());
    if (!status.ok()) {
        return status;
    }
    return copy_to_host(device, operands.output.data(), y.floats(), nan.size() * sizeof(float));
}

constexpr const char *kProblems[] = {
    "b2 ic3 i9x7 oc4 f3 p1",
    "b3 ic4 i13x12 oc6 f5 p2 relu",
    "b1 ic6 i17x16 oc4 f3 s2 p1 g2",
    "b2 ic4 i15x19 oc4 f3x2 s3x2 d2x3 p2,1,0,3 reflect residual",
    "b1 ic3 i8x10 oc5 f3 p1 circular conv",
    "b1 ic3 i7x11 oc5 f3x5 p1,2,2,1 circular",
    "b2 ic8 i12 oc8 f7 p3 g8 symmetric clamp:-1,1",
    "b1 ic2 i6x5 oc3 f5 d3 p7 constant:0.3",
    "b5 ic5 i10x9 oc9 f2 s2 replicate p1,0,0,1 nhwc residual",
    "b1 ic1 i1 oc1 f1",
    "b1 ic1 i40x64 oc1 f15 p7",
    "b1 ic2 i3x50 oc2 f1x31 s1x2",
    "b3 ic19 i14x15 oc33 f3 p1 relu",
    "b2 ic6 i11x23 oc20 f3 p0,2,1,0 g2 conv residual",
    "b1 ic3 i9x9 oc5 f3 p1 constant:-0.5 nhwc",
};

class DeviceAlgorithms : public ::testing::TestWithParam<std::tuple<Device::Kind, Algorithm>> {
protected:
    const Device device_ = std::get<0>(GetParam());
    const Algorithm algorithm_ = std::get<1>(GetParam());

    void SetUp() override {
        const Result<DeviceInfo> info = device_info(device_);
        if (!info) {
            GTEST_SKIP() << info.status().message();
        }
    }
};

TEST_P(DeviceAlgorithms, EqualTheReference) {
    int done = 0;
    for (const char *text : kProblems) {
        const Result<Conv2dProblem> problem = Conv2dProblem::parse(text);
        ASSERT_TRUE(problem.ok()) << problem.status().message();
        Operands operands(*problem, 7);
        PlanOptions options;
        options.algorithm = algorithm_;
        options.device = device_;
        const Status status = run(operands, options);
        if (may_refuse(algorithm_) && status.code() == StatusCode::kUnsupported) {
            continue;
        }
        ASSERT_TRUE(status.ok()) << text << ": " << status.message();
        EXPECT_TRUE(matches(operands, operands.expected(), error_limit(algorithm_))) << text;
        done++;
    }
    EXPECT_GT(done, 0);
}

TEST_P(DeviceAlgorithms, ChoiceMakesTheSamePlanAgain) {
    const Conv2dProblem problem = *Conv2dProblem::parse("b2 ic4 i12x14 oc6 f3 p1");
    PlanOptions options;
    options.algorithm = algorithm_;
    options.device = device_;
    const Result<Plan> plan = Plan::create(problem, options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    options.algorithm = Algorithm::kAuto;
    options.choice = plan->choice();
    const Result<Plan> again = Plan::create(problem, options);
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(again->choice(), plan->choice());
}

TEST_P(DeviceAlgorithms, InBlocksWithinALimit) {
    const Conv2dProblem problem = *Conv2dProblem::parse("b4 ic4 i12x14 oc6 f3 p1 g2 symmetric");
    PlanOptions options;
    options.algorithm = algorithm_;
    options.device = device_;
    const Result<Plan> whole = Plan::create(problem, options);
    if (!whole && may_refuse(algorithm_)) {
        GTEST_SKIP() << whole.status().message();
    }
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    options.workspace_limit = whole->workspace_bytes() / 4;
    Operands operands(problem, 3);
    const Status status = run(operands, options);
    if (status.code() != StatusCode::kResourceExhausted) {
        EXPECT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(matches(operands, operands.expected(), error_limit(algorithm_)));
    }
    options.workspace_limit = 16;
    if (whole->workspace_bytes() > 0) {
        EXPECT_EQ(Plan::create(problem, options).status().code(), StatusCode::kResourceExhausted);
    }
}

INSTANTIATE_TEST_SUITE_P(Algorithms, DeviceAlgorithms, ::testing::Combine(::testing::Values(Device::kCuda, Device::kOpenCl), ::testing::Values(Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd)),
                         [](const auto &info) { return to_string(Device(std::get<0>(info.param))) + "_" + to_string(std::get<1>(info.param)); });

}  // namespace
}  // namespace fourfold::test
