// fourfold compare: every algorithm on many problems, as a table, results.csv and a page with plots.
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <system_error>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "bad.h"
#include "commands.h"
#include "contest.h"
#include "files.h"
#include "machine_limits.h"
#include "progress.h"
#include "report.h"
#include "search.h"
#include "shapes.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

struct CompareFlags {
    std::vector<std::string> shapes, problems, algorithms, sweeps;
    std::string out, against;
    double min_time = 0.0;
    bool quick = false;
    PlanFlags plan;
};

/// Groups with their problems and no results yet.
Result<std::vector<ReportGroup>> collect_groups(const CompareFlags &flags) {
    std::vector<ReportGroup> groups;
    for (const std::string &file : flags.shapes) {
        const Result<std::vector<Shape>> shapes = read_shapes(file);
        if (!shapes) {
            return shapes.status();
        }
        ReportGroup group{std::filesystem::path(file).stem().string(), "", {}};
        for (const Shape &shape : *shapes) {
            group.items.push_back({shape.name, 0, shape.problem, {}});
        }
        groups.push_back(std::move(group));
    }
    if (!flags.problems.empty()) {
        ReportGroup group{"problems", "", {}};
        for (const std::string &text : flags.problems) {
            const Result<Conv2dProblem> problem = parse_valid_problem(text);
            if (!problem) {
                return problem.status();
            }
            group.items.push_back({problem->to_string(), 0, *problem, {}});
        }
        groups.push_back(std::move(group));
    }
    std::vector<Sweep> sweeps;
    if (flags.sweeps.empty()) {
        sweeps = default_sweeps();
    } else if (flags.sweeps != std::vector<std::string>{"none"}) {
        for (const std::string &text : flags.sweeps) {
            const Result<Sweep> sweep = parse_sweep(text);
            if (!sweep) {
                return sweep.status();
            }
            sweeps.push_back(*sweep);
        }
    }
    for (const Sweep &sweep : sweeps) {
        ReportGroup group{fmt::format("sweep of {}", sweep.axis), sweep.axis, {}};
        for (const SweepPoint &point : sweep_points(sweep)) {
            if (Status status = point.problem.validate(); !status) {
                return bad(fmt::format("sweep of {} at {}: {}", sweep.axis, point.value, status.message()));
            }
            group.items.push_back({fmt::format("{}{}", sweep.axis, point.value), point.value, point.problem, {}});
        }
        groups.push_back(std::move(group));
    }
    return groups;
}

/// Small samples and few: there are a hundred problems, and the page shows ratios, not the last percent.
Result<ContestOptions> contest_options(const CompareFlags &flags) {
    const Result<PlanOptions> plan = to_plan_options(flags.plan);
    if (!plan) {
        return plan.status();
    }
    ContestOptions options;
    options.plan = *plan;
    options.measure.min_time = flags.min_time > 0 ? flags.min_time : flags.quick ? 0.02 : 0.06;
    options.measure.min_samples = 3;
    options.measure.slow_seconds = 0.4;
    options.measure.min_samples_slow = 1;
    if (!flags.against.empty()) {
        // Fewer could never differ significantly.
        options.measure.min_samples = options.measure.min_samples_slow = 6;
    }
    options.check_all_below_flops = flags.quick ? 2e7 : 2e8;
    options.naive_flops = flags.quick ? 1e8 : 3e8;
    options.hopeless_factor = 15;
    options.memory = usable_memory() / 2;
    if (!flags.algorithms.empty()) {
        options.algorithms.clear();
        for (const std::string &name : flags.algorithms) {
            const Result<Algorithm> algorithm = parse_algorithm(name);
            if (!algorithm) {
                return algorithm.status();
            }
            options.algorithms.push_back(*algorithm);
        }
    }
    return options;
}

/// About proportional to the time of a problem's contest: sampling, a few slow runs, the reference, the data.
double weight(const Conv2dProblem &p, const ContestOptions &options) {
    const double flops = p.flops(), elements = static_cast<double>(p.input_elements() + p.output_elements() + p.filter_elements());
    return static_cast<double>(options.algorithms.size()) * (options.measure.min_time + 0.01) + flops * 2e-10 + std::min(flops, options.check_all_below_flops) * 1e-9 + elements * 2e-8;
}

