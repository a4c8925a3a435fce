// fourfold explain: why this plan and no other.
#include <memory>

#include <fmt/format.h>

#include "commands.h"
#include "shapes.h"
#include "spectral.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

Status explain_problem(const std::string &text, const PlanFlags &flags, bool include_packing) {
    Result<PlanOptions> options = to_plan_options(flags, true);
    if (!options) {
        return options.status();
    }
    options->packs_each_time = include_packing;
    const Result<Conv2dProblem> problem = parse_valid_problem(text);
    if (!problem) {
        return problem.status();
    }
    const Result<std::vector<Candidate>> candidates = explain(*problem, *options);
    if (!candidates) {
        return plan_failure(candidates.status(), Algorithm::kAuto);
    }
    fmt::print("{}\n{:.3g} GFLOP, output {}x{}\n\n", problem->to_string(), problem->flops() / 1e9, problem->out_height(), problem->out_width());
    const Table table({{"", 1}, {"algorithm", 9, true}, {"predicted ms", 12}, {"expected ms", 11}, {"workspace", 9}, {"packed", 9}, {"variant", 28, true}, {"reason", 0, true}});
    fmt::print("{}", table.header());
    for (const Candidate &c : *candidates) {
        if (c.supported) {
            fmt::print("{}", table.row({c.chosen ? "*" : "", to_string(c.algorithm), milliseconds_text(c.predicted_seconds), milliseconds_text(c.corrected_seconds), bytes_text(c.workspace_bytes),
                                        bytes_text(c.packed_filter_bytes), c.variant, c.reason}));
        } else {
            fmt::print("{}", table.row({"", to_string(c.algorithm), "-", "-", "-", "-", "-", "no: " + c.reason}));
        }
    }
    fmt::print("expected: on one thread, the prediction corrected by measurements{}\n", include_packing ? ", with the packing of filters" : "");
    const Result<Plan> plan = Plan::create(*problem, *options);
    if (!plan) {
        return plan_failure(plan.status(), Algorithm::kAuto);
    }
    fmt::print("\n* is the choice:\n{}\n", trim(plan->describe()));
    return {};
}

}  // namespace

Action add_explain(CLI::App &verb) {
    struct Flags {
        std::string problem;
        PlanFlags plan;
        bool include_packing = false;
    };
    auto flags = std::make_shared<Flags>();
    verb.add_option("--problem", flags->problem, "the one-line form, e.g. \"b8 ic64 i56 oc64 f3 p1\" ('_' may stand for a blank)")->required();
    add_plan_flags(verb, flags->plan);
    verb.add_flag("--include-packing", flags->include_packing, "for filters that come unpacked with every execution, as training has them");
    return [flags] { return is_spectral(flags->problem) ? explain_spectral(flags->problem, flags->plan) : explain_problem(flags->problem, flags->plan, flags->include_packing); };
}

}  // namespace fourfold::cli
