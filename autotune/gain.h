// How soon a tune finds what it gains. Pure: samples and their times come from its journal.
#pragma once

#include <string>
#include <vector>

namespace fourfold::cli {

/// One tuned problem.
struct GainTrace {
    struct Sample {
        double at = 0.0;       ///< seconds since the tune began
        std::string choice;
        double seconds = 0.0;  ///< what the choice took
    };
    std::vector<Sample> samples;  ///< in the order in which they were taken, without those of choices that failed
    std::string winner, incumbent;  ///< of the whole tune, and before it; empty: not settled
};

/// The logarithm of how much faster all problems are for their winners, by the least samples of winner and incumbent, summed; a problem that
/// keeps its incumbent adds nothing.
double total_gain(const std::vector<GainTrace> &traces);

/// The share of it that had been found `at` seconds after the beginning: of each problem, by the best of the choices that had led until
/// then, as it measured in the end, and no more than the winner. 1 where there is no gain.
double gain_found(const std::vector<GainTrace> &traces, double at);

}  // namespace fourfold::cli
