// fourfold report: the efficiency (best time / chosen time) of what is chosen, beside simpler rules, from tables alone.
//
// Who picks the least of many noisy times gets a lucky one. So the best is picked by one half of the samples and judged, like the
// choice, by the other, both ways; and the noise floor, the same thing measured twice, stands beside the result. Choices and
// times may also come from two tunes, which shared nothing.
#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <fmt/format.h>

#include "assumed_machine.h"
#include "bad.h"
#include "commands.h"
#include "fourfold/tuning.h"
#include "records.h"
#include "search.h"
#include "shapes.h"
#include "single_channel.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

struct Times {
    double least = 0.0;
    int samples = 0;
    std::array<double, 2> halves = {0.0, 0.0};  ///< 0 where there is no second sample

    /// By one half where there are two.
    double by(size_t half) const {
        return halves[half] > 0.0 ? halves[half] : least;
    }
    double noise() const {
        return halves[0] > 0.0 ? split_half_noise(halves) : 0.0;
    }
};

struct Problem {
    std::string name, family, key;
    Conv2dProblem problem;
    std::map<std::string, Times> times;  ///< of each measured choice
    std::string winner;

    double best() const {
        double best = 0.0;
        for (const auto &[choice, t] : times) {
            best = best == 0.0 || t.least < best ? t.least : best;
        }
        return best;
    }
    /// The fastest by one half of the samples. Those who left early have no halves, and no luck.
    const Times &picked(size_t half) const {
        const Times *best = &times.begin()->second;
        for (const auto &[choice, t] : times) {
            const bool halved = t.halves[0] > 0.0, better = t.by(half) < best->by(half);
            best = (best->halves[0] > 0.0) == halved ? (better ? &t : best) : halved ? &t
                                                                                     : best;
        }
        return *best;
    }
    /// Best over chosen time, picked and judged by different halves.
    double efficiency(const Times &chosen) const {
        return std::sqrt(picked(0).by(1) / chosen.by(1) * (picked(1).by(0) / chosen.by(0)));
    }
};

/// The same of problems that have the same plans: in NHWC images of one channel are as in NCHW.
std::string planned_as(const Conv2dProblem &problem) {
    return in_nchw_if_same(problem).to_string();
}

/// "resnet50" of "resnet50_2_3x3"; of a problem without a name what it is planned as: a family of its own.
std::string family_of(const std::string &name, const Conv2dProblem &problem) {
    return name.find(' ') != std::string::npos ? planned_as(problem) : name.substr(0, name.find('_'));
}

/// One rule's choices.
struct Policy {
    std::string name;
    std::vector<double> efficiency = {};  ///< of each problem
    std::vector<std::string> choices = {};  ///< of each problem, as chosen() found them; empty: no plan
    std::map<std::string, int> tiers = {};
    int unmeasured = 0;              ///< choices that have no time, and count as the worst that has
};

double quantile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1) + 0.5)];
}

double geomean(const std::vector<double> &values) {
    double logs = 0.0;
    for (double v : values) {
        logs += std::log(v);
    }
    return std::exp(logs / static_cast<double>(values.size()));
}

class Evaluation {
public:
    Evaluation(std::vector<Problem> problems, PlanOptions options)
        : problems_(std::move(problems)), options_(std::move(options)) {
    }

    /// The efficiency of a choice: what was not measured, since it was predicted hopeless or refused, counts as the worst that was.
    static double efficiency(Policy &policy, const Problem &p, const std::string &choice) {
        const auto at = p.times.find(choice);
        if (at != p.times.end()) {
            return p.efficiency(at->second);
        }
        policy.unmeasured++;
        const auto worst = std::max_element(p.times.begin(), p.times.end(), [](const auto &a, const auto &b) { return a.second.least < b.second.least; });
        return p.efficiency(worst->second);
    }

