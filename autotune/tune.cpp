// fourfold tune: measures plans of many problems in other processes, and records what is fastest.
#include "tune.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "bad.h"
#include "bundle.h"
#include "clock.h"
#include "commands.h"
#include "files.h"
#include "fourfold/tuning.h"
#include "judged_field.h"
#include "machine_limits.h"
#include "measure.h"
#include "own_process.h"
#include "progress.h"
#include "records.h"
#include "search.h"
#include "shapes.h"
#include "spectral_candidates.h"
#include "table.h"
#include "tables.h"
#include "text.h"

namespace fourfold::cli {
namespace {

/// "90", "90s", "10m", "2h" as seconds.
Result<double> parse_duration(const std::string &text) {
    char *end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const std::string unit(end == nullptr ? "" : end);
    const double factor = unit.empty() || unit == "s" ? 1.0 : unit == "m" ? 60.0
                                                          : unit == "h"   ? 3600.0
                                                                          : 0.0;
    if (end == text.c_str() || factor == 0.0 || !(value > 0.0) || value > 1e6) {
        return bad(fmt::format("--budget is '{}'; expected a time such as 90s, 10m or 2h", text));
    }
    return value * factor;
}

/// What it is tuned as.
Record record_of(const Shape &shape, const PlanOptions &options, const std::string &choice) {
    return shape.spectral ? make_record(*shape.spectral, options, choice) : make_record(shape.problem, options, choice);
}

/// The journal tells plans of different limits apart by their bytes, so that runs with different limits share samples.
std::string journal_key(Record r) {
    r.workspace_limit = kNoWorkspaceLimit;
    return record_key(r);
}

/// A spectral product's choice as tables have it.
std::string spectral_choice(const std::string &variant) {
    return std::string(kSpectralKind) + " " + variant;
}

Result<std::vector<Candidate>> candidates_of(const Shape &shape, const PlanOptions &options) {
    if (!shape.spectral) {
        return list_choices(tuning_problem(shape.problem), options);
    }
    std::vector<Candidate> list;
    for (const SpectralCandidate &c : spectral_candidates(*shape.spectral)) {
        const Result<SpectralPlan> plan = SpectralPlan::create(*shape.spectral, {options.threads, c.variant});
        if (!plan) {
            return plan.status();
        }
        Candidate candidate;
        candidate.choice = spectral_choice(c.variant);
        candidate.predicted_seconds = candidate.corrected_seconds = c.predicted;
        candidate.workspace_bytes = plan->workspace_bytes();
        candidate.packed_filter_bytes = plan->packed_filter_bytes();
        list.push_back(std::move(candidate));
    }
    return list;
}

/// About how many seconds a problem takes: each candidate a process, and some 30 runs of the best. Of 151 problems 136 took within a
/// factor of three of it, counting the candidates that were tried (2026-12-01).
double tuning_seconds(const Shape &shape, const PlanOptions &options, double hopeless) {
    const Result<std::vector<Candidate>> list = candidates_of(shape, options);
    double best = std::numeric_limits<double>::infinity();
    for (size_t i = 0; list && i < list->size(); ++i) {
        best = std::min(best, (*list)[i].corrected_seconds);
    }
    double candidates = 0.0;
    for (size_t i = 0; list && i < list->size(); ++i) {
        candidates += (*list)[i].corrected_seconds <= hopeless * best ? 1.0 : 0.0;
    }
    return 1.0 + (candidates > 0.0 ? candidates * (0.15 + 30.0 * best) : 0.0);
}

/// What is chosen without this run; empty where nothing can do the problem.
std::string incumbent_of(const Shape &shape, const PlanOptions &options) {
    if (!shape.spectral) {
        const Result<Plan> plan = Plan::create(tuning_problem(shape.problem), options);
        return plan ? plan->choice() : "";
    }
    const Result<SpectralPlan> plan = SpectralPlan::create(*shape.spectral, {options.threads, ""});
    return plan ? spectral_choice(plan->variant()) : "";
}

/// Bytes of the plan that a choice makes; nothing where it needs more than the limit, or cannot do the problem.
std::optional<size_t> workspace_of(const Shape &shape, PlanOptions options, size_t limit, const std::string &choice) {
    if (shape.spectral) {
        const Result<SpectralPlan> plan = SpectralPlan::create(*shape.spectral, {options.threads, std::string(split_choice(choice).second)});
        return plan && plan->workspace_bytes() <= limit ? std::optional<size_t>(plan->workspace_bytes()) : std::nullopt;
    }
    options.workspace_limit = limit;
    options.choice = choice;
    const Result<Plan> plan = Plan::create(tuning_problem(shape.problem), options);
    return plan ? std::optional<size_t>(plan->workspace_bytes()) : std::nullopt;
}

/// `incumbent`: its choice. `fastest`: seconds of what an earlier run sampled; 0: nothing.
JudgedField field_of(const Shape &shape, const PlanOptions &options, const TuneFlags &flags, const std::vector<Candidate> &candidates, const std::string &incumbent = "", double fastest = 0.0) {
    std::vector<JudgedField::Member> members;
    for (const Candidate &c : candidates) {
        members.push_back({c.algorithm, c.choice, c.predicted_seconds, static_cast<double>(c.packed_filter_bytes) + static_cast<double>(c.workspace_bytes), c.choice == incumbent});
    }
    JudgedField::Options field;
    field.device = options.device;
    field.threads = options.threads;
    field.seed = flags.seed;
    field.ready_seconds = flags.candidate_seconds;
    field.cold = options.cache == CacheState::kCold;
    field.check_all_below_flops = 0.0;
    field.workspace_limit = options.workspace_limit;
    field.fastest = fastest;
    return shape.spectral ? JudgedField(*shape.spectral, members, field) : JudgedField(tuning_problem(shape.problem), members, field);
}

double least(const std::vector<double> &samples) {
    return *std::min_element(samples.begin(), samples.end());
}

/// Bytes of packed filters that take long to make: a whole plane's FFT of 512 x 512 channels at 28 x 28, over 800 MB, took 6 s.
constexpr size_t kCostly = size_t{64} << 20;

/// What one problem's tuning came to.
struct Outcome {
    std::string name, winner, incumbent;
    double seconds = 0.0, incumbent_seconds = 0.0;
    int sampled = 0, failed = 0;
    std::map<std::string, int> failures;
    bool finished = false;
    bool cut = false;  ///< by the budget, before the search or the confirmation was through
};

class Tuner {
public:
    Tuner(const TuneFlags &flags, PlanOptions options, double budget, std::string text)
        : flags_(flags), options_(std::move(options)), budget_(budget), header_(std::move(text)), isa_(machine_name(options_.device).isa), journal_(flags.out + ".journal"), start_(now()) {
    }

