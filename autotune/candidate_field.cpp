#include "candidate_field.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "clock.h"

namespace fourfold::cli {
namespace {

constexpr int kLifetime = 6;            ///< samples in one process: where its memory happens to lie is a part of the noise
constexpr double kWarmSeconds = 20e-3;  ///< what runs longer is not warmed again: no cache holds what it needs

}  // namespace

CandidateField::CandidateField(std::vector<Member> members, Options options)
    : members_(std::move(members)), options_(std::move(options)), states_(members_.size()), fastest_(options_.fastest) {
}

Failure CandidateField::sample(size_t i, double &seconds) {
    if (!states_[i].vetted && !states_[i].crowded) {
        vet(beside(i));
    }
    if (!states_[i].vetted && states_[i].crowded) {
        vet({i});
    }
    if (states_[i].failure) {
        return states_[i].failure;
    }
    if (std::vector<double> &alone = states_[i].alone; !alone.empty()) {
        seconds = alone.back();
        alone.pop_back();
        return {};
    }
    Failure failure = sample_here(i, seconds);
    if (!failure || failure.kind == "stopped" || in_process_ <= 1) {
        if (failure) {
            refresh();
        }
        return failure;
    }
    // Another one may have broken the process. Alone it is its own fault.
    refresh();
    failure = sample_here(i, seconds);
    if (failure) {
        refresh();
        return failure;
    }
    alone_ = true;
    return {};
}

void CandidateField::refresh() {
    process_.end();
    in_process_ = 0;
    bytes_ = 0.0;
    for (State &s : states_) {
        s.place = -1;
        s.samples = 0;
    }
}

double CandidateField::limit(size_t i, int runs) const {
    return std::max(5.0, std::min(100.0 * members_[i].predicted, hopeless_seconds()) * runs);
}

/// Until a candidate that has not passed yet has packed and run once.
double CandidateField::begin_limit(size_t i) const {
    return members_[i].incumbent ? options_.ready_seconds : std::min(options_.ready_seconds, options_.begin_seconds + hopeless_seconds());
}

double CandidateField::hopeless_seconds() const {
    return fastest_ > 0.0 ? 20.0 * fastest_ : std::numeric_limits<double>::infinity();
}

/// Those that pass alone at the same time: one for each stand, while there is memory for all.
std::vector<size_t> CandidateField::beside(size_t first) const {
    std::vector<size_t> list = {first};
    double bytes = members_[first].bytes + (process_.alive() ? bytes_ + options_.arrays : 0.0);
    for (size_t i : expected_) {
        if (i == first || states_[i].vetted || states_[i].crowded) {
            continue;
        }
        bytes += options_.arrays + members_[i].bytes;
        if (list.size() == options_.stands.size() || (options_.memory > 0.0 && bytes > options_.memory)) {
            break;
        }
        list.push_back(i);
    }
    return list;
}

/// In processes of their own: whether they do, and how many runs make a sample of each. Who crashes or is late beside others, who need memory
/// and its bandwidth too, is to be tried alone before that is held against it.
void CandidateField::vet(const std::vector<size_t> &list) {
    std::vector<CandidateProcess> processes(list.size());
    std::vector<Failure> failures(list.size());
    const auto each_that_does = [&](const std::function<Failure(size_t)> &step) {
        for (size_t k = 0; k < list.size(); ++k) {
            failures[k] = failures[k] ? failures[k] : step(k);
        }
    };
    each_that_does([&](size_t k) { return processes[k].launch(options_.stands[k].command, options_.stopped); });
    each_that_does([&](size_t k) { return processes[k].await_ready(options_.ready_seconds); });
    each_that_does([&](size_t k) {
        if (options_.stands[k].before_run) {
            options_.stands[k].before_run();
        }
        return processes[k].ask_to_add(members_[list[k]].choice);
    });
    const double asked = now();
    each_that_does([&](size_t k) { return processes[k].await_ready(std::max(0.0, begin_limit(list[k]) - (now() - asked))); });
    // From here on one at a time: the others wait.
    each_that_does([&](size_t k) { return options_.stands[k].judge ? options_.stands[k].judge(list[k]) : Failure(); });
    each_that_does([&](size_t k) { return time_alone(processes[k], list[k]); });
    for (size_t k = 0; k < list.size(); ++k) {
        const bool proves = list.size() == 1 || (failures[k].kind != "timeout" && failures[k].kind != "crash");
        states_[list[k]].vetted = failures[k].kind != "stopped" && proves;
        states_[list[k]].crowded = !proves;
        states_[list[k]].failure = proves ? failures[k] : Failure();
    }
}

Failure CandidateField::time_alone(CandidateProcess &process, size_t i) {
    double elapsed = 0.0;
    if (Failure failure = process.sample(0, 0, 1, limit(i, 1), elapsed)) {
        return failure;
    }
    // A short run may be late by chance, and its candidate costs little.
    if (fastest_ > 0.0 && elapsed >= options_.sample_seconds && elapsed > kFarBehind * fastest_) {
        std::vector<double> runs = {elapsed};
        if (elapsed < kLongSeconds) {
            if (Failure failure = process.sample(0, 0, 1, limit(i, 1), elapsed)) {
                return failure;
            }
            runs.push_back(elapsed);
        }
        if (elapsed > kFarBehind * fastest_) {
            states_[i].alone = std::move(runs);
        }
    }
    if (!options_.cold) {
        states_[i].warm = elapsed < kWarmSeconds ? 1 : 0;
        states_[i].repeats = static_cast<int>(std::clamp(std::ceil(options_.sample_seconds / std::max(elapsed, 1e-8)), 1.0, 1e5));
    }
    return {};
}

Failure CandidateField::sample_here(size_t i, double &seconds) {
    const Stand &stand = options_.stands.front();
    State &s = states_[i];
    const bool joins = s.place < 0;
    const bool full = joins && in_process_ > 0 && (alone_ || (options_.memory > 0.0 && bytes_ + members_[i].bytes > options_.memory));
    if (!process_.alive() || full || s.samples >= kLifetime) {
        refresh();
        if (Failure failure = process_.start(stand.command, options_.ready_seconds, options_.stopped)) {
            return failure;
        }
    }
    if (s.place < 0) {
        const int place = in_process_++;
        bytes_ += members_[i].bytes;
        if (stand.before_run) {
            stand.before_run();
        }
        Failure failure = process_.add(members_[i].choice, options_.ready_seconds);
        if (failure || (stand.judge && (failure = stand.judge(i)))) {
            return failure;
        }
        s.place = place;
    }
    double elapsed = 0.0;
    if (Failure failure = process_.sample(s.place, s.warm, s.repeats, limit(i, s.warm + s.repeats), elapsed)) {
        return failure;
    }
    s.samples++;
    seconds = elapsed / s.repeats;
    fastest_ = fastest_ > 0.0 ? std::min(fastest_, seconds) : seconds;
    return {};
}

}  // namespace fourfold::cli
