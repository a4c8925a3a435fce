// Shared by the correctness tests: one run against the reference, refusals counted.
#pragma once

#include "support/run_plan.h"

namespace fourfold::test {

/// "direct conv_direct_avx2_m4_n3 threads 2".
std::string to_string(const PlanOptions &options);

/// Runs and compares; a refusal with kUnsupported is printed, counted, and a failure. Returns whether all went well.
bool check(const PlanOptions &options, Operands &operands, const reference::Forward &expected, const RunOptions &how = {});

}  // namespace fourfold::test
