// Problems drawn at random; a failure prints the seed that repeats it alone (with FOURFOLD_TEST_CASES=1).
#include <algorithm>

#include <gtest/gtest.h>

#include "correctness/check.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

TEST(RandomCases, EveryAlgorithm) {
    const int64_t cases = test_cases(200);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem p = random_problem(random, 2e6);
        const Values values = random.chance(0.2) ? Values::kPositive : Values::kUniform;
        const Placement placement = kPlacements[random.between(0, 2)];
        Operands operands(p, seed, values, placement, random.chance(0.3));
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            options.threads = static_cast<int>(random.between(1, 3));
            const std::vector<std::string> variants = runnable_variants(algorithm);
            if (!variants.empty() && random.chance(0.7)) {
                options.variant = variants[static_cast<size_t>(random.between(0, static_cast<int64_t>(variants.size()) - 1))];
            }
            RunOptions how;
            how.placement = placement;
            how.unpacked = random.chance(0.3);
            check(options, operands, expected, how);
        }
        PlanOptions chosen;
        check(chosen, operands, expected);
    }
}

TEST(RandomCases, TightWorkspace) {
    // Blocking must not change what is computed.
    const int64_t cases = std::max<int64_t>(1, test_cases(200) / 4);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem p = random_problem(random, 1e6);
        Operands operands(p, seed);
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            PlanOptions options;
            options.algorithm = algorithm;
            if (refuses(algorithm, p)) {
                continue;
            }
            const Result<Plan> whole = Plan::create(p, options);
            ASSERT_TRUE(whole.ok()) << whole.status().message();
            options.workspace_limit = static_cast<size_t>(static_cast<double>(whole->workspace_bytes()) * random.uniform(0.1f, 1.0f));
            const Result<Plan> tight = Plan::create(p, options);
            if (!tight.ok()) {
                EXPECT_EQ(tight.status().code(), StatusCode::kResourceExhausted) << tight.status().message();
                continue;
            }
            EXPECT_LE(tight->workspace_bytes(), options.workspace_limit) << operands.to_string();
            check(options, operands, expected);
        }
    }
}

}  // namespace
}  // namespace fourfold::test