    Policy chosen(const std::string &name) const {
        Policy policy{name};
        for (const Problem &p : problems_) {
            policy.choices.push_back(choose(policy, p));
            policy.efficiency.push_back(judge(policy, p, policy.choices.back()));
        }
        return policy;
    }
    /// With all records of the problem's family left out, whatever their threads, caches, accuracy and name of the layout. A problem without a name is held
    /// out by itself, while its neighbours stay.
    Policy held_out(const std::vector<Record> &records) const {
        std::map<std::string, std::set<std::string>> families;
        for (const Problem &p : problems_) {
            families[p.family].insert(planned_as(p.problem));
        }
        Policy policy{families.size() < problems_.size() ? fmt::format("held out by family: {} families", families.size()) : "held out one by one: no two of a family, as --shapes names them"};
        policy.efficiency.assign(problems_.size(), 0.01);
        for (const auto &[family, own] : families) {
            std::string text = header_line();
            for (const Record &r : records) {
                text += own.count(planned_as(r.problem)) == 0 ? record_line(r) : "";
            }
            unload_tables(false);
            if (!load_table_text("held out", text)) {
                continue;
            }
            for (size_t i = 0; i < problems_.size(); ++i) {
                if (problems_[i].family == family) {
                    policy.efficiency[i] = judge(policy, problems_[i], choose(policy, problems_[i]));
                }
            }
        }
        return policy;
    }
    /// The first algorithm of the order that can do the problem, with the schedule that the bare cost model likes best.
    Policy fixed_order(const std::vector<std::string> &order) const {
        Policy policy{fmt::format("fixed order, the best for these: {}", fmt::join(order, ", "))};
        unload_tables(false);
        for (const Problem &p : problems_) {
            double efficiency = 0.01;  // none can
            for (const std::string &algorithm : order) {
                PlanOptions one = options_;
                one.algorithm = *parse_algorithm(algorithm);
                if (const Result<Plan> plan = Plan::create(p.problem, one)) {
                    efficiency = Evaluation::efficiency(policy, p, plan->choice());
                    break;
                }
            }
            policy.efficiency.push_back(efficiency);
        }
        return policy;
    }
    /// The order of algorithms that is best on these very problems, of all there are.
    Policy best_fixed_order() const {
        std::vector<std::string> order = {"direct", "fft", "fft_tiled", "im2col", "winograd"};
        Policy best;
        do {
            Policy policy = fixed_order(order);
            if (best.efficiency.empty() || geomean(policy.efficiency) > geomean(best.efficiency)) {
                best = std::move(policy);
            }
        } while (std::next_permutation(order.begin(), order.end()));
        return best;
    }
    /// The one choice that does best over all problems; where it cannot, the problem's worst.
    Policy single_best() const {
        std::set<std::string> choices;
        for (const Problem &p : problems_) {
            for (const auto &[choice, t] : p.times) {
                choices.insert(choice);
            }
        }
        Policy best;
        for (const std::string &choice : choices) {
            Policy policy{"single best choice for these: " + choice};
            for (const Problem &p : problems_) {
                policy.efficiency.push_back(efficiency(policy, p, choice));
            }
            if (best.efficiency.empty() || geomean(policy.efficiency) > geomean(best.efficiency)) {
                best = std::move(policy);
            }
        }
        return best;
    }

    std::string row(const Table &table, const Policy &policy, double fixed) const {
        const std::vector<double> &e = policy.efficiency;
        double chosen = 0.0, best = 0.0;
        for (size_t i = 0; i < e.size(); ++i) {
            best += problems_[i].best();
            chosen += problems_[i].best() / e[i];
        }
        const double mean = geomean(e);
        const auto exact = std::count_if(e.begin(), e.end(), [](double v) { return v >= 0.98; });
        return table.row({fmt::format("{:.3f}", mean), fmt::format("{:.3f}", quantile(e, 0.05)), fmt::format("{:.3f}", quantile(e, 0.0)), fmt::format("{:.3f}", best / chosen), fmt::format("{:.0f} %", 100.0 * static_cast<double>(exact) / static_cast<double>(e.size())),
                          fixed < 1.0 && fixed > 0.0 ? fmt::format("{:.0f} %", 100 * (mean - fixed) / (1 - fixed)) : "-", std::to_string(policy.unmeasured), policy.name});
    }
    const std::vector<Problem> &problems() const {
        return problems_;
    }

    /// 95 % interval of a policy's geometric mean over the problems, by 2000 bootstrap samples.
    static std::pair<double, double> interval(const std::vector<double> &e) {
        std::mt19937_64 random(1);
        std::uniform_int_distribution<size_t> pick(0, e.size() - 1);
        std::vector<double> means;
        for (int i = 0; i < 2000; ++i) {
            double logs = 0.0;
            for (size_t j = 0; j < e.size(); ++j) {
                logs += std::log(e[pick(random)]);
            }
            means.push_back(std::exp(logs / static_cast<double>(e.size())));
        }
        return {quantile(means, 0.025), quantile(means, 0.975)};
    }

private:
    /// What the loaded tables choose; empty where there is no plan.
    std::string choose(Policy &policy, const Problem &p) const {
        const Result<Plan> plan = Plan::create(p.problem, options_);
        policy.tiers[plan ? to_string(plan->tier()) : "none"]++;
        return plan ? plan->choice() : "";
    }
    static double judge(Policy &policy, const Problem &p, const std::string &choice) {
        return choice.empty() ? 0.01 : efficiency(policy, p, choice);
    }

