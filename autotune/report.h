// What `fourfold compare` found, as CSV and as one HTML page.
#pragma once

#include <string>
#include <vector>

#include "contest.h"
#include "machine_limits.h"

namespace fourfold::cli {

struct ReportItem {
    std::string name;
    int64_t value = 0;  ///< of the group's axis
    Conv2dProblem problem;
    std::vector<Entry> entries;
};

/// The problems of one file, or, when axis is set, the points of one sweep.
struct ReportGroup {
    std::string title;
    std::string axis;
    std::vector<ReportItem> items;
};

struct Report {
    MachineLimits limits;
    std::string date;  ///< ISO 8601, UTC
    double seconds = 0.0;
    std::vector<ReportGroup> groups;
};

/// How good auto's choices were: over problems where the choice and at least one more algorithm were timed.
struct ChoiceSummary {
    int problems = 0;
    int fastest = 0;            ///< the choice was the fastest, or within 2%
    double mean_ratio = 1.0;    ///< geometric mean of the choice's time over the best time
    double worst_ratio = 1.0;
    std::string worst_name;
};
ChoiceSummary summarize_choices(const Report &report);

/// One row per problem and algorithm.
std::string to_csv(const Report &report);
/// What an earlier to_csv says of one problem and algorithm.
struct EarlierResult {
    std::string problem, algorithm;
    std::vector<double> seconds;  ///< of each sample
};
/// Timed rows only. Errors: kInvalidArgument (unreadable, no such table).
Result<std::vector<EarlierResult>> read_results(const std::string &path);
/// Self-contained: no script, no font, nothing from the network; light and dark.
std::string to_html(const Report &report);

}  // namespace fourfold::cli
