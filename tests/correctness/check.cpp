#include "correctness/check.h"

#include <algorithm>
#include <cstdio>

#include "support/problems.h"
#include "support/random.h"
#include "support/refusals.h"

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
        EXPECT_FALSE(options.variant.empty() && must_do(options.algorithm, operands.problem)) << to_string(options) << " refuses '" << operands.problem.to_string() << "': " << status.message();
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

std::vector<Algorithm> algorithms_of(Operation operation) {
    if (operation == Operation::kUnfold || operation == Operation::kFold) {
        return {Algorithm::kNaive, Algorithm::kIm2col};
    }
    return {std::begin(kAlgorithms), std::end(kAlgorithms)};
}

void check_random_problems(const std::vector<Operation> &operations, double max_macs) {
    const int64_t cases = test_cases(200);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem forward = random_problem(random, max_macs);
        const Values values = random.chance(0.2) ? Values::kPositive : Values::kUniform;
        const Placement placement = kPlacements[random.between(0, 2)];
        const bool regions = random.chance(0.3);
        for (Operation operation : operations) {
            Operands operands(gradient_of(forward, operation), seed, values, placement, regions);
            const reference::Forward expected = operands.expected();
            for (Algorithm algorithm : algorithms_of(operation)) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.threads = static_cast<int>(random.between(1, 3));
                const std::vector<std::string> variants = runnable_variants(algorithm, operation);
                if (!variants.empty() && random.chance(0.7)) {
                    options.variant = variants[static_cast<size_t>(random.between(0, static_cast<int64_t>(variants.size()) - 1))];
                }
                RunOptions how;
                how.placement = placement;
                how.unpacked = random.chance(0.3);
                check(options, operands, expected, how);
            }
            check({}, operands, expected);
        }
    }
}

void check_tight_workspace(const std::vector<Operation> &operations) {
    const int64_t cases = std::max<int64_t>(1, test_cases(200) / 4);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem forward = random_problem(random, 1e6);
        for (Operation operation : operations) {
            Operands operands(gradient_of(forward, operation), seed);
            const reference::Forward expected = operands.expected();
            for (Algorithm algorithm : algorithms_of(operation)) {
                PlanOptions options;
                options.algorithm = algorithm;
                const Result<Plan> whole = Plan::create(operands.problem, options);
                if (!whole.ok() && may_refuse(algorithm)) {
                    continue;
                }
                ASSERT_TRUE(whole.ok()) << whole.status().message();
                options.workspace_limit = static_cast<size_t>(static_cast<double>(whole->workspace_bytes()) * random.uniform(0.1f, 1.0f));
                const Result<Plan> tight = Plan::create(operands.problem, options);
                if (!tight.ok()) {
                    EXPECT_EQ(tight.status().code(), StatusCode::kResourceExhausted) << tight.status().message();
                    continue;
                }
                EXPECT_LE(tight->workspace_bytes(), options.workspace_limit) << operands.to_string();
                check(options, operands, expected);
            }
        }
    }
}

}  // namespace fourfold::test
