#include "search.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>

namespace fourfold::cli {
namespace {

constexpr double kSearchShare = 0.75;  ///< of a budget; the confirmation has the rest
constexpr size_t kLastLook = 4;        ///< so many finalists are sampled until they can win, however long that takes,
constexpr double kClose = 1.1;         ///< of those within this factor of the fastest
constexpr size_t kAnnounced = 8;       ///< more are not begun beside each other

/// split_half_noise() of the time that counts.
double noise_of(const std::vector<double> &samples) {
    std::array<std::vector<double>, 2> halves;
    for (size_t i = 0; i < samples.size(); ++i) {
        halves[i % 2].push_back(samples[i]);
    }
    return samples.size() < 2 ? 0.0 : split_half_noise({low_decile(halves[0]), low_decile(halves[1])});
}

class Search {
public:
    Search(const std::vector<SearchCandidate> &candidates, const SearchOptions &options, const Cost &cost)
        : candidates_(candidates), options_(options), cost_(cost), random_(options.seed), start_(now()), limit_(options.budget) {
        for (const SearchCandidate &c : candidates) {
            result_.samples.push_back(c.samples);
            result_.failed.push_back(c.failed);
            if (c.failed && c.too_slow) {
                slow_groups_.insert(c.group);
            }
        }
    }

    SearchResult run() {
        search();
        return finish();
    }

    SearchResult run_confirmed(const ConfirmOptions &given) {
        limit_ = kSearchShare * options_.budget;
        search();
        limit_ = options_.budget;
        cut_ = over_;
        over_ = false;
        for (bool settled = false; result_.best >= 0 && !settled;) {
            settled = settle(static_cast<size_t>(result_.best), given);
        }
        return finish();
    }

private:
    void search() {
        incumbent_ = -1;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            incumbent_ = candidates_[i].incumbent ? static_cast<int>(i) : incumbent_;
        }
        // Before all others: however short the time is, there is something to keep.
        if (incumbent_ >= 0) {
            sample({static_cast<size_t>(incumbent_)}, 1);
        }
        std::vector<size_t> survivors = schedules_of(settle_groups()), finalists;
        for (const SearchOptions::Stage &stage : options_.stages) {
            const bool sampled = sample(survivors, stage.samples);
            finalists = survivors;
            survivors = within(survivors, stage.keep);
            if (!sampled) {
                break;
            }
            if (survivors.size() < 2) {
                sample(survivors, options_.least_samples);
                break;
            }
        }
        // Stages of long samples end early, when the incumbent has more than others: it does not win by that.
        sample(fastest(within(finalists, kClose), kLastLook), options_.least_samples, false);
        result_.best = choose();
    }
    /// The fastest of the list, at most so many besides the incumbent.
    std::vector<size_t> fastest(std::vector<size_t> list, size_t most) const {
        std::stable_sort(list.begin(), list.end(), [&](size_t a, size_t b) { return best_of(a) < best_of(b); });
        std::vector<size_t> kept;
        for (size_t i : list) {
            const bool room = most > 0, own = static_cast<int>(i) == incumbent_;
            if (std::isfinite(best_of(i)) && (room || own)) {
                kept.push_back(i);
                most -= room && !own ? 1 : 0;
            }
        }
        return kept;
    }
    SearchResult finish() {
        result_.complete = !over_ && !cut_;
        for (const std::vector<double> &s : result_.samples) {
            result_.sampled += !s.empty();
        }
        return std::move(result_);
    }

