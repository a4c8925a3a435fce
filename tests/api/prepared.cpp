#include "api/prepared.h"

#include <stdexcept>

namespace fourfold::test {

Prepared prepare(const Conv2dProblem &problem, const PlanOptions &options, uint64_t seed) {
    Result<Plan> plan = Plan::create(problem, options);
    if (!plan.ok()) {
        throw std::runtime_error(problem.to_string() + ": " + plan.status().message());
    }
    Prepared prepared{*plan, Operands(problem, seed), AlignedBuffer(plan->packed_filter_bytes()), AlignedBuffer(plan->workspace_bytes_unpacked())};
    if (plan->packed_filter_bytes() > 0) {
        const Status status = plan->pack_filters(prepared.operands.filters.view(), prepared.packed, prepared.workspace);
        if (!status.ok()) {
            throw std::runtime_error(problem.to_string() + ": " + status.message());
        }
    }
    prepared.operands.clear_output();
    return prepared;
}

::testing::AssertionResult untouched(const Operands &operands) {
    const std::vector<float> y = operands.output.values();
    Array fresh(operands.output.sizes(), Placement::kGuardBytes, false);
    return same_bits(y, fresh.values()) ? ::testing::AssertionSuccess() : ::testing::AssertionFailure() << "the output was written";
}

void expect_refused(const Status &status, const Operands &operands) {
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.message();
    EXPECT_FALSE(status.message().empty());
    EXPECT_TRUE(untouched(operands));
}

}  // namespace fourfold::test
