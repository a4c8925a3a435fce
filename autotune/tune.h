// Tuning, as the verbs tune and measure do it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "fourfold/plan.h"
#include "shapes.h"

namespace fourfold::cli {

struct TuneFlags {
    std::vector<std::string> shapes, problems, operations, layouts;
    std::string out, budget, workspace_max, accuracy = "default", device = "cpu";
    int trials = 0, patience = 0, threads = 1;
    bool resume = false, verify_only = false, cold = false;
    double candidate_seconds = 60.0, hopeless = 3.0;
    uint64_t seed = 1;
};

/// How long and how hard candidates are searched, and with which data.
void add_search_flags(CLI::App &verb, TuneFlags &flags);
/// One of them; null for another name.
CLI::Option *search_option(CLI::App &verb, const std::string &name);
/// Those that were given, with their values. Errors: kInvalidArgument for a budget that is no time.
Result<std::map<std::string, std::string>> given_search_flags(CLI::App &verb, const TuneFlags &flags);

/// What plans the flags admit. Errors: kInvalidArgument.
Result<PlanOptions> tuning_options(const TuneFlags &flags);

/// Measures the shapes' candidates into the table flags.out. Errors: kUnsupported where the device is missing.
Status tune_shapes(const std::vector<Shape> &shapes, const TuneFlags &flags);

}  // namespace fourfold::cli
