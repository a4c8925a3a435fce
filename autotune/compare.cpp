// fourfold compare: every algorithm on many problems, as a table, results.csv and a page with plots.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <memory>
#include <system_error>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "bad.h"
#include "commands.h"
#include "commit.h"
#include "contest.h"
#include "files.h"
#include "machine_limits.h"
#include "own_process.h"
#include "progress.h"
#include "report.h"
#include "shapes.h"
#include "table.h"
#include "text.h"

namespace fourfold::cli {
namespace {

struct CompareFlags {
    std::vector<std::string> shapes, problems, algorithms, sweeps;
    std::string out, against, results;
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
    if (groups.empty()) {
        return bad("--sweep none leaves no problem to compare; give --shapes, --problem or --sweep AXIS=LO:HI");
    }
    return groups;
}

/// Small samples and few: there are a hundred problems, and the page shows ratios, not the last percent.
Result<ContestOptions> contest_options(const CompareFlags &flags) {
    const Result<PlanOptions> plan = to_plan_options(flags.plan, true);
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
    options.naive_flops = flags.quick ? 1e8 : 2e9;
    options.hopeless_factor = 15;
    options.memory = usable_memory() / 2;
    if (!flags.algorithms.empty()) {
        options.algorithms.clear();
        for (const std::string &name : flags.algorithms) {
            const Result<Algorithm> algorithm = parse_algorithm(name);
            if (!algorithm) {
                return algorithm.status();
            }
            if (std::find(options.algorithms.begin(), options.algorithms.end(), *algorithm) == options.algorithms.end()) {
                options.algorithms.push_back(*algorithm);
            }
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
    const bool copies = !report.device.empty();
    if (copies) {
        columns.push_back({"copies ms", 9});
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
                cells.insert(cells.end(), {to_string(chosen->algorithm), fmt::format("{:.1f}", rate / 1e9), report.limits.peak_flops > 0 ? fmt::format("{:.1f}", 100 * rate / report.limits.peak_flops) : "-",
                                           fmt::format("{:.2f}", chosen->min_seconds / best_seconds(item.entries))});
                if (copies) {
                    cells.push_back(chosen->transfer_seconds > 0 ? milliseconds_text(chosen->transfer_seconds) : "-");
                }
            }
            fmt::print("{}", table.row(cells));
        }
    }
}

/// Each time beside the earlier one: better or worse where a rank test says that they differ, otherwise ~.
void print_differences(const std::vector<Difference> &list) {
    if (list.empty()) {
        fmt::print("\nno problem and algorithm was timed both here and there: nothing to compare\n");
        return;
    }
    size_t name = 4;
    for (const Difference &d : list) {
        name = std::max(name, d.name.size());
    }
    const Table table({{"name", static_cast<int>(name), true}, {"algorithm", 9, true}, {"ms before", 9}, {"ms now", 9}, {"before/now", 10}, {"p", 6}, {"", 6, true}});
    fmt::print("\n{}", table.header());
    int better = 0, worse = 0, same = 0;
    double logs = 0.0;
    for (const Difference &d : list) {
        const double ratio = d.before / d.now;
        better += d.differs && ratio > 1;
        worse += d.differs && ratio < 1;
        same += !d.differs;
        logs += std::log(ratio);
        fmt::print("{}", table.row({d.name, to_string(d.algorithm), milliseconds_text(d.before), milliseconds_text(d.now), fmt::format("{:.3f}", ratio), fmt::format("{:.3f}", d.p), !d.differs ? "~" : ratio > 1 ? "better" : "worse"}));
    }
    fmt::print("medians; {} better, {} worse, {} ~ (Mann-Whitney, p < 0.05, over 1 %); before/now {:.3f} on average\n", better, worse, same, std::exp(logs / static_cast<double>(list.size())));
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
    const std::filesystem::path plots = std::filesystem::path(folder) / "svg";
    std::filesystem::create_directories(plots, error);
    if (error && !std::filesystem::is_directory(plots)) {
        return {StatusCode::kInternal, fmt::format("cannot make folder '{}': {}", folder, error.message())};
    }
    for (const char *file : {"results.csv", "index.html"}) {
        if (Status status = check_writable((std::filesystem::path(folder) / file).string()); !status) {
            return status;
        }
    }
    return {};
}

int problem_count(const Report &report) {
    size_t count = 0;
    for (const ReportGroup &group : report.groups) {
        count += group.items.size();
    }
    return static_cast<int>(count);
}

/// Who measures here.
void set_origin(const CompareFlags &flags, Device device, Report &report) {
    if (const Result<DeviceInfo> gpu = device_info(device)) {
        report.device = fmt::format("{}: {}, {}", to_string(device), gpu->name, gpu->driver);
    }
    report.cpu = machine().cpu;
    report.microarchitecture = machine().microarchitecture;
    report.isa = machine().isa;
    report.limits.threads = flags.plan.threads == 0 ? machine().hardware_threads : flags.plan.threads;
}

/// The contest of every problem in the report's groups, and when. `results` is written after each, so that neither a crash nor a
/// failure to write the page costs what was measured. Leaves out what an interrupt did not let it measure.
Status measure(const CompareFlags &flags, const ContestOptions &options, const std::string &results, Report &report) {
    const auto started = std::chrono::steady_clock::now();
    report.date = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())));
    if (report.device.empty()) {
        report.limits = measure_machine_limits(flags.plan.threads);
    }
    report.version = version();
    report.made_with = made_with();
    report.commit = source_commit();
    fmt::print("{}\n", report.machine_text());
    std::fflush(stdout);
    double total = 0.0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            total += weight(item.problem, options);
        }
    }
    Progress progress(total, problem_count(report));
    Status saved;
    for (ReportGroup &group : report.groups) {
        for (ReportItem &item : group.items) {
            if (is_stopped() || !saved) {
                break;
            }
            progress.begin(group.title + " " + item.name);
            std::vector<Entry> entries = run_contest(item.problem, options);
            if (is_stopped()) {
                break;  // half of a contest is none
            }
            item.entries = std::move(entries);
            progress.advance(weight(item.problem, options));
            report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
            saved = write_file(results, to_csv(report));
        }
    }
    for (ReportGroup &group : report.groups) {
        std::erase_if(group.items, [](const ReportItem &item) { return item.entries.empty(); });
    }
    std::erase_if(report.groups, [](const ReportGroup &group) { return group.items.empty(); });
    return saved;
}