    Status run(const std::vector<Shape> &shapes) {
        Status status = begin(shapes);
        if (!status) {
            return status;
        }
        double left = 0.0;
        for (const Todo &todo : todo_) {
            left += todo.seconds;
        }
        bool all = true;
        {
            Progress progress(left, static_cast<int>(todo_.size()), budget_ > 0 ? budget_ - (now() - start_) : 0.0);
            for (const Todo &todo : todo_) {
                const Shape &shape = todo.shape;
                progress.begin(shape.name);
                const double share = todo.seconds / left;
                left -= todo.seconds;
                const double seconds = budget_ > 0 ? (budget_ - (now() - start_)) * share : 0.0;
                if (is_stopped() || (budget_ > 0 && seconds <= 0.0)) {
                    all = false;
                    break;
                }
                Outcome outcome;
                outcome.incumbent = todo.incumbent;
                status = tune(shape, seconds, progress, outcome);
                if (!status) {
                    return status;
                }
                all = all && outcome.finished;
                if (outcome.finished) {
                    outcomes_.push_back(std::move(outcome));
                }
                progress.advance(todo.seconds);
            }
        }
        summarize();
        print_gain();
        if (all) {
            std::error_code ignored;
            std::filesystem::remove(journal_.path(), ignored);
        }
        if (is_stopped()) {
            return {StatusCode::kInternal, "interrupted; continue with --resume"};
        }
        if (const auto cut = std::count_if(outcomes_.begin(), outcomes_.end(), [](const Outcome &o) { return o.cut; }); cut > 0) {
            fmt::print("{} problems were cut short by the budget; without --resume more time may find better\n", cut);
        }
        fmt::print("{}: {} of {} problems in {}{}\n", flags_.out, outcomes_.size() + skipped_, shapes.size(), duration_text(now() - start_), all ? "" : "; the budget is spent, continue with --resume");
        return {};
    }

private:
    struct Todo {
        Shape shape;
        std::string incumbent;  ///< what would be chosen without this run
        double seconds;         ///< tuning_seconds()
    };