    /// Whether `best` is the winner now, and not only the next to prove itself.
    bool settle(size_t chosen, const ConfirmOptions &given) {
        const bool stands = incumbent_ >= 0 && std::isfinite(best_of(static_cast<size_t>(incumbent_)));
        std::vector<size_t> contenders = stands ? challengers(chosen, given.challengers) : std::vector<size_t>();
        if (static_cast<int>(chosen) == incumbent_ && contenders.empty()) {
            return true;
        }
        if (is_over()) {
            result_.best = stands ? incumbent_ : -1;
            return true;
        }
        if (!stands) {
            return passes(chosen, given);
        }
        contenders.push_back(static_cast<size_t>(incumbent_));
        ConfirmOptions own = given;
        own.clock = options_.clock;
        own.stopped = options_.stopped;
        own.budget = options_.budget > 0 ? std::max(1e-9, options_.budget - (now() - start_)) : 0.0;
        const PlayOff play = play_off(contenders, own, cost_);
        for (size_t i = 0; i < contenders.size(); ++i) {
            std::vector<double> &all = result_.samples[contenders[i]];
            all.insert(all.end(), play.samples[i].begin(), play.samples[i].end());
        }
        if (play.failed >= 0) {
            result_.failed[static_cast<size_t>(play.failed)] = true;
            result_.best = choose();
            return false;
        }
        over_ = over_ || !play.complete;
        result_.best = play.complete ? static_cast<int>(contenders[winner_of(contenders, play, own.tie)]) : incumbent_;
        return true;
    }
    /// The chosen one and whoever cannot be told apart from the fastest, the fastest first, without the incumbent.
    std::vector<size_t> challengers(size_t chosen, size_t most) const {
        std::vector<size_t> list = within_tie(1.0);
        list.erase(std::remove_if(list.begin(), list.end(), [&](size_t i) { return i == chosen || static_cast<int>(i) == incumbent_; }), list.end());
        std::stable_sort(list.begin(), list.end(), [&](size_t a, size_t b) { return best_of(a) < best_of(b); });
        if (static_cast<int>(chosen) != incumbent_) {
            list.insert(list.begin(), chosen);
        }
        list.resize(std::min(list.size(), most));
        return list;
    }
    /// The index among the contenders, of which the last is the incumbent.
    size_t winner_of(const std::vector<size_t> &contenders, const PlayOff &play, double tie) const {
        const size_t incumbent = contenders.size() - 1;
        const auto beats = [&](size_t a, size_t b, double by) {
            std::vector<std::array<double, 2>> pairs;
            for (size_t block = 0; block < play.lows[a].size(); ++block) {
                pairs.push_back({play.lows[a][block], play.lows[b][block]});
            }
            return confirmed(pairs, by);
        };
        std::vector<size_t> better_ones;
        for (size_t i = 0; i < incumbent; ++i) {
            if (beats(i, incumbent, tie)) {
                better_ones.push_back(i);
            }
        }
        size_t winner = incumbent;
        for (size_t i : better_ones) {
            const bool beaten = std::any_of(better_ones.begin(), better_ones.end(), [&](size_t j) { return beats(j, i, options_.tie / 2); });
            const SearchCandidate &one = candidates_[contenders[i]], &other = candidates_[contenders[winner]];
            if (!beaten && (winner == incumbent || std::tie(one.workspace, one.predicted) < std::tie(other.workspace, other.predicted))) {
                winner = i;
            }
        }
        return winner;
    }
    /// Nobody to beat: whether it does well in a fresh process.
    bool passes(size_t challenger, const ConfirmOptions &given) {
        if (given.refresh) {
            given.refresh();
        }
        if (!sample({challenger}, result_.samples[challenger].size() + static_cast<size_t>(given.least_pairs), false)) {
            result_.best = -1;
            return true;
        }
        if (result_.failed[challenger]) {
            result_.best = choose();
            return false;
        }
        return true;
    }

