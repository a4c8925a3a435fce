// Which of several plans is the fastest, found with few samples. Pure: the candidates and their costs come from outside, and
// so does the clock; nothing here knows what a convolution is.
//
// First the algorithms: the likeliest candidate of each is sampled a few times, and those that cannot win leave with all their
// schedules. Then successive halving over the schedules of the rest: rounds in which every survivor is sampled once, in a random
// order, so that drift of the machine hits all alike; after each stage those beyond a factor of the best leave. The lowest decile
// counts: the noise of a shared machine adds, but for a moment of a higher clock, which makes the least of many samples a lucky one. The incumbent is sampled first and to the end, so that whoever beats
// it has done so side by side, and nobody wins by one lucky sample. Ties go to less workspace, then to the incumbent; what two
// halves of one candidate's own samples differ by is a tie too. Whoever is within the tie band at the end meets the incumbent in fresh
// processes, and only who is confirmed there replaces it: two searches on two days should come to the same end.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace fourfold::cli {

struct SearchCandidate {
    std::string group;        ///< the algorithm, or a form of it
    double predicted = 0.0;   ///< seconds, by the cost model as far as it is corrected
    uint64_t workspace = 0;   ///< bytes
    bool incumbent = false;
    std::vector<double> samples;  ///< from an interrupted search
    bool failed = false;      ///< known to fail
    bool too_slow = false;    ///< that was by being too slow to be timed
    bool costly = false;      ///< takes long to begin: not tried where it is hopeless, not even as its group's likeliest
};

struct SearchOptions {
    struct Stage {
        size_t samples;  ///< of each survivor at the stage's end, earlier ones included
        double keep;  ///< survivors are within this factor of the best afterwards
    };
    std::vector<Stage> stages = {{4, 1.25}, {10, 1.08}, {30, 1.0}};
    size_t group_samples = 3;      ///< of the first look at the algorithms
    size_t least_samples = 7;      ///< a winner has so many, unless nobody has
    double keep_group = 1.6;       ///< an algorithm's best schedule may be this much better than its likeliest
    double hopeless = 3.0;         ///< candidates predicted beyond this factor of the best prediction are not tried; the
                                   ///< likeliest of each group within 4 times this factor is
    double tie = 0.02;             ///< times within this factor are equal, or within the noise of the two if that is more. Half of
                                   ///< it is used up in preferring the smaller, so that another search still finds that a tie
    size_t telling = 6;            ///< so many measurements of a group tell how well it is predicted: who would have to beat its own
    double unlikely = 0.8;         ///< prediction by more than all of them, and by this factor, to lead is not tried. By the times of 594
                                   ///< problems in four machines' tables 65 % of the candidates are left, and 0.04 % of the speed is
                                   ///< lost; with three measurements 55 and 0.14, with a factor of 1 57 and 0.19 (2026-12-01)
    int trials = 0;                ///< at most so many candidates are tried, the incumbent, those that fail and those of an
                                   ///< interrupted search included; 0: all
    int patience = 0;              ///< stop bringing in candidates after so many in a row that did not lead; 0: never
    double budget = 0.0;           ///< seconds after which no further sample begins; 0: no limit
    double far_behind = std::numeric_limits<double>::infinity();  ///< who is so many times slower than the best is not sampled again after
                                   ///< two samples, or one that is long
    double short_sample = 0.0;     ///< seconds of a run; below, noise makes anybody late
    double long_sample = std::numeric_limits<double>::infinity();  ///< seconds of a run; above, it does not
    double stage_seconds = 0.0;    ///< a stage's rounds after the second end so long after the first; 0: no limit
    std::function<double()> clock;          ///< seconds, monotonic
    std::function<bool()> stopped;          ///< asked between samples; empty: never
    std::function<void(const std::vector<size_t> &)> expect;  ///< told who is sampled for the first time next, in this order; empty: nobody is
    uint64_t seed = 1;             ///< of the random orders
};

/// One sample of a candidate in seconds; negative where it fails, after which it is not asked again; infinite where it is too
/// slow to be timed, after which its group is given up, if no other of it has been sampled by then.
using Cost = std::function<double(size_t candidate)>;