    Status begin(const std::vector<Shape> &shapes) {
        if (Status status = check_writable(flags_.out); !status) {
            return status;
        }
        Result<FileLock> lock = FileLock::take(flags_.out + ".lock", "'" + flags_.out + "'");
        if (!lock) {
            return lock.status();
        }
        lock_.emplace(std::move(*lock));
        std::map<std::string, std::map<uint64_t, uint64_t>> winners;  // by the journal's key, then limit: bytes of the last winner
        if (std::filesystem::exists(flags_.out)) {
            const Result<std::vector<Record>> records = read_records(flags_.out);
            if (!records) {
                return records.status();
            }
            for (const Record &r : *records) {
                if (r.winner && is_current(r)) {
                    winners[journal_key(r)][r.workspace_limit] = r.workspace_bytes;
                }
            }
            // What is known already corrects predictions, and its winners are the incumbents.
            const Result<TableInfo> loaded = load_table(flags_.out);
            if (!loaded) {
                return loaded.status();
            }
            fmt::print("{}: {}\n", flags_.out, loaded->summary());
        }
        if (flags_.resume) {
            const Result<int> dropped = journal_.load();
            if (!dropped) {
                return dropped.status();
            }
            if (*dropped > 0) {
                fmt::print("{}: {} lines dropped, of variants whose code is another in this build or written by an earlier version\n", journal_.path(), *dropped);
            }
        } else {
            std::error_code ignored;
            std::filesystem::remove(journal_.path(), ignored);
        }
        for (const Shape &shape : shapes) {
            if (is_stopped()) {
                return {StatusCode::kInternal, "interrupted; continue with --resume"};
            }
            if (flags_.resume && is_tuned(winners[journal_key(record_of(shape, options_, ""))])) {
                ++skipped_;
            } else {
                todo_.push_back({shape, "", tuning_seconds(shape, options_, flags_.hopeless)});
                if (Status status = note_incumbent(todo_.back()); !status) {
                    return status;
                }
            }
        }
        // Short ones first: most of the gain is found early.
        std::stable_sort(todo_.begin(), todo_.end(), [](const Todo &a, const Todo &b) { return a.seconds < b.seconds; });
        fmt::print("{}\n{} problems to tune{}\n", header_, todo_.size(), skipped_ > 0 ? fmt::format(", {} tuned already", skipped_) : "");
        std::fflush(stdout);
        return {};
    }

    /// Whether the winner that decides within this run's limit is of all plans that this run would compare. `winners`: by their limits.
    bool is_tuned(const std::map<uint64_t, uint64_t> &winners) const {
        const uint64_t limit = recorded_limit(options_.workspace_limit);
        const auto decides = winners.lower_bound(limit);
        return decides != winners.end() && decides->second <= limit;
    }

    /// What is chosen before this run, or was before the one that this continues: what it learns must not look as if it had been known.
    /// That of a run with a narrower limit says nothing of what is chosen within this one; that of a wider one says it where it is the same plan.
    Status note_incumbent(Todo &todo) {
        const Shape &shape = todo.shape;
        const std::string key = journal_key(record_of(shape, options_, ""));
        const std::map<uint64_t, std::string> earlier = journal_.incumbents(key);
        for (auto at = earlier.lower_bound(options_.workspace_limit); at != earlier.end(); ++at) {
            const std::optional<size_t> here = workspace_of(shape, options_, options_.workspace_limit, at->second);
            if (here && here == workspace_of(shape, options_, at->first, at->second)) {
                todo.incumbent = at->second;
                return {};
            }
        }
        todo.incumbent = incumbent_of(shape, options_);
        return todo.incumbent.empty() ? Status() : journal_.begun(key, todo.incumbent, options_.workspace_limit);
    }

    /// What is chosen by itself need not be on the list: a relative's record may name a blocking that is not considered here.
    void add_incumbent(const Shape &shape, const std::string &incumbent, std::vector<Candidate> &list) const {
        if (shape.spectral || incumbent.empty() || std::any_of(list.begin(), list.end(), [&](const Candidate &c) { return c.choice == incumbent; })) {
            return;
        }
        PlanOptions named = options_;
        named.choice = incumbent;
        if (const Result<std::vector<Candidate>> all = explain(tuning_problem(shape.problem), named)) {
            std::copy_if(all->begin(), all->end(), std::back_inserter(list), [&](const Candidate &c) { return c.chosen && c.choice == incumbent; });
        }
    }