    double now() const {
        return options_.clock ? options_.clock() : 0.0;
    }
    bool is_over() {
        over_ = over_ || (options_.stopped && options_.stopped()) || (limit_ > 0 && now() - start_ >= limit_);
        return over_;
    }
    double best_of(size_t i) const {
        const std::vector<double> &s = result_.samples[i];
        return result_.failed[i] || s.empty() ? std::numeric_limits<double>::infinity() : low_decile(s);
    }
    bool is_tried(size_t i) const {
        return result_.failed[i] || !result_.samples[i].empty();
    }
    /// As many of the list as `trials` leaves room for; who has been tried has his place already.
    std::vector<size_t> admitted(std::vector<size_t> list) const {
        size_t admitted = 0;
        const size_t most = room();
        list.erase(std::remove_if(list.begin(), list.end(), [&](size_t i) { return !is_tried(i) && admitted++ >= most; }), list.end());
        return list;
    }
    /// How many more may be tried.
    size_t room() const {
        int tried = 0;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            tried += is_tried(i);
        }
        return options_.trials == 0 ? candidates_.size() : static_cast<size_t>(std::max(0, options_.trials - tried));
    }
    /// Of all that have been timed.
    double least_time() const {
        double best = std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < candidates_.size(); ++i) {
            best = std::min(best, best_of(i));
        }
        return best;
    }

    /// Of each group the candidate with the least prediction of those that have not failed, and the incumbent, unless hopeless.
    std::vector<size_t> likeliest() const {
        const double best = least_prediction();
        std::map<std::string, size_t> first;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            const bool is_too_costly = candidates_[i].costly && candidates_[i].predicted > options_.hopeless * best;
            if (result_.failed[i] || is_too_costly || (slow_groups_.count(candidates_[i].group) != 0 && result_.samples[i].empty())) {
                continue;
            }
            const auto [at, fresh] = first.emplace(candidates_[i].group, i);
            if (!fresh && candidates_[i].predicted < candidates_[at->second].predicted) {
                at->second = i;
            }
        }
        std::vector<size_t> list;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            const auto at = first.find(candidates_[i].group);
            const bool leads = at != first.end() && at->second == i && candidates_[i].predicted <= 4 * options_.hopeless * best;
            if (leads || (candidates_[i].incumbent && !result_.failed[i])) {
                list.push_back(i);
            }
        }
        std::stable_sort(list.begin(), list.end(), [&](size_t a, size_t b) { return candidates_[a].predicted < candidates_[b].predicted; });
        return admitted(std::move(list));
    }
    /// Of those that have not failed: what cannot be had makes nobody hopeless.
    double least_prediction() const {
        double best = std::numeric_limits<double>::infinity();
        for (size_t i = 0; i < candidates_.size(); ++i) {
            best = result_.failed[i] ? best : std::min(best, candidates_[i].predicted);
        }
        return best;
    }

    /// The groups worth a look at their schedules. Where one's likeliest candidate fails, the next stands in.
    std::vector<std::string> settle_groups() {
        std::vector<size_t> first = likeliest();
        while (sample(first, options_.group_samples) && std::any_of(first.begin(), first.end(), [&](size_t i) { return result_.failed[i]; })) {
            first = likeliest();
        }
        std::vector<std::string> groups;
        for (size_t i : within(first, options_.keep_group)) {
            groups.push_back(candidates_[i].group);
        }
        return groups;
    }

    /// All candidates of the groups that are not hopeless, likeliest first, as far as trials and patience allow.
    std::vector<size_t> schedules_of(const std::vector<std::string> &groups) {
        const double best = least_prediction();
        std::vector<size_t> list;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            const bool known = std::find(groups.begin(), groups.end(), candidates_[i].group) != groups.end();
            if (known && !result_.failed[i] && (candidates_[i].predicted <= options_.hopeless * best || !result_.samples[i].empty())) {
                list.push_back(i);
            }
        }
        std::stable_sort(list.begin(), list.end(), [&](size_t a, size_t b) { return candidates_[a].predicted < candidates_[b].predicted; });
        // Brought in one by one, each measured against the leader as it then is.
        std::vector<size_t> tried;
        double leader = std::numeric_limits<double>::infinity();
        int misses = 0;
        for (auto at = list.begin(); at != list.end(); ++at) {
            if (!is_tried(*at) && (is_unlikely(*at) || room() == 0)) {
                continue;
            }
            if (options_.patience > 0 && misses >= options_.patience) {
                break;
            }
            announce(at, list.end(), options_.patience > 0 ? static_cast<size_t>(options_.patience - misses) : kAnnounced);
            if (!sample({*at}, 1)) {
                break;
            }
            tried.push_back(*at);
            misses = best_of(*at) < leader ? 0 : misses + 1;
            leader = std::min(leader, best_of(*at));
        }
        const size_t incumbent = static_cast<size_t>(incumbent_);
        if (std::find(list.begin(), list.end(), incumbent) != list.end() && std::find(tried.begin(), tried.end(), incumbent) == tried.end()) {
            tried.push_back(incumbent);
        }
        return tried;
    }

    /// Whether it would have to beat its prediction by more than any of its group that was measured, and by a margin, to lead.
    bool is_unlikely(size_t i) const {
        if (static_cast<int>(i) == incumbent_) {
            return false;
        }
        double ratio = std::numeric_limits<double>::infinity();
        size_t told = 0;
        for (size_t j = 0; j < candidates_.size(); ++j) {
            if (candidates_[j].group == candidates_[i].group && std::isfinite(best_of(j))) {
                ratio = std::min(ratio, best_of(j) / candidates_[j].predicted);
                ++told;
            }
        }
        return told >= options_.telling && options_.unlikely * ratio * candidates_[i].predicted > least_time();
    }
    /// Who is brought in next, as far as is known before the first of them has been sampled.
    void announce(std::vector<size_t>::const_iterator at, std::vector<size_t>::const_iterator end, size_t most) const {
        if (!options_.expect) {
            return;
        }
        most = std::min({most, room(), kAnnounced});
        std::vector<size_t> next;
        for (; at != end && next.size() < most; ++at) {
            if (!is_tried(*at) && !is_unlikely(*at)) {
                next.push_back(*at);
            }
        }
        options_.expect(next);
    }

    /// Brings every one of the list to so many samples, in rounds; where they are `timed`, to fewer if a stage's time is up. False when it was
    /// stopped.
    bool sample(const std::vector<size_t> &list, size_t goal, bool timed = true) {
        std::vector<size_t> order = list;
        const auto lacks = [&](size_t i) { return !result_.failed[i] && result_.samples[i].size() < goal && !(timed && is_far_behind(i)); };
        double begin = 0.0;
        for (int round = 0; std::any_of(list.begin(), list.end(), lacks); ++round) {
            // Without the first round, in which candidates are checked; and nobody leaves for one bad sample.
            begin = round == 1 ? now() : begin;
            if (timed && round > 1 && options_.stage_seconds > 0 && now() - begin > options_.stage_seconds) {
                break;
            }
            std::shuffle(order.begin(), order.end(), random_);
            if (round == 0 && order.size() != 1 && options_.expect) {
                std::vector<size_t> first;
                std::copy_if(order.begin(), order.end(), std::back_inserter(first), [&](size_t i) { return lacks(i) && result_.samples[i].empty(); });
                options_.expect(first);
            }
            for (size_t i : order) {
                if (is_over()) {
                    return false;
                }
                if (!lacks(i)) {
                    continue;
                }
                const double seconds = cost_(i);
                if (options_.stopped && options_.stopped()) {
                    over_ = true;
                    return false;  // what was interrupted says nothing
                }
                if (seconds < 0.0 || !std::isfinite(seconds)) {
                    result_.failed[i] = true;
                    if (seconds > 0.0) {
                        slow_groups_.insert(candidates_[i].group);
                    }
                } else {
                    result_.samples[i].push_back(seconds);
                }
            }
        }
        return true;
    }

    /// By so much that more samples would not change it; the incumbent is sampled to the end.
    bool is_far_behind(size_t i) const {
        if (static_cast<int>(i) == incumbent_ || !std::isfinite(options_.far_behind) || result_.samples[i].empty()) {
            return false;
        }
        const double seconds = best_of(i);
        if (seconds < options_.short_sample || (result_.samples[i].size() < 2 && seconds < options_.long_sample)) {
            return false;
        }
        return seconds > options_.far_behind * least_time();
    }

    std::vector<size_t> within(const std::vector<size_t> &list, double factor) const {
        double best = std::numeric_limits<double>::infinity();
        for (size_t i : list) {
            best = std::min(best, best_of(i));
        }
        std::vector<size_t> kept;
        std::copy_if(list.begin(), list.end(), std::back_inserter(kept), [&](size_t i) { return std::isfinite(best_of(i)) && (candidates_[i].incumbent || best_of(i) <= factor * best); });
        return kept;
    }

    /// The fastest; of those within half of the tie band the one with least workspace, then the incumbent, then the faster.
    int choose() const {
        int chosen = -1;
        for (size_t i : within_tie(0.5)) {
            chosen = chosen < 0 || better(i, static_cast<size_t>(chosen)) ? static_cast<int>(i) : chosen;
        }
        return chosen;
    }
    /// Who is within this share of the tie band of the fastest, which is among them.
    std::vector<size_t> within_tie(double share) const {
        size_t most = 0;
        for (size_t i = 0; i < candidates_.size(); ++i) {
            most = std::isfinite(best_of(i)) ? std::max(most, result_.samples[i].size()) : most;
        }
        // One lucky sample of somebody who left early is neither a win nor a tie.
        std::vector<size_t> finalists;
        double best = std::numeric_limits<double>::infinity(), noise = 0.0;  // of the fastest
        for (size_t i = 0; i < candidates_.size(); ++i) {
            if (!std::isfinite(best_of(i)) || result_.samples[i].size() < std::min(options_.least_samples, most)) {
                continue;
            }
            finalists.push_back(i);
            if (best_of(i) <= best) {
                best = best_of(i);
                noise = noise_of(result_.samples[i]);
            }
        }
        const auto is_apart = [&](size_t i) {
            const double tie = std::max({options_.tie, noise, noise_of(result_.samples[i])});
            return best_of(i) > (1.0 + share * tie) * best;
        };
        finalists.erase(std::remove_if(finalists.begin(), finalists.end(), is_apart), finalists.end());
        return finalists;
    }
    bool better(size_t a, size_t b) const {
        const SearchCandidate &x = candidates_[a], &y = candidates_[b];
        if (x.workspace != y.workspace) {
            return x.workspace < y.workspace;
        }
        return x.incumbent != y.incumbent ? x.incumbent : best_of(a) < best_of(b);
    }

    const std::vector<SearchCandidate> &candidates_;
    const SearchOptions &options_;
    const Cost &cost_;
    std::mt19937_64 random_;
    const double start_;
    double limit_;        ///< seconds of what is under way; 0: none
    bool over_ = false, cut_ = false;  ///< what is under way is; the search before the confirmation was
    int incumbent_ = -1;  ///< -1: none
    std::set<std::string> slow_groups_;  ///< one of each was too slow to be timed
    SearchResult result_;
};

