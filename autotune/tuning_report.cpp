// fourfold report: the efficiency (best time / chosen time) of what is chosen, beside simpler rules, from a table alone.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <set>

#include <fmt/format.h>

#include "commands.h"
#include "fourfold/tuning.h"
#include "records.h"
#include "shapes.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

struct Problem {
    std::string name, family, key;
    Conv2dProblem problem;
    std::map<std::string, double> seconds;  ///< of each measured choice
    std::string winner;

    double best() const {
        double best = 0.0;
        for (const auto &[choice, s] : seconds) {
            best = best == 0.0 || s < best ? s : best;
        }
        return best;
    }
};

/// "resnet50" of "resnet50_2_3x3"; of a problem without a name all of it.
std::string family_of(const std::string &name) {
    return name.find(' ') != std::string::npos ? name : name.substr(0, name.find('_'));
}

/// One rule's choices.
struct Policy {
    std::string name;
    std::vector<double> efficiency;  ///< of each problem; 0: it chose what was not measured
    std::map<std::string, int> tiers;
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
    double efficiency(const Problem &p, const std::string &choice, int &unmeasured) const {
        const auto at = p.seconds.find(choice);
        if (at != p.seconds.end()) {
            return p.best() / at->second;
        }
        ++unmeasured;
        double worst = 0.0;
        for (const auto &[c, s] : p.seconds) {
            worst = std::max(worst, s);
        }
        return p.best() / worst;
    }

    Policy chosen(const std::string &name, int &unmeasured) const {
        Policy policy{name, {}, {}};
        for (const Problem &p : problems_) {
            add(policy, p, unmeasured);
        }
        return policy;
    }
    /// With the records of the problem's own family left out.
    Policy held_out(const std::vector<Record> &records, int &unmeasured) const {
        Policy policy{"held out by family", {}, {}};
        std::map<std::string, std::set<std::string>> keys;
        for (const Problem &p : problems_) {
            keys[p.family].insert(p.key);
        }
        for (const auto &[family, own] : keys) {
            std::string text = header_line();
            for (const Record &r : records) {
                text += own.count(record_key(r)) == 0 ? record_line(r) : "";
            }
            unload_tables(false);
            if (!load_table_text("held out", text)) {
                continue;
            }
            for (const Problem &p : problems_) {
                if (p.family == family) {
                    add(policy, p, unmeasured);
                }
            }
        }
        return policy;
    }
    /// The first algorithm of the order that was measured, with the schedule that the bare cost model likes best.
    Policy fixed_order(const std::vector<std::string> &order, const std::string &name, int &unmeasured) const {
        Policy policy{name, {}, {}};
        unload_tables(false);
        for (const Problem &p : problems_) {
            for (const std::string &algorithm : order) {
                PlanOptions one = options_;
                one.algorithm = *parse_algorithm(algorithm);
                const Result<Plan> plan = Plan::create(p.problem, one);
                if (plan) {
                    policy.efficiency.push_back(efficiency(p, plan->choice(), unmeasured));
                    break;
                }
            }
        }
        return policy;
    }
    /// The order of algorithms that is best on these very problems.
    Policy best_fixed_order(int &unmeasured) const {
        std::vector<std::string> order = {"direct", "fft", "fft_tiled", "im2col", "winograd"};
        Policy best;
        int missing = 0;
        do {
            // Of orders that begin with what can do anything the rest does not matter.
            int count = 0;
            Policy policy = fixed_order(order, "", count);
            if (best.efficiency.empty() || geomean(policy.efficiency) > geomean(best.efficiency)) {
                best = policy;
                best.name = fmt::format("fixed order: {}", fmt::join(order, ", "));
                missing = count;
            }
        } while (std::next_permutation(order.begin(), order.end()));
        unmeasured += missing;
        return best;
    }
    /// The one choice that does best over all problems; where it cannot, the problem's worst.
    Policy single_best() const {
        std::set<std::string> choices;
        for (const Problem &p : problems_) {
            for (const auto &[choice, s] : p.seconds) {
                choices.insert(choice);
            }
        }
        Policy best;
        for (const std::string &choice : choices) {
            Policy policy{"single best variant: " + choice, {}, {}};
            int unmeasured = 0;
            for (const Problem &p : problems_) {
                policy.efficiency.push_back(efficiency(p, choice, unmeasured));
            }
            if (best.efficiency.empty() || geomean(policy.efficiency) > geomean(best.efficiency)) {
                best = std::move(policy);
            }
        }
        return best;
    }

