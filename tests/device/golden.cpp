// PyTorch's results, computed in double, by every algorithm of a GPU.
#include <algorithm>
#include <map>

#include "device/device_test.h"
#include "golden/golden_cases.h"
#include "support/problems.h"

namespace fourfold::test {
namespace {

class DeviceGolden : public DeviceTest {
protected:
    /// By every algorithm, and by the one that is chosen.
    void expect_result(Operands &operands, const reference::Forward &expected) {
        for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            const Status status = run_plan(options(algorithm), operands);
            if (may_refuse(algorithm, operands.problem.operation) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
                continue;
            }
            ASSERT_TRUE(status.ok()) << to_string(algorithm) << ": " << status.message();
            EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(algorithm);
            done_[algorithm]++;
        }
    }
    std::map<Algorithm, int> done_;
};

TEST_F(DeviceGolden, Forward) {
    for (const GoldenCase &c : golden_cases()) {
        SCOPED_TRACE(c.name);
        Operands operands = golden_operands(c, c.problem);
        expect_result(operands, golden_result(c, operands.expected(), Operation::kForward));
        Operands flipped = golden_flipped(c);
        expect_result(flipped, golden_result(c, flipped.expected(), Operation::kForward));
    }
    for (Algorithm algorithm : kAllDeviceAlgorithms) {
        EXPECT_GT(done_[algorithm], 0) << to_string(algorithm);
    }
}

TEST_F(DeviceGolden, Gradients) {
    for (const GoldenCase &c : golden_cases()) {
        SCOPED_TRACE(c.name);
        for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
            Operands operands = golden_operands(c, gradient_of(c.problem, operation));
            expect_result(operands, golden_result(c, operands.expected(), operation));
        }
    }
    for (Algorithm algorithm : kAllDeviceAlgorithms) {
        EXPECT_GT(done_[algorithm], 0) << to_string(algorithm);
    }
}

}  // namespace
}  // namespace fourfold::test