/// Whether every block says the same of each contender and the last one: faster by more than the tie, slower by more, or neither.
bool agree(const std::vector<std::vector<double>> &lows, double tie) {
    const std::vector<double> &last = lows.back();
    const auto verdict = [&](double seconds, double other) { return seconds * (1.0 + tie) < other ? 1 : seconds > other * (1.0 + tie) ? -1 : 0; };
    return std::all_of(lows.begin(), lows.end(), [&](const std::vector<double> &own) {
        for (size_t block = 1; block < own.size(); ++block) {
            if (verdict(own[block], last[block]) != verdict(own[0], last[0])) {
                return false;
            }
        }
        return true;
    });
}

}  // namespace

SearchResult find_fastest(const std::vector<SearchCandidate> &candidates, const SearchOptions &options, const Cost &cost) {
    return Search(candidates, options, cost).run();
}

SearchResult find_winner(const std::vector<SearchCandidate> &candidates, const SearchOptions &options, const ConfirmOptions &confirm_options, const Cost &cost) {
    return Search(candidates, options, cost).run_confirmed(confirm_options);
}

double low_decile(std::vector<double> samples) {
    const auto place = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 10);
    std::nth_element(samples.begin(), place, samples.end());
    return *place;
}

std::array<double, 2> half_minima(const std::vector<double> &samples) {
    std::array<double, 2> least = {samples.front(), samples.size() > 1 ? samples[1] : samples.front()};
    for (size_t i = 0; i < samples.size(); ++i) {
        least[i % 2] = std::min(least[i % 2], samples[i]);
    }
    return least;
}