    Status tune(const Shape &shape, double seconds, Progress &progress, Outcome &outcome) {
        outcome.name = shape.name;
        Result<std::vector<Candidate>> candidates = candidates_of(shape, options_);
        if (!candidates) {
            return candidates.status();
        }
        add_incumbent(shape, outcome.incumbent, *candidates);
        if (outcome.incumbent.empty() || candidates->empty()) {
            outcome.finished = true;  // nothing to choose from; not worth ending everything
            return {};
        }
        const std::string key = journal_key(record_of(shape, options_, ""));
        std::vector<SearchCandidate> field;
        double best = 0.0;
        for (const Candidate &c : *candidates) {
            const Journal::Left left = journal_.left(key, c.choice, c.workspace_bytes);
            field.push_back({group_of(c), c.corrected_seconds, c.workspace_bytes, c.choice == outcome.incumbent, left.samples, !left.failure.empty(), left.failure == "timeout", options_.device == Device::kCpu && c.packed_filter_bytes > kCostly});
            best = left.samples.empty() ? best : best == 0.0 ? least(left.samples)
                                                             : std::min(best, least(left.samples));
        }
        JudgedField processes = field_of(shape, options_, flags_, *candidates, outcome.incumbent, best);
        if (!processes.ok()) {
            fmt::print(stderr, "{}: skipped, memory ran out\n", shape.name);
            outcome.finished = true;
            return {};
        }
        std::map<size_t, Failure> failures;
        Status written;
        SearchOptions search_options;
        search_options.clock = now;
        search_options.stopped = [&] { return is_stopped() || !written; };
        search_options.expect = [&](const std::vector<size_t> &next) { processes.expect(next); };
        search_options.budget = seconds;
        search_options.trials = flags_.trials;
        search_options.patience = flags_.patience;
        search_options.far_behind = kFarBehind;
        search_options.short_sample = kSampleSeconds;
        search_options.long_sample = kLongSeconds;
        search_options.stage_seconds = kStageSeconds;
        search_options.seed = flags_.seed;
        search_options.hopeless = flags_.hopeless;
        search_options.keep_group = std::max(search_options.keep_group, flags_.hopeless / 2);
        ConfirmOptions confirm_options;
        confirm_options.refresh = [&] { processes.refresh(); };
        const SearchResult found = find_winner(field, search_options, confirm_options, [&](size_t i) {
            double sample = -1.0;
            if (Failure failure = processes.sample(i, sample)) {
                if (failure.kind != "stopped") {
                    failures[i] = failure;
                    written = journal_.failure(key, (*candidates)[i].choice, (*candidates)[i].workspace_bytes, failure);
                }
                // Once another one has been timed: whoever is this slow is hardly alone in its group.
                if (failure.kind == "timeout" && best > 0.0) {
                    return std::numeric_limits<double>::infinity();
                }
                return -1.0;
            }
            written = journal_.sample(key, (*candidates)[i].choice, (*candidates)[i].workspace_bytes, sample);
            if (best == 0.0 || sample < best) {
                best = sample;
                progress.begin(fmt::format("{} {} ms {}", shape.name, milliseconds_text(best), split_choice((*candidates)[i].choice).first));
            } else {
                progress.tick();
            }
            return sample;
        });
        if (!written) {
            return written;
        }
        if (is_stopped()) {
            return {};
        }
        if (found.best < 0) {
            outcome.finished = found.complete;
            if (outcome.finished) {
                fmt::print(stderr, "{}: every candidate that was tried failed{}\n", shape.name, failures.empty() ? "" : ", the first: " + failures.begin()->second.text);
            }
            return {};
        }
        const size_t winner = static_cast<size_t>(found.best);
        const std::vector<std::vector<double>> &samples = found.samples;
        const auto own = std::find_if(field.begin(), field.end(), [](const SearchCandidate &c) { return c.incumbent; });
        const size_t old = static_cast<size_t>(own - field.begin());
        if (own != field.end() && !samples[old].empty()) {
            outcome.incumbent_seconds = least(samples[old]);
        }
        outcome.cut = !found.complete;
        outcome.winner = (*candidates)[winner].choice;
        outcome.seconds = least(samples[winner]);
        std::string lines;
        const double clock = options_.device == Device::kCpu ? measure_clock() : 0.0;  // a GPU has its own
        for (size_t i = 0; i < candidates->size(); ++i) {
            const Candidate &c = (*candidates)[i];
            Record r = record_of(shape, options_, c.choice);
            r.winner = i == winner;
            r.workspace_bytes = c.workspace_bytes;
            r.seconds_predicted = c.predicted_seconds;
            if (found.failed[i]) {
                r.failure = failures.count(i) != 0 ? failures[i].kind : journal_.left(key, c.choice, c.workspace_bytes).failure;
                outcome.failures[r.failure]++;
                lines += record_line(r, options_.device, clock);
            } else if (!samples[i].empty()) {
                r.seconds_min = least(samples[i]);
                r.seconds_median = median(samples[i]);
                r.halves = half_minima(samples[i]);
                r.samples = static_cast<int>(samples[i].size());
                lines += record_line(r, options_.device, clock);
                outcome.sampled++;
            }
        }
        Status status = append_lines(flags_.out, lines, true);
        status = status ? journal_.settled(key, outcome.winner, outcome.incumbent) : status;
        if (!status) {
            return status;
        }
        // What was learnt corrects the next predictions.
        const Result<TableInfo> learnt = load_table_text(flags_.out, header_line() + lines);
        outcome.finished = learnt.ok();
        return learnt.ok() ? Status() : learnt.status();
    }

    /// The algorithm and the form of it.
    std::string group_of(const Candidate &c) const {
        const auto [algorithm, rest] = split_choice(c.choice);
        const std::string words(rest);
        return std::string(algorithm) + " " + words.substr(0, words.find('_' + isa_));
    }