    std::string row(const Table &table, const Policy &policy, double fixed) const {
        const std::vector<double> &e = policy.efficiency;
        if (e.empty()) {
            return "";
        }
        double chosen = 0.0, best = 0.0;
        for (size_t i = 0; i < e.size() && e.size() == problems_.size(); ++i) {
            best += problems_[i].best();
            chosen += problems_[i].best() / e[i];
        }
        const double mean = geomean(e);
        const auto exact = std::count_if(e.begin(), e.end(), [](double v) { return v >= 0.98; });
        return table.row({fmt::format("{:.3f}", mean), fmt::format("{:.3f}", quantile(e, 0.05)), fmt::format("{:.3f}", quantile(e, 0.0)), chosen > 0 ? fmt::format("{:.3f}", best / chosen) : "-", fmt::format("{:.0f} %", 100.0 * static_cast<double>(exact) / static_cast<double>(e.size())),
                          fixed < 1.0 && fixed > 0.0 ? fmt::format("{:.0f} %", 100 * (mean - fixed) / (1 - fixed)) : "-", policy.name});
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
    void add(Policy &policy, const Problem &p, int &unmeasured) const {
        const Result<Plan> plan = Plan::create(p.problem, options_);
        policy.efficiency.push_back(plan ? efficiency(p, plan->choice(), unmeasured) : 0.01);
        policy.tiers[plan ? to_string(plan->tier()) : "none"]++;
    }

    std::vector<Problem> problems_;
    PlanOptions options_;
};

/// The one table of several that a policy of the fewest variants would need: how many choices buy how much.
void print_curve(const std::vector<Problem> &problems) {
    std::set<std::string> choices;
    for (const Problem &p : problems) {
        for (const auto &[choice, s] : p.seconds) {
            choices.insert(choice);
        }
    }
    std::vector<double> best(problems.size(), 0.0);  // efficiency with what is shipped so far
    std::vector<std::string> shipped;
    fmt::print("\nhow many choices buy how much, picked greedily (perfect dispatch):\n");
    for (int count = 1; count <= 40 && !choices.empty(); ++count) {
        double most = -1.0;
        std::string next;
        std::vector<double> after;
        for (const std::string &choice : choices) {
            std::vector<double> with = best;
            double total = 0.0;
            for (size_t i = 0; i < problems.size(); ++i) {
                const auto at = problems[i].seconds.find(choice);
                with[i] = std::max(with[i], at == problems[i].seconds.end() ? 0.0 : problems[i].best() / at->second);
                total += std::log(std::max(with[i], 0.05));
            }
            if (next.empty() || total > most) {
                most = total;
                next = choice;
                after = with;
            }
        }
        best = after;
        choices.erase(next);
        shipped.push_back(next);
        const double mean = std::exp(most / static_cast<double>(problems.size()));
        if (count <= 8 || count % 4 == 0 || mean >= 0.97) {
            fmt::print("  {:>3}  {:.3f}  {}\n", count, mean, next);
        }
        if (mean >= 0.97) {
            fmt::print("  {} choices are within 3 %\n", count);
            break;
        }
    }
}

Status report(const std::string &path, const std::vector<std::string> &shape_files, bool per_shape, const PlanFlags &plan_flags) {
    Result<PlanOptions> options = to_plan_options(plan_flags);
    if (!options) {
        return options.status();
    }
    options->choose_for_threads = true;
    const Result<std::vector<Record>> records = read_records(path);
    if (!records) {
        return records.status();
    }
    std::map<std::string, std::string> names;
    for (const std::string &file : shape_files) {
        const Result<std::vector<Shape>> shapes = read_shapes(file);
        if (!shapes) {
            return shapes.status();
        }
        for (const Shape &s : *shapes) {
            names.emplace(tuning_problem(s.problem).to_string(), s.name);
        }
    }
    std::map<std::string, Problem> by_key;
    for (const Record &r : *records) {
        const std::string text = r.problem.to_string();
        const bool ours = r.microarchitecture == machine().microarchitecture && r.isa == machine().isa && r.accuracy == options->accuracy && r.cache == options->cache && r.threads == std::max(1, options->threads);
        if (!ours || (!names.empty() && names.count(text) == 0)) {
            continue;
        }
        Problem &p = by_key[record_key(r)];
        p.key = record_key(r);
        p.problem = r.problem;
        p.name = names.count(text) != 0 ? names[text] : text;
        p.family = family_of(p.name);
        if (r.failure.empty()) {
            p.seconds[r.choice] = r.seconds_min;
        }
        p.winner = r.winner ? r.choice : p.winner;
    }
    std::vector<Problem> problems;
    for (auto &[key, p] : by_key) {
        if (!p.seconds.empty()) {
            problems.push_back(std::move(p));
        }
    }
    if (problems.empty()) {
        return {StatusCode::kInvalidArgument, fmt::format("'{}' has no records of this machine for these problems, threads and accuracy", path)};
    }
    options->threads = std::max(1, options->threads);
    const Evaluation evaluation(problems, *options);
    int unmeasured = 0;
    unload_tables(false);
    const Policy untuned = evaluation.chosen("cost model alone", unmeasured);
    if (const Result<TableInfo> loaded = load_table(path); !loaded) {
        return loaded.status();
    }
    const Policy tuned = evaluation.chosen("this table", unmeasured);
    const Policy held = evaluation.held_out(*records, unmeasured);
    const Policy fixed = evaluation.best_fixed_order(unmeasured);
    const Policy single = evaluation.single_best();
    fmt::print("{}: {} problems, efficiency = best / chosen time as recorded\n", path, problems.size());
    const Table table({{"geomean", 7}, {"p5", 5}, {"worst", 5}, {"time-weighted", 13}, {"within 2 %", 10}, {"gap closed", 10}, {"rule", 0, true}});
    const double base = geomean(fixed.efficiency);
    fmt::print("{}", table.header());
    for (const Policy *policy : {&tuned, &held, &untuned, &fixed, &single}) {
        fmt::print("{}", evaluation.row(table, *policy, policy == &fixed || policy == &single ? 0.0 : base));
    }
    const auto [low, high] = Evaluation::interval(held.efficiency);
    fmt::print("held out: 95 % interval over problems {:.3f} to {:.3f}; tiers:", low, high);
    for (const auto &[tier, count] : held.tiers) {
        fmt::print(" {} {}", tier, count);
    }
    fmt::print("\n{} choices were not measured and count as the worst that was\n", unmeasured);
    if (per_shape) {
        const Table rows({{"this table", 10}, {"cost model", 10}, {"best ms", 9}, {"name", 24, true}, {"choice", 0, true}});
        fmt::print("\n{}", rows.header());
        for (size_t i = 0; i < problems.size(); ++i) {
            fmt::print("{}", rows.row({fmt::format("{:.3f}", tuned.efficiency[i]), fmt::format("{:.3f}", untuned.efficiency[i]), milliseconds_text(problems[i].best()), problems[i].name, problems[i].winner}));
        }
    }
    print_curve(problems);
    return {};
}

}  // namespace

Action add_report(CLI::App &verb) {
    struct Flags {
        std::string table;
        std::vector<std::string> shapes;
        bool per_shape = false;
        PlanFlags plan;
    };
    auto flags = std::make_shared<Flags>();
    flags->plan.threads = 1;
    verb.add_option("--table", flags->table, "a table of this machine, such as fourfold tune writes")->required();
    verb.add_option("--shapes", flags->shapes, "only these problems, with their names; families are names up to the first '_'");
    verb.add_flag("--per-shape", flags->per_shape, "a line for each problem");
    add_plan_flags(verb, flags->plan);
    return [flags] { return report(flags->table, flags->shapes, flags->per_shape, flags->plan); };
}

}  // namespace fourfold::cli