double split_half_noise(const std::array<double, 2> &halves) {
    return std::min(0.05, std::max(halves[0], halves[1]) / std::min(halves[0], halves[1]) - 1.0);
}

PlayOff play_off(const std::vector<size_t> &contenders, const ConfirmOptions &options, const Cost &cost) {
    const size_t count = contenders.size();
    PlayOff result;
    result.samples.resize(count);
    result.lows.resize(count);
    const auto now = [&] { return options.clock ? options.clock() : 0.0; };
    const auto stopped = [&] { return options.stopped && options.stopped(); };
    const double start = now();
    // Who meets several rivals has as many samples as who meets one.
    const double block_seconds = options.block_seconds * static_cast<double>(count), more_seconds = options.more_seconds * static_cast<double>(count);
    // False where it was stopped, is out of budget, or failed.
    const auto sample = [&](size_t i, double &seconds) {
        if (stopped() || (options.budget > 0 && now() - start >= options.budget)) {
            return false;
        }
        seconds = cost(i);
        const bool fails = !(seconds >= 0.0) || !std::isfinite(seconds);
        if (fails && !stopped()) {
            result.failed = static_cast<int>(i);
        }
        return !fails;
    };
    const auto goes_on = [&](int block) {
        return block < options.blocks || (block < options.blocks + options.more_blocks && now() - start < more_seconds && !agree(result.lows, options.tie));
    };
    for (int block = 0; goes_on(block); ++block) {
        if (options.refresh) {
            options.refresh();
        }
        const double begin = now();
        std::vector<std::vector<double>> block_samples(count);
        for (int round = 0; round < options.pairs; ++round) {
            if (round >= options.least_pairs && block_seconds > 0 && now() - begin > block_seconds) {
                break;
            }
            std::vector<double> seconds(count);
            for (size_t turn = 0; turn < count; ++turn) {
                const size_t i = (static_cast<size_t>(block + round) + turn) % count;
                if (!sample(contenders[i], seconds[i])) {
                    return result;
                }
            }
            for (size_t i = 0; i < count; ++i) {
                result.samples[i].push_back(seconds[i]);
                block_samples[i].push_back(seconds[i]);
            }
        }
        for (size_t i = 0; i < count; ++i) {
            result.lows[i].push_back(low_decile(block_samples[i]));
        }
    }
    result.complete = true;
    return result;
}