    std::vector<Problem> problems_;
    PlanOptions options_;
};

/// The same thing measured twice: what no rule can be better than.
void print_floor(const std::vector<Problem> &problems) {
    std::vector<double> same, again;
    for (const Problem &p : problems) {
        const auto at = p.times.find(p.winner);
        if (at == p.times.end() || at->second.halves[0] == 0.0) {
            continue;
        }
        const auto [a, b] = at->second.halves;
        same.push_back(std::min(a, b) / std::max(a, b));
        double logs = 0.0;
        for (size_t half : {0, 1}) {
            double least = std::numeric_limits<double>::infinity();
            for (const auto &[choice, t] : p.times) {
                least = t.halves[0] > 0.0 ? std::min(least, t.by(half)) : least;
            }
            logs += std::log(least / p.picked(1 - half).by(half)) / 2;
        }
        again.push_back(std::exp(logs));
    }
    if (same.empty()) {
        fmt::print("A/A floor: unknown, the table has no halves of samples (tune again)\n");
        return;
    }
    fmt::print("A/A floor of {} problems: the winner's two halves of samples against each other {:.3f} (p5 {:.3f}); picked by one half, judged by the other {:.3f} (p5 {:.3f})\n", same.size(), geomean(same), quantile(same, 0.05),
               geomean(again), quantile(again, 0.05));
}

/// One problem: what the tables choose against what would be chosen without them.
struct Duel {
    bool known = false;  ///< both have times
    double gain = 1.0;   ///< untuned over chosen time
    bool slower = false;  ///< by more than the two can be told apart, as `tables diff` tells them
};

Duel duel_of(const Problem &p, const std::string &chosen, const std::string &untuned) {
    const auto own = p.times.find(chosen), other = p.times.find(untuned);
    if (chosen == untuned) {
        return {!chosen.empty(), 1.0, false};
    }
    if (own == p.times.end() || other == p.times.end()) {
        return {};
    }
    const double band = std::max({SearchOptions().tie, own->second.noise(), other->second.noise()});
    return {true, other->second.least / own->second.least, own->second.least > (1.0 + band) * other->second.least};
}

/// Whether any problem is slower than without the table; who cannot be told is named, and counts on neither side.
void print_against_untuned(const std::vector<Problem> &problems, const Policy &tuned, const Policy &untuned) {
    std::vector<double> gains;
    std::vector<std::string> slower, unknown;
    size_t same = 0;
    for (size_t i = 0; i < problems.size(); ++i) {
        const Problem &p = problems[i];
        const Duel duel = duel_of(p, tuned.choices[i], untuned.choices[i]);
        if (!duel.known) {
            const bool lacks_own = p.times.count(tuned.choices[i]) == 0;
            unknown.push_back(fmt::format("  {}: {} has no time here: {}", p.name, lacks_own ? "the table's choice" : "the untuned choice", lacks_own ? tuned.choices[i] : untuned.choices[i]));
            continue;
        }
        gains.push_back(duel.gain);
        same += tuned.choices[i] == untuned.choices[i];
        if (duel.slower) {
            const Times &own = p.times.at(tuned.choices[i]), &other = p.times.at(untuned.choices[i]);
            slower.push_back(fmt::format("  {}: {:.3f} of the untuned speed, {} ms ({} samples) for {} ms ({})", p.name, duel.gain, milliseconds_text(own.least), own.samples, milliseconds_text(other.least), other.samples));
        }
    }
    fmt::print("none slower than untuned (the cost model alone) beyond noise: {}", gains.empty() ? "unknown" : slower.empty() ? "yes" : fmt::format("no, {} of {} are", slower.size(), gains.size()));
    if (!gains.empty()) {
        fmt::print("; of {} problems {} have the same choice, and the table is {:.3f} times as fast (geometric mean), {:.3f} at worst", gains.size(), same, geomean(gains), quantile(gains, 0.0));
    }
    fmt::print("{}\n", unknown.empty() ? "" : fmt::format("; {} unknown", unknown.size()));
    for (const std::vector<std::string> *lines : {&slower, &unknown}) {
        for (const std::string &line : *lines) {
            fmt::print("{}\n", line);
        }
    }
}

