// The verbs of the `fourfold` command. Each adds its options to its subcommand and returns what to do once they are parsed.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "fourfold/plan.h"
#include "fourfold/status.h"

namespace fourfold::cli {

using Action = std::function<Status()>;

Action add_run(CLI::App &verb);
Action add_bench(CLI::App &verb);
Action add_compare(CLI::App &verb);
Action add_explain(CLI::App &verb);
Action add_generate(CLI::App &verb);
Action add_list(CLI::App &verb);
Action add_measure(CLI::App &verb);
Action add_spectral(CLI::App &verb);
Action add_tune(CLI::App &verb);
Action add_tables(CLI::App &verb);
Action add_report(CLI::App &verb);
Action add_candidate(CLI::App &verb);
Action add_search(CLI::App &verb);

/// Options that several verbs share.
struct PlanFlags {
    std::string device = "cpu";
    int threads = 0;
    std::string workspace_limit;
    std::string accuracy = "default";
};
void add_plan_flags(CLI::App &verb, PlanFlags &flags);
Result<PlanOptions> to_plan_options(const PlanFlags &flags, bool devices = false);  ///< `devices`: the verb runs on GPUs too

/// 0 ok; 2 for bad usage or bad input; 3 when the named algorithm or device cannot do a valid problem; 1 otherwise.
int exit_code(const Status &status);

/// A failure to make a plan, as the exit code has to see it: running out of a limit is the named algorithm's inability
/// only when one was named.
Status plan_failure(const Status &status, Algorithm asked);

}  // namespace fourfold::cli
