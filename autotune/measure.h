// Fair timing of several candidates: in turn, round after round, so that drift of the machine hits all alike.
#pragma once

#include <functional>
#include <vector>

#include "fourfold/status.h"

namespace fourfold::cli {

struct MeasureOptions {
    double min_time = 0.3;         ///< seconds per candidate, all samples together
    double min_sample = 1e-3;      ///< seconds per sample; shorter work is repeated inside one
    int min_samples = 5;
    double slow_seconds = 2.0;     ///< a candidate over this ...
    int min_samples_slow = 3;      ///< ... needs only so many samples
    int max_samples = 1000;
    bool single = false;           ///< never repeat inside a sample, as cold measurements want
    std::function<void()> before_sample;  ///< runs untimed before each sample, e.g. evicts the caches
    std::function<double()> clock;        ///< seconds, monotonic; empty: the wall's. Tests put their own here.
};

struct Timing {
    Status status;  ///< the first failure of the candidate, which ends its measurement
    double min_seconds = 0.0;
    double median_seconds = 0.0;
    int samples = 0;
    std::vector<double> seconds;  ///< of each sample
    int repeats = 1;  ///< runs in one sample
};

/// The middle value, or the mean of the two in the middle. Of no values: not allowed.
double median(std::vector<double> values);

/// Times each candidate; the result has their order. Every candidate first runs once untimed.
std::vector<Timing> measure_interleaved(const std::vector<std::function<Status()>> &candidates, const MeasureOptions &options);

}  // namespace fourfold::cli