struct ReportFlags {
    std::string table, times;
    std::vector<std::string> shapes, operations, layouts;
    bool per_shape = false, cold = false, as_measured = false;
    PlanFlags plan;
};

/// The problems of a table that the flags ask for, with their times; `stale` counts the records that are left out since this build has
/// other variants.
std::vector<Problem> problems_of(const std::vector<Record> &records, const std::map<std::string, std::string> &names, const PlanOptions &options, int &stale) {
    std::map<std::string, Problem> by_key;
    for (const Record &r : records) {
        const std::string text = r.problem.to_string();
        const bool ours = r.microarchitecture == machine().microarchitecture && r.isa == machine().isa && r.accuracy == options.accuracy && r.cache == options.cache && r.threads == options.threads && r.workspace_limit == recorded_limit(options.workspace_limit);
        if (!ours || (!names.empty() && names.count(text) == 0)) {
            continue;
        }
        if (!is_current(r)) {
            ++stale;
            continue;
        }
        Problem &p = by_key[record_key(r)];
        p.key = record_key(r);
        p.problem = r.problem;
        p.name = names.count(text) != 0 ? names.at(text) : text;
        p.family = family_of(p.name, p.problem);
        if (r.failure.empty()) {
            p.times[r.choice] = {r.seconds_min, r.samples, r.halves};
        }
        p.winner = r.winner ? r.choice : p.winner;
    }
    std::vector<Problem> problems;
    for (auto &[key, p] : by_key) {
        if (!p.times.empty()) {
            problems.push_back(std::move(p));
        }
    }
    return problems;
}

/// Without spectral products, which have three to six choices and no rules to judge.
Result<std::vector<Record>> convolutions(Result<std::vector<Record>> records) {
    if (records) {
        records->erase(std::remove_if(records->begin(), records->end(), [](const Record &r) { return r.spectral.has_value(); }), records->end());
    }
    return records;
}

/// From now on plans are made as on the machine that measured the table.
Status move_to_machine_of(const std::string &table) {
    const Result<MachineInfo> there = machine_of_table(table);
    if (!there) {
        return there.status();
    }
    if (there->isa != machine().isa) {
        return bad(fmt::format("'{}' was measured with {}, and plans here have {}{}", table, there->isa, machine().isa, there->isa == "avx2" || there->isa == "generic" ? "; set FOURFOLD_ISA=" + there->isa : ""));
    }
    assume_machine(*there);
    return {};
}