/// results.csv first, which is what cannot be made again, then the page, then the plots, each even where another failed. Says what
/// was written; returns the first failure.
Status write_report(const std::filesystem::path &folder, const Report &report, const Report *before, std::string &written) {
    std::vector<PlotFile> files = {{"results.csv", to_csv(report)}, {"index.html", to_html(report, before)}};
    for (PlotFile &plot : to_svg_files(report, before)) {
        files.push_back({"svg/" + plot.name, std::move(plot.svg)});
    }
    Status failure;
    size_t plots = 0;
    for (const PlotFile &file : files) {
        const std::string path = (folder / file.name).string();
        if (Status status = write_file(path, file.svg); !status) {
            failure = failure ? status : failure;
        } else if (file.name.starts_with("svg/")) {
            ++plots;
        } else {
            written += path + ", ";
        }
    }
    written += fmt::format("{} plot{} in {}", plots, plots == 1 ? "" : "s", (folder / "svg").string());
    return failure;
}

Status compare(const CompareFlags &flags) {
    const Result<ContestOptions> options = contest_options(flags);
    if (!options) {
        return options.status();
    }
    Result<Report> report = flags.results.empty() ? Report() : read_report(flags.results);  // now: --out may be where it lies
    Result<Report> earlier = flags.against.empty() ? Report() : read_report(flags.against);
    Result<std::vector<ReportGroup>> groups = flags.results.empty() ? collect_groups(flags) : std::vector<ReportGroup>();
    for (const Status &status : {report.status(), earlier.status(), groups.status()}) {
        if (!status) {
            return status;
        }
    }
    if (options->plan.device != Device::kCpu && flags.results.empty()) {
        if (const Result<DeviceInfo> gpu = device_info(options->plan.device); !gpu) {
            return gpu.status();
        }
    }
    if (flags.results.empty()) {
        set_origin(flags, options->plan.device, *report);
    }
    if (!flags.against.empty() && earlier->limits.threads != report->limits.threads) {
        return bad(fmt::format("--against: '{}' is of {}, and this of {}; times of other numbers of threads are no measure", flags.against, earlier->origin(), report->origin()));
    }
    if (Status status = make_folder(flags.out); !status) {
        return status;
    }
    const std::filesystem::path folder(flags.out);
    int asked = problem_count(*report);
    Status failure;
    if (flags.results.empty()) {
        stop_on_signals();
        report->groups = std::move(*groups);
        asked = problem_count(*report);
        failure = measure(flags, *options, (folder / "results.csv").string(), *report);
        if (report->groups.empty()) {
            return {StatusCode::kInternal, "interrupted before the first problem was measured; nothing was written"};
        }
    }
    const Report *before = flags.against.empty() ? nullptr : &*earlier;
    std::string written;
    if (Status status = write_report(folder, *report, before, written); failure) {
        failure = status;
    }

    print_table(*report, *options);
    const ChoiceSummary summary = summarize_choices(*report);
    if (summary.problems > 0) {
        fmt::print("\n* is what auto chose: the fastest, within 2%, for {} of {} problems; {:.2f} times the best time on average{}\n", summary.fastest, summary.problems, summary.mean_ratio,
                   summary.worst_name.empty() ? "" : fmt::format(", {:.2f} at worst ({})", summary.worst_ratio, summary.worst_name));
    } else {
        fmt::print("\n* is what auto chose; no problem has two algorithms that were timed to rank it among\n");
    }
    if (before != nullptr) {
        if (before->origin() != report->origin()) {
            fmt::print("\nwarning: the times before are of {}, those now of {}: what differs may be the machine\n", before->origin(), report->origin());
        }
        print_differences(differences(*report, *before));
    }
    const int failures = print_failures(*report);
    const int measured = problem_count(*report);
    fmt::print("{} problems in {}; written: {}\n", measured, duration_text(report->seconds), written);
    if (!failure) {
        return failure;
    }
    if (measured < asked) {
        return {StatusCode::kInternal, fmt::format("interrupted; {} of {} problems were measured and are in '{}'", measured, asked, (folder / "results.csv").string())};
    }
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
    verb.add_option("--out", flags->out, "folder for index.html, results.csv, and the plots in svg/")->required();
    verb.add_option("--against", flags->against, "an earlier results.csv: both side by side, each time marked better, worse or ~ by a rank test");
    verb.add_option("--results", flags->results, "measure nothing: the page and the table of this results.csv");
    verb.add_option("--min-time", flags->min_time, "seconds per candidate (default: 0.06, with --quick 0.02)")->check(CLI::Range(0.0, 3600.0));
    verb.add_flag("--quick", flags->quick, "shorter samples, and the reference checks fewer outputs");
    add_plan_flags(verb, flags->plan);
    verb.footer("Skipped, and shown as such: naive over 2 GFLOP (with --quick 0.1), what is predicted over 15 times slower than the best, what needs over half of the memory.");
    return [flags] { return compare(*flags); };
}

}  // namespace fourfold::cli