struct SearchResult {
    int best = -1;                 ///< -1 where all that were tried failed, or the search was stopped before any was sampled
    bool complete = false;         ///< neither stopped nor out of budget
    std::vector<std::vector<double>> samples;  ///< of each candidate
    std::vector<bool> failed;
    int sampled = 0;               ///< candidates with samples
};

SearchResult find_fastest(const std::vector<SearchCandidate> &candidates, const SearchOptions &options, const Cost &cost);

/// The lowest tenth of the samples, of fewer than ten the least. Of none: not allowed.
double low_decile(std::vector<double> samples);
/// The least of every other sample and of the rest: two measurements of the same thing. Both are the only sample where there is
/// but one. Of none: not allowed.
std::array<double, 2> half_minima(const std::vector<double> &samples);
/// How far apart they are, as a share of the less: the floor of what can be told apart. At most 5 %: more is no measurement.
double split_half_noise(const std::array<double, 2> &halves);

struct ConfirmOptions {
    int blocks = 3;            ///< each in fresh processes: where memory happens to lie is a part of the noise
    int pairs = 10;            ///< of a block: rounds, where there are several challengers
    int least_pairs = 3;       ///< of a block that is out of time
    double block_seconds = 0.35;  ///< of each contender: later pairs of a block are left out after the sum; 0: none are
    double tie = 0.01;         ///< to be faster by more
    double budget = 0.0;       ///< seconds after which no further sample begins; 0: no limit
    std::function<double()> clock;          ///< seconds, monotonic
    std::function<bool()> stopped;          ///< asked between samples; empty: never
    std::function<void()> refresh;          ///< the next sample starts in a fresh process; empty: nothing to do
    int more_blocks = 3;       ///< while blocks disagree about who is faster by more than the tie,
    double more_seconds = 5.0;  ///< and none that begins later than this, for each contender, after the confirmation did
    size_t challengers = 3;    ///< at most so many, the fastest, meet the incumbent
};

struct Confirmation {
    bool better = false;   ///< the challenger is
    bool complete = false; ///< neither stopped, nor out of budget, nor has one of them failed
    int failed = -1;       ///< who did
    std::vector<double> challenger, incumbent;  ///< all samples, pair by pair
};

/// Several candidates, side by side in blocks.
struct PlayOff {
    bool complete = false;  ///< neither stopped, nor out of budget, nor has one of them failed
    int failed = -1;        ///< who did
    std::vector<std::vector<double>> samples;  ///< of each contender, round by round
    std::vector<std::vector<double>> lows;     ///< low_decile() of each contender, block by block
};

/// Rounds of all contenders, in blocks; nobody is always first. What is not complete proves nothing.
PlayOff play_off(const std::vector<size_t> &contenders, const ConfirmOptions &options, const Cost &cost);
/// play_off of two.
Confirmation confirm(size_t challenger, size_t incumbent, const ConfirmOptions &options, const Cost &cost);
/// Whether the challenger's time is below the incumbent's by more than `tie` in the median block, and above it in none, of six
/// blocks or more in one at most. False without blocks.
bool confirmed(const std::vector<std::array<double, 2>> &blocks, double tie);

/// find_fastest within three quarters of the budget, then those within the tie band of its best against the incumbent in fresh processes
/// within the rest. Of those that are confirmed the fastest wins; of equals the one with least workspace, then the likeliest. Where nobody is,
/// the incumbent stays; where the incumbent failed, or there is none, the best need only do well in a
/// fresh process. Who fails there gives way to the next. The result's `best` is -1 where nobody could be confirmed and no
/// incumbent stands. Clock, stop and budget are those of `options`.
SearchResult find_winner(const std::vector<SearchCandidate> &candidates, const SearchOptions &options, const ConfirmOptions &confirm_options, const Cost &cost);

/// Two-sided p-value that two samples come from the same distribution (Mann and Whitney 1947, normal approximation with
/// ties). 1 where either has less than three values.
double mann_whitney(const std::vector<double> &a, const std::vector<double> &b);

}  // namespace fourfold::cli
