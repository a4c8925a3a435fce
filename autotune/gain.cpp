#include "gain.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

namespace fourfold::cli {
namespace {

using Least = std::map<std::string, double>;  ///< seconds, by choice

Least least_of(const GainTrace &trace) {
    Least least;
    for (const GainTrace::Sample &s : trace.samples) {
        const auto [place, fresh] = least.emplace(s.choice, s.seconds);
        place->second = std::min(place->second, s.seconds);
    }
    return least;
}

/// log(incumbent / winner), where both have samples.
double gain_of(const GainTrace &trace, const Least &least) {
    const auto winner = least.find(trace.winner), incumbent = least.find(trace.incumbent);
    return winner == least.end() || incumbent == least.end() ? 0.0 : std::max(0.0, std::log(incumbent->second / winner->second));
}

double found_of(const GainTrace &trace, double at) {
    const Least least = least_of(trace);
    const double all = gain_of(trace, least);
    if (all == 0.0) {
        return 0.0;
    }
    const double before = least.at(trace.incumbent);
    double found = 0.0, lead = std::numeric_limits<double>::infinity();
    for (const GainTrace::Sample &s : trace.samples) {
        if (s.at <= at && s.seconds < lead) {
            lead = s.seconds;
            found = std::max(found, std::log(before / least.at(s.choice)));
        }
    }
    return std::min(found, all);
}

}  // namespace

double total_gain(const std::vector<GainTrace> &traces) {
    double sum = 0.0;
    for (const GainTrace &trace : traces) {
        sum += gain_of(trace, least_of(trace));
    }
    return sum;
}

double gain_found(const std::vector<GainTrace> &traces, double at) {
    const double all = total_gain(traces);
    double found = 0.0;
    for (const GainTrace &trace : traces) {
        found += found_of(trace, at);
    }
    return all > 0.0 ? found / all : 1.0;
}

}  // namespace fourfold::cli