    void summarize() const {
        size_t name = 4;
        for (const Outcome &o : outcomes_) {
            name = std::max(name, o.name.size());
        }
        const Table table({{"name", static_cast<int>(name), true}, {"ms", 9}, {"before", 9}, {"gain", 5}, {"tried", 5}, {"failed", 6}, {"choice", 0, true}});
        if (!outcomes_.empty()) {
            fmt::print("{}", table.header());
        }
        double logs = 0.0;
        int count = 0;
        for (const Outcome &o : outcomes_) {
            if (o.winner.empty()) {
                continue;
            }
            const double gain = o.incumbent_seconds > 0 ? o.incumbent_seconds / o.seconds : 1.0;
            int failed = 0;
            for (const auto &[kind, n] : o.failures) {
                failed += n;
            }
            logs += std::log(gain);
            ++count;
            fmt::print("{}", table.row({o.name, milliseconds_text(o.seconds), o.incumbent_seconds > 0 ? milliseconds_text(o.incumbent_seconds) : "-", o.winner == o.incumbent ? "=" : fmt::format("{:.2f}", gain), std::to_string(o.sampled), failed > 0 ? std::to_string(failed) : "", o.winner}));
        }
        if (count > 0) {
            fmt::print("{:.3f} times the speed from before, geometric mean of {} problems\n", std::exp(logs / count), count);
        }
    }

    /// How much of the time the gain took, as the journal has it.
    void print_gain() const {
        const Result<std::vector<GainTrace>> traces = journal_.traces();
        if (!traces || total_gain(*traces) <= 0.0) {
            return;  // nobody has sampled, or nothing is faster
        }
        const double all = journal_.elapsed();
        std::string text;
        for (const double share : {0.25, 0.5, 0.75, 1.0}) {
            text += fmt::format("{}{:.0f} % in {}", text.empty() ? "" : ", ", 100 * gain_found(*traces, share * all), duration_text(share * all));
        }
        fmt::print("of that gain, in logarithms, had been found: {} (a quarter of the time, half, three quarters, all); {:.0f} % in the first 10 minutes\n", text, 100 * gain_found(*traces, 600.0));
    }

    const TuneFlags &flags_;
    const PlanOptions options_;
    const double budget_;
    const std::string header_, isa_;
    std::optional<FileLock> lock_;  ///< of the table and its journal
    Journal journal_;
    const double start_;
    std::vector<Todo> todo_;
    size_t skipped_ = 0;
    std::vector<Outcome> outcomes_;
};

/// What the table says of one problem.
struct Recorded {
    std::map<std::string, Record> usable;  ///< by choice
    std::optional<Record> winner;
};

/// Of the records that decide within a limit: those of the narrowest that is not narrower.
Recorded recorded_of(const std::vector<Record> &records, const std::string &key, uint64_t limit) {
    std::map<uint64_t, Recorded> by_limit;
    for (const Record &r : records) {
        if (journal_key(r) != key || r.workspace_limit < limit || !r.failure.empty()) {
            continue;
        }
        Recorded &found = by_limit[r.workspace_limit];
        if (is_current(r)) {
            found.usable[r.choice] = r;
        }
        if (r.winner) {
            found.winner = r;
        }
    }
    const auto decides = std::find_if(by_limit.begin(), by_limit.end(), [](const auto &entry) { return entry.second.winner.has_value(); });
    return decides != by_limit.end() ? decides->second : Recorded();
}

/// The winner, which is current, and the two that come after it.
std::vector<Record> with_rivals(const Recorded &recorded) {
    std::vector<Record> list;
    for (const auto &[choice, r] : recorded.usable) {
        if (choice != recorded.winner->choice) {
            list.push_back(r);
        }
    }
    std::sort(list.begin(), list.end(), [](const Record &a, const Record &b) { return a.seconds_min < b.seconds_min; });
    list.resize(std::min<size_t>(list.size(), 2));
    list.insert(list.begin(), *recorded.winner);
    return list;
}

/// The table's winners against the runners-up that it lists, measured again; nothing is written.
class Verifier {
public:
    Verifier(const TuneFlags &flags, const PlanOptions &options)
        : flags_(flags), options_(options) {
    }

