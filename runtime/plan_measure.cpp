#include "plan_measure.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

#include "clock.h"
#include "fourfold/tuning.h"
#include "problem_data.h"
#include "tables.h"

namespace fourfold {
namespace {

constexpr size_t kCandidates = 12;
constexpr double kHopeless = 3.0;     ///< times the best expectation
constexpr double kSeconds = 0.5;      ///< after which no further round begins
constexpr double kSampleSeconds = 1e-3;

thread_local bool measuring = false;

struct Measuring {
    Measuring() {
        measuring = true;
    }
    ~Measuring() {
        measuring = false;
    }
};

struct Contender {
    Candidate candidate;
    Plan plan;
    AlignedBuffer packed;
    int repeats = 1;
    std::vector<double> samples;

    double best() const {
        return *std::min_element(samples.begin(), samples.end());
    }
};

void race(std::vector<Contender> &contenders, double (*clock)(), const std::function<bool(const Contender &)> &execute) {
    const double end = now() + kSeconds;
    const auto sample = [&](Contender &c) {
        const double begin = clock();
        for (int i = 0; i < c.repeats; i++) {
            if (!execute(c)) {
                return std::numeric_limits<double>::infinity();
            }
        }
        return (clock() - begin) / c.repeats;
    };
    // Warm, and sized so that a sample is long enough to time.
    for (Contender &c : contenders) {
        sample(c);
        c.repeats = static_cast<int>(std::clamp(std::ceil(kSampleSeconds / std::max(sample(c), 1e-8)), 1.0, 1e5));
    }
    struct Round {
        int count;
        double keep;
    };
    for (const Round &round : {Round{3, 1.25}, Round{6, 1.0}}) {
        for (int i = 0; i < round.count; i++) {
            for (Contender &c : contenders) {
                if (c.samples.empty() || now() < end) {
                    c.samples.push_back(sample(c));
                }
            }
        }
        double least = std::numeric_limits<double>::infinity();
        for (const Contender &c : contenders) {
            least = std::min(least, c.best());
        }
        if (round.keep > 1.0) {
            contenders.erase(std::remove_if(contenders.begin(), contenders.end(), [&](const Contender &c) { return c.best() > round.keep * least; }), contenders.end());
        }
    }
}

}  // namespace

bool measuring_choices() {
    return measuring;
}

void measure_choices(const Conv2dProblem &problem, const PlanOptions &asked) {
    // unfold and fold move data: their plans differ too little to be worth the time.
    if (measuring || problem.moves_columns()) {
        return;
    }
    const Measuring guard;
    PlanOptions options = asked;
    options.effort = Effort::kTable;
    options.threads = options.choose_for_threads ? options.threads : 1;
    const Conv2dProblem key = tuning_problem(problem);
    // Of these threads: the table has a nearest record for any, but what was measured is asked for.
    const std::shared_ptr<const Tables> tables = current_tables();
    const std::vector<const MeasuredProblem *> known = tables->exact({key, options.accuracy, options.threads, options.cache, recorded_limit(options.workspace_limit)});
    if (!known.empty() && known.front()->threads == options.threads && known.front()->changed_winner.empty()) {
        return;
    }
    const Result<std::vector<Candidate>> candidates = list_choices(problem, options);
    if (!candidates || candidates->size() < 2) {
        return;
    }
    const std::unique_ptr<ProblemData> data = ProblemData::make(problem, 1);
    if (data == nullptr) {
        return;
    }
    std::vector<Contender> contenders;
    size_t bytes = 1;
    for (const Candidate &candidate : *candidates) {
        if (contenders.size() == kCandidates || candidate.corrected_seconds > kHopeless * candidates->front().corrected_seconds) {
            break;
        }
        PlanOptions one = options;
        one.choice = candidate.choice;
        if (Result<Plan> plan = Plan::create(problem, one)) {
            bytes = std::max(bytes, std::max(plan->workspace_bytes(), plan->packed_filter_bytes() > 0 ? plan->workspace_bytes_unpacked() : 0));
            contenders.push_back({candidate, std::move(*plan), {}, 1, {}});
        }
    }
    const AlignedBuffer workspace(bytes);
    bool ready = workspace.data() != nullptr;
    for (Contender &c : contenders) {
        if (ready && c.plan.packed_filter_bytes() > 0) {
            c.packed = AlignedBuffer(c.plan.packed_filter_bytes());
            ready = c.packed.data() != nullptr && c.plan.pack_filters(data->filter_view(problem), c.packed, workspace).ok();
        }
    }
    if (!ready || contenders.empty()) {
        return;
    }
    race(contenders, clock_for(options.threads), [&](const Contender &c) { return c.plan.execute(data->tensors(problem, c.packed, data->output.data()), workspace).ok(); });
    const auto best = std::min_element(contenders.begin(), contenders.end(), [](const Contender &a, const Contender &b) { return a.best() < b.best(); });
    for (const Contender &c : contenders) {
        if (!std::isfinite(c.best())) {
            continue;
        }
        Record r;
        r.problem = key;
        r.accuracy = options.accuracy;
        r.microarchitecture = machine().microarchitecture;
        r.isa = machine().isa;
        r.threads = options.threads;
        r.cache = options.cache;
        r.workspace_limit = recorded_limit(options.workspace_limit);
        r.choice = c.candidate.choice;
        std::istringstream words(r.choice);
        for (std::string word; words >> word;) {
            if (const std::string hash = variant_hash(word); !hash.empty()) {
                r.variants.emplace_back(word, hash);
            }
        }
        r.winner = &c == &*best;
        r.seconds_min = r.seconds_median = c.best();
        r.samples = static_cast<int>(c.samples.size());
        r.seconds_predicted = c.candidate.predicted_seconds;
        remember(r);
    }
}

}  // namespace fourfold