void print_table(const Report &report, const ContestOptions &options) {
    std::vector<Algorithm> algorithms = options.algorithms;
    std::erase(algorithms, Algorithm::kAuto);
    size_t name = 4;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            name = std::max(name, item.name.size());
        }
    }
    std::vector<Column> columns = {{"name", static_cast<int>(name), true}, {"GFLOP", 8}};
    for (Algorithm a : algorithms) {
        columns.push_back({fmt::format("{} ms", to_string(a)), 11});
    }
    for (const char *title : {"chosen", "GFLOP/s", "% peak", "chosen/best"}) {
        columns.push_back({title, 7});
    }
    const Table table(columns);
    for (const ReportGroup &group : report.groups) {
        fmt::print("\n{}\n{}", group.title, table.header());
        for (const ReportItem &item : group.items) {
            std::vector<std::string> cells = {item.name, fmt::format("{:.3g}", item.problem.flops() / 1e9)};
            const Entry *chosen = nullptr;
            for (const Entry &e : item.entries) {
                chosen = e.chosen ? &e : chosen;
            }
            for (Algorithm a : algorithms) {
                const Entry *found = nullptr;
                for (const Entry &e : item.entries) {
                    found = e.algorithm == a ? &e : found;
                }
                cells.push_back(found == nullptr                      ? ""
                                : found->outcome != Outcome::kTimed ? to_string(found->outcome)
                                                                      : milliseconds_text(found->min_seconds) + (found->chosen ? "*" : " "));
            }
            if (chosen != nullptr && chosen->outcome == Outcome::kTimed) {
                const double rate = item.problem.flops() / chosen->min_seconds;
                cells.insert(cells.end(), {to_string(chosen->algorithm), fmt::format("{:.1f}", rate / 1e9), fmt::format("{:.1f}", 100 * rate / report.limits.peak_flops),
                                           fmt::format("{:.2f}", chosen->min_seconds / best_seconds(item.entries))});
            }
            fmt::print("{}", table.row(cells));
        }
    }
}

/// Each time beside the earlier one: better or worse where a rank test says that they differ, otherwise ~.
void print_differences(const Report &report, const std::vector<EarlierResult> &earlier) {
    constexpr double significant = 0.05, least = 0.01;
    std::map<std::pair<std::string, std::string>, const EarlierResult *> known;
    for (const EarlierResult &r : earlier) {
        known[{r.problem, r.algorithm}] = &r;
    }
    const Table table({{"name", 24, true}, {"algorithm", 9, true}, {"ms before", 9}, {"ms now", 9}, {"before/now", 10}, {"p", 6}, {"", 6, true}});
    fmt::print("\n{}", table.header());
    int better = 0, worse = 0, same = 0;
    double logs = 0.0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                const auto at = known.find({item.problem.to_string(), to_string(e.algorithm)});
                if (at == known.end() || e.outcome != Outcome::kTimed || at->second->seconds.empty()) {
                    continue;
                }
                const std::vector<double> &before = at->second->seconds;
                const double p = mann_whitney(before, e.seconds), ratio = median(before) / median(e.seconds);
                const bool differs = p < significant && std::fabs(std::log(ratio)) > least;
                better += differs && ratio > 1;
                worse += differs && ratio < 1;
                same += !differs;
                logs += std::log(ratio);
                fmt::print("{}", table.row({item.name, to_string(e.algorithm), milliseconds_text(median(before)), milliseconds_text(median(e.seconds)), fmt::format("{:.3f}", ratio), fmt::format("{:.3f}", p), !differs ? "~" : ratio > 1 ? "better" : "worse"}));
            }
        }
    }
    const int all = better + worse + same;
    fmt::print("medians; {} better, {} worse, {} ~ (Mann-Whitney, p < {}, over {:.0f} %); before/now {:.3f} on average\n", better, worse, same, significant, 100 * least, all > 0 ? std::exp(logs / all) : 1.0);
}

/// Failures as lines; returns how many.
int print_failures(const Report &report) {
    int failures = 0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                if (e.outcome == Outcome::kWrong) {
                    fmt::print("FAILED {} {}: {}\n", item.name, to_string(e.algorithm), e.reason);
                    ++failures;
                }
            }
        }
    }
    return failures;
}