    Status run(const std::vector<Shape> &shapes) {
        const Result<std::vector<Record>> records = read_records(flags_.out);
        if (!records) {
            return records.status();
        }
        fmt::print("{}", table_.header());
        for (const Shape &shape : shapes) {
            const Recorded recorded = recorded_of(*records, journal_key(record_of(shape, options_, "")), recorded_limit(options_.workspace_limit));
            if (recorded.winner && !is_stopped()) {
                verify(shape, recorded);
                std::fflush(stdout);
            }
        }
        fmt::print("{} records verified: {} slower than a rival by over 5 %, {} unusable; {} stale, of variants that this build does not have, not measured\n", verified_ + unusable_, slower_, unusable_, stale_);
        if (is_stopped()) {
            return {StatusCode::kInternal, "interrupted"};
        }
        if (verified_ + unusable_ + stale_ == 0) {
            return bad(fmt::format("'{}' has no winner of these problems for this machine, threads, accuracy, cache and workspace limit", flags_.out));
        }
        return slower_ + unusable_ + stale_ == 0 ? Status() : Status(StatusCode::kInternal, "the table is not what this machine and build measure; tune again");
    }

private:
    void verify(const Shape &shape, const Recorded &recorded) {
        const std::string problem = shape.text();
        if (!is_current(*recorded.winner)) {
            ++stale_;
            row("stale", 0.0, recorded, 0.0, problem);
            return;
        }
        std::vector<Candidate> candidates;
        for (const Record &r : with_rivals(recorded)) {
            Candidate c;
            if (!shape.spectral) {
                c.algorithm = *parse_algorithm(split_choice(r.choice).first);  // current records name algorithms
            }
            c.choice = r.choice;
            c.predicted_seconds = r.seconds_min;
            candidates.push_back(c);
        }
        std::vector<double> best(candidates.size(), 0.0);
        if (Failure failure = measure(shape, candidates, best)) {
            if (failure.kind != "stopped") {
                ++unusable_;
                row(failure.kind, 0.0, recorded, 0.0, problem + ": " + failure.text);
            }
            return;
        }
        double rival = 0.0;
        for (size_t i = 1; i < best.size(); ++i) {
            rival = best[i] > 0.0 && (rival == 0.0 || best[i] < rival) ? best[i] : rival;
        }
        const bool is_slower = rival > 0.0 && best[0] > 1.05 * rival;
        slower_ += is_slower;
        ++verified_;
        row(is_slower ? "slower" : "ok", best[0], recorded, rival, problem);
    }

    /// The least of ten samples of each, or how the first failed, which is the winner; a rival that fails proves nothing, and its
    /// least is 0.
    Failure measure(const Shape &shape, const std::vector<Candidate> &candidates, std::vector<double> &best) const {
        JudgedField field = field_of(shape, options_, flags_, candidates);
        if (!field.ok()) {
            return {"refused", "memory ran out"};
        }
        std::vector<bool> failed(candidates.size(), false);
        for (int round = 0; round < 10; ++round) {
            for (size_t i = 0; i < candidates.size(); ++i) {
                double seconds = 0.0;
                const Failure failure = failed[i] ? Failure() : field.sample(i, seconds);
                if (failure && (i == 0 || failure.kind == "stopped")) {
                    return failure;
                }
                failed[i] = failed[i] || failure;
                best[i] = failed[i] ? 0.0 : best[i] == 0.0 ? seconds
                                                           : std::min(best[i], seconds);
            }
        }
        return {};
    }

    void row(const std::string &verdict, double seconds, const Recorded &recorded, double rival, const std::string &problem) const {
        const auto text = [](double s) { return s > 0.0 ? milliseconds_text(s) : "-"; };
        fmt::print("{}", table_.row({verdict, text(seconds), text(recorded.winner->seconds_min), text(rival), problem}));
    }

