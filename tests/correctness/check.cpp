#include "correctness/check.h"

#include <cstdio>

namespace fourfold::test {

namespace {

/// The last line of the run says how many runs there were, so that a test that silently does nothing shows.
class Summary : public ::testing::Environment {
public:
    void TearDown() override {
        std::printf("%ld runs compared, %ld refused; isa %s\n", compared, refused, machine().isa.c_str());
    }
    long compared = 0, refused = 0;
};

Summary *const summary = static_cast<Summary *>(::testing::AddGlobalTestEnvironment(new Summary));

}  // namespace

std::string to_string(const PlanOptions &options) {
    return std::string(to_string(options.algorithm)) + (options.variant.empty() ? "" : " " + options.variant) + " threads " +
           std::to_string(options.threads) + (options.fft_backend == FftBackend::kAuto ? "" : std::string(" ") + to_string(options.fft_backend));
}

bool check(const PlanOptions &options, Operands &operands, const reference::Forward &expected, const RunOptions &how) {
    const Status status = run_plan(options, operands, how);
    if (status.code() == StatusCode::kUnsupported) {
        summary->refused++;
        if (may_refuse(options.algorithm) && !status.message().empty()) {
            return true;
        }
        std::printf("refused: %s, '%s': %s\n", to_string(options).c_str(), operands.problem.to_string().c_str(), status.message().c_str());
    }
    if (!status.ok()) {
        ADD_FAILURE() << to_string(options) << (how.unpacked ? " unpacked" : "") << ", " << operands.to_string() << ": " << status.message();
        return false;
    }
    summary->compared++;
    ::testing::AssertionResult result = matches(operands, expected, error_limit(options.algorithm));
    if (result && operands.problem.operation == Operation::kBackwardFilters) {
        result = operands.bias_matches(1e-6);
    }
    EXPECT_TRUE(result) << to_string(options) << (how.unpacked ? " unpacked" : "");
    return static_cast<bool>(result);
}

}  // namespace fourfold::test
