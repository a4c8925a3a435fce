// The candidates of one problem, measured as a program would run them: beside each other in one process, on the same arrays,
// warm. Each first runs in a process of its own, so that what crashes, hangs or is wrong costs itself alone (several of those that
// are expected beside each other, on processors that would be idle; they are timed one by one); and where the
// common process fails although the candidate does well alone, every one is measured alone from then on. Who is far behind in its own
// process answers from there first: packing the filters of a whole plane's FFT again may take longer than all samples together.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "candidate_process.h"

namespace fourfold::cli {

/// Far behind is who is so many times slower than the fastest sample, by two runs, or by one that is long.
constexpr double kFarBehind = 2.5;
constexpr double kLongSeconds = 0.5;
constexpr double kBeginSeconds = 15.0;    ///< packing 800 MB of a whole plane's spectra takes 6
constexpr double kSampleSeconds = 2e-3;  ///< a sample lasts at least this long

class CandidateField {
public:
    struct Member {
        std::string choice;
        double predicted = 0.0;  ///< seconds
        double bytes = 0.0;      ///< of its own: packed filters and workspace
        bool incumbent = false;  ///< has all of ready_seconds to begin, whoever is faster
    };
    /// A place for a process, with the memory in which it leaves its result.
    struct Stand {
        std::vector<std::string> command;      ///< the other end of candidate_process.h
        std::function<void()> before_run;      ///< before a candidate's first run in a process: clears the result
        std::function<Failure(size_t)> judge;  ///< after it: what is wrong with the result
    };
    struct Options {
        std::vector<Stand> stands;  ///< at least one, the common process's; at most so many candidates pass alone at once
        double ready_seconds = 60.0;       ///< until a candidate must have run once
        double begin_seconds = kBeginSeconds;  ///< alone, once another one has been timed: this and 20 times its time, if that is less
        double sample_seconds = kSampleSeconds;
        bool cold = false;                 ///< one run a sample, unwarmed
        double fastest = 0.0;              ///< seconds of the fastest sample so far, of an earlier run; 0: none
        double memory = 0.0;               ///< bytes that members may have together, besides one process's arrays; 0: any
        double arrays = 0.0;               ///< bytes of a process's arrays and its result
        std::function<bool()> stopped;
    };

    CandidateField(std::vector<Member> members, Options options);

    /// Who is sampled next, in this order: they may pass alone beside each other.
    void expect(std::vector<size_t> next) {
        expected_ = std::move(next);
    }

    /// One sample in seconds, or why not; after a failure it is not to be asked again.
    Failure sample(size_t i, double &seconds);
    /// The next sample starts in a fresh process.
    void refresh();

private:
    struct State {
        bool vetted = false;
        bool crowded = false;  ///< crashed or was late beside others: to be tried alone
        Failure failure;  ///< of passing alone
        int warm = 0, repeats = 1;
        int place = -1;   ///< in the common process; negative: not in it
        int samples = 0;  ///< of this process
        std::vector<double> alone;  ///< seconds of runs in a process of its own that are far behind, not asked for yet
    };

    double limit(size_t i, int runs) const;
    double begin_limit(size_t i) const;
    double hopeless_seconds() const;
    std::vector<size_t> beside(size_t first) const;
    void vet(const std::vector<size_t> &list);
    Failure time_alone(CandidateProcess &process, size_t i);
    Failure sample_here(size_t i, double &seconds);

    const std::vector<Member> members_;
    const Options options_;
    std::vector<State> states_;
    std::vector<size_t> expected_;
    CandidateProcess process_;  ///< the common one
    int in_process_ = 0;
    double bytes_ = 0.0;  ///< of those in it
    bool alone_ = false;
    double fastest_;        ///< seconds of any sample of any member; 0: none yet
};

}  // namespace fourfold::cli