    const TuneFlags &flags_;
    const PlanOptions &options_;
    const Table table_{{{"verdict", 8, true}, {"ms", 9}, {"recorded", 9}, {"rival ms", 9}, {"problem", 0, true}}};
    int slower_ = 0, unusable_ = 0, verified_ = 0, stale_ = 0;
};

/// The problems that the flags ask for, each once.
Result<std::vector<Shape>> collect_problems(const TuneFlags &flags) {
    std::vector<Shape> named;
    for (const std::string &file : flags.shapes) {
        const Result<std::vector<Shape>> read = read_shapes(file, SpectralLines::kTaken);
        if (!read) {
            return read.status();
        }
        named.insert(named.end(), read->begin(), read->end());
    }
    for (const std::string &text : flags.problems) {
        if (is_spectral(text)) {
            const Result<SpectralProblem> spectral = parse_valid_spectral(text);
            if (!spectral) {
                return spectral.status();
            }
            named.push_back({spectral->to_string(), Conv2dProblem(), *spectral});
            continue;
        }
        const Result<Conv2dProblem> problem = parse_valid_problem(text);
        if (!problem) {
            return problem.status();
        }
        named.push_back({problem->to_string(), *problem});
    }
    const Result<std::vector<Shape>> varied = vary(named, flags.operations, flags.layouts);
    if (!varied) {
        return varied.status();
    }
    std::vector<Shape> shapes;
    std::set<std::string> seen;
    for (const Shape &shape : *varied) {
        if (seen.insert(shape.text()).second) {
            shapes.push_back(shape);
        }
    }
    return shapes;
}

/// What a spectral product's plan has no options for.
Status check_spectral(const std::vector<Shape> &shapes, const TuneFlags &flags, bool bundle) {
    const auto spectral = std::find_if(shapes.begin(), shapes.end(), [](const Shape &s) { return s.spectral.has_value(); });
    if (spectral == shapes.end()) {
        return {};
    }
    const std::string name = "'" + spectral->text() + "'";
    if (bundle || flags.device != "cpu") {
        return {StatusCode::kUnsupported, fmt::format("{} runs on the CPU alone, not on device '{}'", name, flags.device)};
    }
    if (flags.cold || flags.accuracy != "default" || !flags.workspace_max.empty()) {
        const std::string useless = flags.cold ? "--cold" : flags.accuracy != "default" ? "--accuracy " + flags.accuracy
                                                                                        : "--workspace-max " + flags.workspace_max;
        return bad(fmt::format("{} is tuned with warm caches, the default accuracy and all the workspace that it needs: it has no use for {}", name, useless));
    }
    return {};
}

/// Who measures, in words.
std::string header_of(const PlanOptions &options) {
    const MachineName name = machine_name(options.device);
    if (const Result<DeviceInfo> gpu = device_info(options.device)) {
        return fmt::format("{}, {} ({}, {}), accuracy {}", gpu->name, gpu->driver, name.microarchitecture, name.isa, to_string(options.accuracy));
    }
    std::string text = fmt::format("{} ({}, {}), {} thread{}, accuracy {}, {} cache", machine().cpu, name.microarchitecture, name.isa, options.threads, options.threads == 1 ? "" : "s", to_string(options.accuracy), to_string(options.cache));
    double load = 0.0;
    if (::getloadavg(&load, 1) == 1 && load > 0.5 * machine().hardware_threads) {
        text += fmt::format("; load {:.1f}: other work will spoil the times", load);
    }
    return text;
}

}  // namespace

constexpr const char *kSearchFlags[] = {"--budget", "--trials", "--patience", "--hopeless", "--candidate-timeout", "--seed"};

CLI::Option *search_option(CLI::App &verb, const std::string &name) {
    const bool known = std::find(std::begin(kSearchFlags), std::end(kSearchFlags), name) != std::end(kSearchFlags);
    return known ? verb.get_option_no_throw(name) : nullptr;
}

Result<std::map<std::string, std::string>> given_search_flags(CLI::App &verb, const TuneFlags &flags) {
    if (const Result<double> seconds = parse_duration(flags.budget); !flags.budget.empty() && !seconds) {
        return seconds.status();
    }
    std::map<std::string, std::string> given;
    for (const char *name : kSearchFlags) {
        if (const CLI::Option *const option = search_option(verb, name); option->count() > 0) {
            given[name] = option->results().back();
        }
    }
    return given;
}

void add_search_flags(CLI::App &verb, TuneFlags &flags) {
    verb.add_option("--budget", flags.budget, "time for all problems together: 90s, 10m, 2h (default: none); a quarter of it is for confirming new winners, and what is not confirmed in time changes nothing");
    verb.add_option("--trials", flags.trials, "at most so many candidates a problem are tried, the incumbent and those that fail included (0: all that are not hopeless)")->check(CLI::Range(0, 100000));
    verb.add_option("--patience", flags.patience, "bring in no more candidates of a problem after so many in a row that did not lead (0: never)")->check(CLI::Range(0, 100000));
    verb.add_option("--hopeless", flags.hopeless, "candidates predicted so many times slower than the best are not tried")->check(CLI::Range(1.0, 1e9))->capture_default_str();
    verb.add_option("--candidate-timeout", flags.candidate_seconds, "seconds until a candidate must be ready; once another one has been timed 15 seconds and 20 times its time are enough, if that is less, but for the incumbent")->check(CLI::Range(0.1, 3600.0))->capture_default_str();
    verb.add_option("--seed", flags.seed, "of data and random orders")->capture_default_str();
}

Result<PlanOptions> tuning_options(const TuneFlags &flags) {
    PlanOptions options;
    const Result<Device> device = parse_device(flags.device);
    if (!device) {
        return device.status();
    }
    options.device = *device;
    const bool gpu = *device != Device::kCpu;
    if (gpu && flags.threads != 1) {
        return bad(fmt::format("--threads {} is for the CPU; device '{}' has no threads to choose for", flags.threads, flags.device));
    }
    if (gpu && flags.cold) {
        return bad(fmt::format("--cold evicts the CPU's caches; on device '{}' every run reads other copies of the images as it is", flags.device));
    }
    const Result<Accuracy> accuracy = parse_accuracy(flags.accuracy);
    if (!accuracy) {
        return accuracy.status();
    }
    options.accuracy = *accuracy;
    options.threads = flags.threads == 0 ? machine().hardware_threads : flags.threads;
    options.choose_for_threads = !gpu;
    options.cache = flags.cold ? CacheState::kCold : CacheState::kWarm;
    if (!flags.workspace_max.empty()) {
        const Result<size_t> limit = parse_bytes(flags.workspace_max);
        if (!limit) {
            return bad("--workspace-max: " + limit.status().message());
        }
        options.workspace_limit = *limit;
    }
    return options;
}

Status tune_shapes(const std::vector<Shape> &shapes, const TuneFlags &flags) {
    double budget = 0.0;
    if (!flags.budget.empty()) {
        const Result<double> seconds = parse_duration(flags.budget);
        if (!seconds) {
            return seconds.status();
        }
        budget = *seconds;
    }
    const Result<PlanOptions> options = tuning_options(flags);
    if (!options) {
        return options.status();
    }
    if (options->device != Device::kCpu) {
        if (const Result<DeviceInfo> gpu = device_info(options->device); !gpu) {
            return gpu.status();
        }
    }
    ignore_environment(false);
    stop_on_signals();
    if (flags.verify_only) {
        return Verifier(flags, *options).run(shapes);
    }
    return Tuner(flags, *options, budget, header_of(*options)).run(shapes);
}

Action add_tune(CLI::App &verb) {
    struct Flags : TuneFlags {
        std::string bundle;
        std::vector<std::string> results;
    };
    auto flags = std::make_shared<Flags>();
    CLI::Option *shapes = verb.add_option("--shapes", flags->shapes, "files of problems (may be given several times)");
    CLI::Option *problems = verb.add_option("--problem", flags->problems, "problems in the one-line form, spectral products too");
    verb.add_option("--operation", flags->operations, "each problem as these operations instead of its own: fwd, bwd-data, bwd-filters, unfold, fold")->delimiter(',');
    verb.add_option("--layout", flags->layouts, "each problem in these layouts instead of its own: nchw, nhwc")->delimiter(',');
    CLI::Option *out = verb.add_option("--out", flags->out, "the table: made, or added to; what it knows already is where the search begins. A folder: the table there that is called after the machine");
    verb.add_option("--device", flags->device, "cpu, cuda or opencl; cuda:1 is the second GPU. A GPU's records are known by its model")->capture_default_str();
    add_search_flags(verb, *flags);
    verb.add_option("--workspace-max", flags->workspace_max, "plans within so many bytes of workspace, the incumbent's too: 65536, 64K, 1.5G; with --resume a problem whose winner needs more is tuned again. Such records decide for plans with this limit or a narrower one, not for others");
    verb.add_option("--threads", flags->threads, "tune for so many threads; 0 is one per hardware thread")->check(CLI::Range(0, 4096))->capture_default_str();
    verb.add_option("--accuracy", flags->accuracy, "strict, default or relaxed")->capture_default_str();
    verb.add_flag("--cold", flags->cold, "caches evicted before each sample: records of their own");
    CLI::Option *resume = verb.add_flag("--resume", flags->resume, "continue what was interrupted: problems with a winner are left out, samples taken are kept");
    CLI::Option *verify = verb.add_flag("--verify-only", flags->verify_only, "measure the table's winners and runners-up again; write nothing")->excludes(resume);
    CLI::Option *bundle = verb.add_option("--export-bundle", flags->bundle, "measure nothing: pack the problems and this program into a new folder, for a machine that has the GPU and not this build (fourfold measure); --budget and its like are what measure uses unless it is given others")->excludes(resume)->excludes(verify)->excludes(out);
    CLI::Option *import = verb.add_option("--import", flags->results, "measure nothing: add these results of bundles to the table")->excludes(shapes)->excludes(problems)->excludes(bundle)->excludes(resume)->excludes(verify);
    verb.footer("Each candidate first runs in a process of its own (several at once where processors are idle, but never while another is timed) and is checked against the reference; those that pass are timed beside each other in another one. A new winner replaces the incumbent only when it proves faster in fresh processes; where the incumbent fails, it must do well in one.");
    return [flags, shapes, problems, bundle, import, out, &verb] {
        if (bundle->count() == 0 && flags->out.empty()) {
            return bad("--out is required; see fourfold tune --help");
        }
        if (import->count() > 0) {
            for (const CLI::Option *option : verb.get_options()) {
                if (option->count() > 0 && option != import && option != out) {
                    const std::string value = option->get_expected_max() > 0 ? " " + option->results().back() : "";
                    return bad(fmt::format("--import measures nothing, and takes records as they are: it has no use for {}{}", option->get_name(), value));
                }
            }
            return import_results(flags->results, flags->out);
        }
        if (shapes->count() + problems->count() == 0) {
            return bad("tune needs --shapes or --problem; see fourfold tune --help");
        }
        const Result<std::vector<Shape>> list = collect_problems(*flags);
        if (!list) {
            return list.status();
        }
        if (Status status = check_spectral(*list, *flags, bundle->count() > 0); !status) {
            return status;
        }
        if (bundle->count() > 0) {
            const Result<std::map<std::string, std::string>> search = given_search_flags(verb, *flags);
            return search ? export_bundle(flags->bundle, *list, *flags, *search) : search.status();
        }
        const Result<Device> device = parse_device(flags->device);
        flags->out = device ? table_path(flags->out, machine_name(*device).microarchitecture) : flags->out;
        return tune_shapes(*list, *flags);
    };
}

}  // namespace fourfold::cli
