// One problem, several ways to compute it: planned, checked against the reference, then timed side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "fourfold/plan.h"
#include "measure.h"

namespace fourfold::cli {

/// The algorithms that `all` means, the baseline first.
const std::vector<Algorithm> &compared_algorithms();

struct ContestOptions {
    std::vector<Algorithm> algorithms = compared_algorithms();  ///< kAuto adds whatever auto chooses
    PlanOptions plan;                    ///< everything but the algorithm
    bool all_variants = false;           ///< every runnable variant of the main stage, not only the chosen one
    bool include_packing = false;        ///< filters are given unpacked to every execution
    bool cold = false;                   ///< caches are evicted before every sample
    bool profile = false;                ///< after timing, some executions more with a Profile
    bool check = true;                   ///< compare with the reference before timing
    double check_all_below_flops = 1e9;  ///< over this the reference is a sample
    double naive_flops = 5e9;            ///< over this naive is skipped; negative: always
    double hopeless_factor = 0.0;        ///< skips what is predicted so many times slower than the best; 0: nothing
    size_t memory = std::numeric_limits<size_t>::max();  ///< bytes for arrays, packed filters and workspace
    uint64_t seed = 1;                   ///< of the data, uniform on [-1, 1]
    bool rank_one = false;               ///< filters are outer products of such data, and two passes take part as a form of direct
    MeasureOptions measure;
};

enum class Outcome {
    kTimed,
    kSkipped,  ///< could run, but was left out: too slow or too large
    kRefused,  ///< the plan cannot be made
    kWrong,    ///< ran, and the result was wrong or execution failed: no time is given
};
const char *to_string(Outcome outcome);

struct Entry {
    Algorithm algorithm = Algorithm::kAuto;
    std::string variant;
    bool chosen = false;  ///< auto's choice
    Outcome outcome = Outcome::kTimed;
    Status status;        ///< the plan's, when refused
    std::string reason;   ///< unless timed
    int threads = 1;
    double min_seconds = 0.0, median_seconds = 0.0;
    std::vector<double> seconds;  ///< of each sample
    size_t workspace_bytes = 0, packed_filter_bytes = 0;
    double transfer_seconds = 0.0;  ///< of a GPU: tensors there and the result back, besides the times above
    double max_error = -1.0;  ///< negative: not checked
    std::vector<Profile::Stage> stages;  ///< of one execution, when profiled
};

/// Runs the contest for a valid problem. The entries follow options.algorithms. Once is_stopped() it ends early, its entries of no use.
std::vector<Entry> run_contest(const Conv2dProblem &problem, const ContestOptions &options);

/// Of the fastest timed entry, naive included; 0 when there is none.
double best_seconds(const std::vector<Entry> &entries);

}  // namespace fourfold::cli
