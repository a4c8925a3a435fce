// The few variants that serve measured problems nearly as well as all of them. Pure: nothing here knows what a variant is.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace fourfold::cli {

/// What was measured of one problem.
struct CoverProblem {
    struct Choice {
        std::vector<std::string> variants;  ///< all that it needs
        double efficiency = 0.0;            ///< the problem's best time over its own
    };
    std::vector<Choice> choices;  ///< at least one of efficiency 1
};

/// What one more choice buys.
struct CoverStep {
    size_t problem = 0, choice = 0;     ///< who needed it
    std::vector<std::string> added;     ///< variants
    size_t variants = 0;                ///< so far
    double geomean = 0.0, worst = 0.0;  ///< efficiency with these variants; a problem that none of them can do counts as 0.05
    size_t within = 0;                  ///< problems served at `goal` or better
};

/// Greedily, the choice with the most gain for each new variant first, until every problem has efficiency `goal` or better.
/// Efficiency beyond the goal buys nothing.
std::vector<CoverStep> cover(const std::vector<CoverProblem> &problems, double goal);

/// How many variants buy how much: the lines of a CSV under kCurveHeader, of the stage ("all" where they are of several) and target. A loss is 1 -
/// efficiency.
std::string curve_lines(const std::string &stage, const std::string &target, const std::vector<CoverStep> &steps, size_t problems, double goal);
constexpr const char *kCurveHeader = "stage,target,variants,geomean_loss,worst_loss,within_goal,problems,goal_loss,added\n";

}  // namespace fourfold::cli