Status report(const ReportFlags &flags) {
    if (Status status = flags.as_measured ? move_to_machine_of(flags.table) : Status(); !status) {
        return status;
    }
    Result<PlanOptions> options = to_plan_options(flags.plan);
    if (!options) {
        return options.status();
    }
    options->choose_for_threads = true;
    options->threads = std::max(1, options->threads);
    options->cache = flags.cold ? CacheState::kCold : CacheState::kWarm;
    const Result<std::vector<Record>> records = convolutions(read_records(flags.table));
    if (!records) {
        return records.status();
    }
    std::map<std::string, std::string> names;
    for (const std::string &file : flags.shapes) {
        const Result<std::vector<Shape>> shapes = read_shapes(file);
        const Result<std::vector<Shape>> varied = shapes ? vary(*shapes, flags.operations, flags.layouts) : shapes;
        if (!varied) {
            return varied.status();
        }
        for (const Shape &s : *varied) {
            names.emplace(tuning_problem(s.problem).to_string(), s.name);
        }
    }
    int stale = 0;
    std::vector<Problem> problems = problems_of(*records, names, *options, stale);
    if (!flags.times.empty()) {
        const Result<std::vector<Record>> others = convolutions(read_records(flags.times));
        if (!others) {
            return others.status();
        }
        // Of the problems in both.
        std::map<std::string, std::string> winners;
        for (const Problem &p : problems) {
            winners[p.key] = p.winner;
        }
        problems = problems_of(*others, names, *options, stale);
        problems.erase(std::remove_if(problems.begin(), problems.end(), [&](const Problem &p) { return winners.count(p.key) == 0; }), problems.end());
        for (Problem &p : problems) {
            p.winner = winners[p.key];
        }
    }
    if (problems.empty()) {
        return bad(fmt::format("'{}' has no records of this machine{} for these problems, threads, cache, accuracy and workspace limit", flags.times.empty() ? flags.table : flags.times, stale > 0 ? fmt::format(" and of this build's variants ({} are stale)", stale) : ""));
    }
    const Evaluation evaluation(problems, *options);
    unload_tables(false);
    const Policy untuned = evaluation.chosen("cost model alone");
    if (const Result<TableInfo> loaded = load_table(flags.table); !loaded) {
        return loaded.status();
    }
    const Policy tuned = evaluation.chosen(flags.times.empty() ? "this table, by its own times" : "this table");
    const Policy held = evaluation.held_out(*records);
    const Policy fixed = evaluation.best_fixed_order();
    const Policy single = evaluation.single_best();
    fmt::print("{}: {} problems, efficiency = best / chosen time{}, the best picked and judged by different halves of the samples\n", flags.table, problems.size(), flags.times.empty() ? "" : " by " + flags.times);
    const Table table({{"geomean", 7}, {"p5", 5}, {"worst", 5}, {"time-weighted", 13}, {"within 2 %", 10}, {"gap closed", 10}, {"unmeasured", 10}, {"rule", 0, true}});
    const double base = geomean(fixed.efficiency);
    fmt::print("{}", table.header());
    for (const Policy *policy : {&tuned, &held, &untuned, &fixed, &single}) {
        fmt::print("{}", evaluation.row(table, *policy, policy == &fixed || policy == &single ? 0.0 : base));
    }
    print_floor(problems);
    print_against_untuned(problems, tuned, untuned);
    const auto [low, high] = Evaluation::interval(held.efficiency);
    fmt::print("{}; 95 % interval over problems {:.3f} to {:.3f}; tiers:", held.name, low, high);
    for (const auto &[tier, count] : held.tiers) {
        fmt::print(" {} {}", tier, count);
    }
    fmt::print("\nunmeasured: choices of a rule that have no time here; each counts as its problem's slowest that has\n");
    if (stale > 0) {
        fmt::print("{} stale records are left out: this build has other variants\n", stale);
    }
    if (flags.per_shape) {
        const Table rows({{"this table", 10}, {"held out", 8}, {"cost model", 10}, {"of untuned", 10}, {"best ms", 9}, {"name", 24, true}, {"choice", 0, true}});
        fmt::print("\n{}", rows.header());
        for (size_t i = 0; i < problems.size(); ++i) {
            const Duel duel = duel_of(problems[i], tuned.choices[i], untuned.choices[i]);
            fmt::print("{}", rows.row({fmt::format("{:.3f}", tuned.efficiency[i]), fmt::format("{:.3f}", held.efficiency[i]), fmt::format("{:.3f}", untuned.efficiency[i]), duel.known ? fmt::format("{}{:.3f}", duel.slower ? "! " : "", duel.gain) : "-", milliseconds_text(problems[i].best()), problems[i].name, problems[i].winner}));
        }
    }
    return {};
}

}  // namespace

Action add_report(CLI::App &verb) {
    auto flags = std::make_shared<ReportFlags>();
    flags->plan.threads = 1;
    verb.add_option("--table", flags->table, "a table of this machine, such as fourfold tune writes")->required();
    verb.add_option("--times", flags->times, "judge the choices by the times of this table, of another tune: what chose and was judged by the same samples flatters itself");
    verb.add_option("--shapes", flags->shapes, "only these problems, with their names; families, which are held out, are names up to the first '_'. Without this each problem is held out by itself, which is easier");
    verb.add_option("--operation", flags->operations, "the problems of --shapes as these operations")->delimiter(',');
    verb.add_option("--layout", flags->layouts, "the problems of --shapes in these layouts")->delimiter(',');
    verb.add_flag("--cold", flags->cold, "records of cold caches");
    verb.add_flag("--as-measured", flags->as_measured, "plan as on the machine that measured the table: its name and caches instead of this one's, so that a change of the cost model can be judged by the tables of all machines, after fourfold tables predict");
    verb.add_flag("--per-shape", flags->per_shape, "a line for each problem");
    add_plan_flags(verb, flags->plan);
    return [flags] { return report(*flags); };
}

}  // namespace fourfold::cli
