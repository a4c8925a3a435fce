// A plan with its buffers, ready to execute: what most API tests start from.
#pragma once

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/run_plan.h"

namespace fourfold::test {

struct Prepared {
    Plan plan;
    Operands operands;
    AlignedBuffer packed, workspace;

    /// The operands with packed filters.
    Tensors tensors() const {
        Tensors t = operands.tensors();
        if (packed.data() != nullptr) {
            t.filters = packed;
        }
        return t;
    }
};

/// Throws std::runtime_error when the plan cannot be made, since the test itself then makes no sense.
Prepared prepare(const Conv2dProblem &problem, const PlanOptions &options, uint64_t seed);

/// Every output element still the NaN that clear_output() put there.
::testing::AssertionResult untouched(const Operands &operands);

/// Expects kInvalidArgument, a sentence, and an output that nobody has written.
void expect_refused(const Status &status, const Operands &operands);

}  // namespace fourfold::test
