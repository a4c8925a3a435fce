#include "candidate_field.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace fourfold::cli {
namespace {

constexpr int kLifetime = 6;            ///< samples in one process: where its memory happens to lie is a part of the noise
constexpr double kWarmSeconds = 20e-3;  ///< what runs longer is not warmed again: no cache holds what it needs

}  // namespace

CandidateField::CandidateField(std::vector<Member> members, Options options)
    : members_(std::move(members)), options_(std::move(options)), states_(members_.size()), fastest_(options_.fastest) {
}

Failure CandidateField::sample(size_t i, double &seconds) {
    if (!states_[i].vetted) {
        if (Failure failure = vet(i)) {
            return failure;
        }
        states_[i].vetted = true;
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

Failure CandidateField::start(CandidateProcess &process) const {
    return process.start(options_.command, options_.ready_seconds, options_.stopped);
}

Failure CandidateField::add(CandidateProcess &process, size_t i) const {
    if (options_.before_run) {
        options_.before_run();
    }
    if (Failure failure = process.add(members_[i].choice, options_.ready_seconds)) {
        return failure;
    }
    return options_.judge ? options_.judge(i) : Failure();
}

double CandidateField::limit(size_t i, int runs) const {
    const double hopeless = fastest_ > 0.0 ? 20.0 * fastest_ : std::numeric_limits<double>::infinity();
    return std::max(5.0, std::min(100.0 * members_[i].predicted, hopeless) * runs);
}

/// In a process of its own: whether it does, and how many runs make a sample.
Failure CandidateField::vet(size_t i) {
    CandidateProcess process;
    if (Failure failure = start(process)) {
        return failure;
    }
    if (Failure failure = add(process, i)) {
        return failure;
    }
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
    State &s = states_[i];
    const bool joins = s.place < 0;
    const bool full = joins && in_process_ > 0 && (alone_ || (options_.memory > 0.0 && bytes_ + members_[i].bytes > options_.memory));
    if (!process_.alive() || full || s.samples >= kLifetime) {
        refresh();
        if (Failure failure = start(process_)) {
            return failure;
        }
    }
    if (s.place < 0) {
        const int place = in_process_++;
        bytes_ += members_[i].bytes;
        if (Failure failure = add(process_, i)) {
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
