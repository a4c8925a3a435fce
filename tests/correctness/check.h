// Shared by the correctness tests: one run against the reference, refusals counted.
#pragma once

#include <vector>

#include "support/run_plan.h"

namespace fourfold::test {

/// "direct conv_direct_avx2_m4_n3 threads 2".
std::string to_string(const PlanOptions &options);

/// Runs and compares; a refusal with kUnsupported is printed, counted, and a failure. Returns whether all went well.
bool check(const PlanOptions &options, Operands &operands, const reference::Forward &expected, const RunOptions &how = {});

/// Those that have the operation.
std::vector<Algorithm> algorithms_of(Operation operation);

/// Random problems of each operation, by every algorithm in random variants and by auto. A failure prints the seed that repeats
/// it alone (with FOURFOLD_TEST_CASES=1).
void check_random_problems(const std::vector<Operation> &operations, double max_macs);
/// The same with less workspace than the plan would like: blocking must not change what is computed.
void check_tight_workspace(const std::vector<Operation> &operations);

}  // namespace fourfold::test
