// The device that a run of the device tests is for: the environment's FOURFOLD_TEST_DEVICE, "opencl" or "cuda".
#pragma once

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/run_plan.h"

namespace fourfold::test {

inline Device test_device() {
    const char *name = std::getenv("FOURFOLD_TEST_DEVICE");
    const Result<Device> device = parse_device(name != nullptr ? name : "opencl");
    return device ? *device : Device::opencl();
}

/// Tests that need the device skip, with the reason, where it is not.
class DeviceTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (const Result<DeviceInfo> info = device_info(test_device()); !info) {
            GTEST_SKIP() << "skipped: " << info.status().message();
        }
    }
    static PlanOptions options(Algorithm algorithm = Algorithm::kAuto) {
        PlanOptions o;
        o.device = test_device();
        o.algorithm = algorithm;
        return o;
    }
};

/// Algorithms of GPUs whose sums of bwd-filters are made in parts.
inline constexpr Algorithm kDeviceAlgorithms[] = {Algorithm::kDirect, Algorithm::kIm2col};
/// All of them.
inline constexpr Algorithm kAllDeviceAlgorithms[] = {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd};

/// Whether it may refuse such an operation: columns are im2col's alone.
inline bool may_refuse(Algorithm algorithm, Operation operation) {
    const bool columns = operation == Operation::kUnfold || operation == Operation::kFold;
    return may_refuse(algorithm) || (columns && algorithm != Algorithm::kIm2col);
}

}  // namespace fourfold::test
