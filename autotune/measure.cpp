#include "measure.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "clock.h"

namespace fourfold::cli {
namespace {

constexpr int kMaxRepeats = 1'000'000;

struct Progress {
    std::vector<double> samples;  ///< seconds per run
    double total = 0.0;           ///< seconds in samples
    bool done = false;
};

}  // namespace

double median(std::vector<double> values) {
    const size_t middle = values.size() / 2;
    std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle), values.end());
    const double upper = values[middle];
    if (values.size() % 2 == 1) {
        return upper;
    }
    return (upper + *std::max_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(middle))) / 2;
}

std::vector<Timing> measure_interleaved(const std::vector<std::function<Status()>> &candidates, const MeasureOptions &options) {
    const std::function<double()> clock = options.clock ? options.clock : now;
    std::vector<Timing> timings(candidates.size());
    std::vector<Progress> progress(candidates.size());

    const auto timed = [&](size_t i, int repeats) {
        const double start = clock();
        for (int r = 0; r < repeats && timings[i].status.ok(); ++r) {
            timings[i].status = candidates[i]();
        }
        return clock() - start;
    };

    // The first run warms up and sizes the samples; where it is short, a second one gives a truer size.
    for (size_t i = 0; i < candidates.size(); ++i) {
        double estimate = timed(i, 1);
        if (estimate < options.min_sample && timings[i].status.ok()) {
            estimate = std::min(estimate, timed(i, 1));
        }
        if (!options.single && estimate < options.min_sample) {
            timings[i].repeats = static_cast<int>(std::clamp(std::ceil(options.min_sample / std::max(estimate, 1e-9)), 1.0, static_cast<double>(kMaxRepeats)));
        }
        progress[i].done = !timings[i].status.ok();
    }

    for (size_t round = 0;; ++round) {
        bool any = false;
        for (size_t turn = 0; turn < candidates.size(); ++turn) {
            const size_t i = (turn + round) % candidates.size();  // nobody is always first after another's heat
            Progress &p = progress[i];
            if (p.done) {
                continue;
            }
            any = true;
            if (options.before_sample) {
                options.before_sample();
            }
            const double elapsed = timed(i, timings[i].repeats);
            if (!timings[i].status.ok()) {
                p.done = true;
                continue;
            }
            p.samples.push_back(elapsed / timings[i].repeats);
            p.total += elapsed;
            const int count = static_cast<int>(p.samples.size());
            const int needed = p.samples.front() > options.slow_seconds ? options.min_samples_slow : options.min_samples;
            p.done = (count >= needed && p.total >= options.min_time) || count >= options.max_samples;
        }
        if (!any) {
            break;
        }
    }

    for (size_t i = 0; i < candidates.size(); ++i) {
        const std::vector<double> &samples = progress[i].samples;
        timings[i].samples = static_cast<int>(samples.size());
        timings[i].seconds = samples;
        if (!samples.empty()) {
            timings[i].min_seconds = *std::min_element(samples.begin(), samples.end());
            timings[i].median_seconds = median(samples);
        }
    }
    return timings;
}

}  // namespace fourfold::cli