Status make_folder(const std::string &folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error && !std::filesystem::is_directory(folder)) {
        return {StatusCode::kInternal, fmt::format("cannot make folder '{}': {}", folder, error.message())};
    }
    for (const char *file : {"results.csv", "index.html"}) {
        if (Status status = check_writable((std::filesystem::path(folder) / file).string()); !status) {
            return status;
        }
    }
    return {};
}

Status compare(const CompareFlags &flags) {
    const Result<ContestOptions> options = contest_options(flags);
    if (!options) {
        return options.status();
    }
    Result<std::vector<ReportGroup>> groups = collect_groups(flags);
    if (!groups) {
        return groups.status();
    }
    Result<std::vector<EarlierResult>> earlier = std::vector<EarlierResult>();
    if (!flags.against.empty()) {
        earlier = read_results(flags.against);  // now: --out may be where it lies
        if (!earlier) {
            return earlier.status();
        }
    }
    if (Status status = make_folder(flags.out); !status) {
        return status;
    }

    Report report;
    report.groups = std::move(*groups);
    const auto started = std::chrono::steady_clock::now();
    report.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
    report.limits = measure_machine_limits(flags.plan.threads);
    fmt::print("{}\n", machine_text(report.limits));
    std::fflush(stdout);

    double total = 0.0;
    int problems = 0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            total += weight(item.problem, *options);
            ++problems;
        }
    }
    {
        Progress progress(total, problems);
        for (ReportGroup &group : report.groups) {
            for (ReportItem &item : group.items) {
                progress.begin(group.title + " " + item.name);
                item.entries = run_contest(item.problem, *options);
                progress.advance(weight(item.problem, *options));
            }
        }
    }
    report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();

    print_table(report, *options);
    const ChoiceSummary summary = summarize_choices(report);
    fmt::print("\n* is what auto chose: the fastest, within 2%, for {} of {} problems; {:.2f} times the best time on average{}\n", summary.fastest, summary.problems, summary.mean_ratio,
               summary.worst_name.empty() ? "" : fmt::format(", {:.2f} at worst ({})", summary.worst_ratio, summary.worst_name));
    if (!flags.against.empty()) {
        print_differences(report, *earlier);
    }
    const int failures = print_failures(report);
    const std::filesystem::path folder(flags.out);
    const std::string csv = (folder / "results.csv").string(), html = (folder / "index.html").string();
    if (Status status = write_file(csv, to_csv(report)); !status) {
        return status;
    }
    if (Status status = write_file(html, to_html(report)); !status) {
        return status;
    }
    fmt::print("{} problems in {}; written: {}, {}\n", problems, duration_text(report.seconds), csv, html);
    return failures == 0 ? Status() : Status(StatusCode::kInternal, fmt::format("{} of the results FAILED", failures));
}

}  // namespace

Action add_compare(CLI::App &verb) {
    auto flags = std::make_shared<CompareFlags>();
    verb.add_option("--shapes", flags->shapes, "files of problems (may be given several times)");
    verb.add_option("--problem", flags->problems, "problems in the one-line form");
    verb.add_option("--algorithms", flags->algorithms, "comma-separated (default: all); auto's choice is marked")->delimiter(',');
    verb.add_option("--sweep", flags->sweeps,
                    "AXIS=LO:HI, by doubling around \"b4 ic32 i32 oc32 f3 p1\", same padding; axes b, ic, oc, i, f (may be given several times). Default: all five; none: no sweep");
    verb.add_option("--out", flags->out, "folder for results.csv and index.html")->required();
    verb.add_option("--against", flags->against, "an earlier results.csv: marks each time better, worse or ~ by a rank test");
    verb.add_option("--min-time", flags->min_time, "seconds per candidate (default: 0.06, with --quick 0.02)")->check(CLI::Range(0.0, 3600.0));
    verb.add_flag("--quick", flags->quick, "shorter samples, and the reference checks fewer outputs");
    add_plan_flags(verb, flags->plan);
    verb.footer("Skipped, and shown as such: naive over 0.3 GFLOP, what is predicted over 15 times slower than the best, what needs over half of the memory.");
    return [flags] { return compare(*flags); };
}

}  // namespace fourfold::cli