Confirmation confirm(size_t challenger, size_t incumbent, const ConfirmOptions &options, const Cost &cost) {
    PlayOff play = play_off({challenger, incumbent}, options, cost);
    std::vector<std::array<double, 2>> blocks;
    for (size_t block = 0; block < play.lows[0].size(); ++block) {
        blocks.push_back({play.lows[0][block], play.lows[1][block]});
    }
    return {play.complete && confirmed(blocks, options.tie), play.complete, play.failed, std::move(play.samples[0]), std::move(play.samples[1])};
}

bool confirmed(const std::vector<std::array<double, 2>> &blocks, double tie) {
    std::vector<double> gains;
    for (const auto &[challenger, incumbent] : blocks) {
        gains.push_back(incumbent / challenger);
    }
    std::sort(gains.begin(), gains.end());
    const size_t excused = gains.size() >= 6 ? 1 : 0;
    return !gains.empty() && gains[(gains.size() - 1) / 2] > 1.0 + tie && gains[excused] >= 1.0;
}

double mann_whitney(const std::vector<double> &a, const std::vector<double> &b) {
    if (a.size() < 3 || b.size() < 3) {
        return 1.0;
    }
    std::vector<std::pair<double, int>> all;
    for (double v : a) {
        all.emplace_back(v, 0);
    }
    for (double v : b) {
        all.emplace_back(v, 1);
    }
    std::sort(all.begin(), all.end());
    const double n = static_cast<double>(a.size()), m = static_cast<double>(b.size()), total = n + m;
    double ranks = 0.0, ties = 0.0;
    for (size_t i = 0; i < all.size();) {
        size_t end = i;
        while (end < all.size() && all[end].first == all[i].first) {
            ++end;
        }
        const double count = static_cast<double>(end - i), rank = (static_cast<double>(i + end) + 1) / 2;
        for (; i < end; ++i) {
            ranks += all[i].second == 0 ? rank : 0.0;
        }
        ties += count * count * count - count;
    }
    const double u = ranks - n * (n + 1) / 2;
    const double variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)));
    if (variance <= 0.0) {
        return 1.0;
    }
    const double z = std::max(0.0, std::fabs(u - n * m / 2) - 0.5) / std::sqrt(variance);
    return std::erfc(z / std::sqrt(2.0));
}

}  // namespace fourfold::cli
