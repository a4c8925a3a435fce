// fourfold bench: times of one or more algorithms on some problems, each result checked first.
#include <algorithm>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "clock.h"
#include "commands.h"
#include "contest.h"
#include "machine_limits.h"
#include "reference.h"
#include "shapes.h"
#include "spectral.h"
#include "table.h"
#include "text.h"
#include "training.h"

namespace fourfold::cli {
namespace {

struct BenchFlags {
    std::vector<std::string> shapes, problems;
    std::string algorithm = "auto", filter, variant, naive = "small";
    bool all_variants = false, include_packing = false, wall_clock = false, cold = false, json = false, trust = false, profile = false, rank_one = false, training = false;
    double min_time = 0.3;
    PlanFlags plan;
};

constexpr double kAlways = 1e300;

Result<ContestOptions> contest_options(const BenchFlags &flags) {
    Result<PlanOptions> plan = to_plan_options(flags.plan, true);
    if (!plan) {
        return plan.status();
    }
    ContestOptions options;
    options.plan = *plan;
    options.plan.variant = flags.variant;
    options.plan.packs_each_time = flags.include_packing;
    options.all_variants = flags.all_variants;
    options.include_packing = flags.include_packing;
    options.cold = flags.cold;
    options.profile = flags.profile;
    options.rank_one = flags.rank_one;
    options.memory = usable_memory() * 9 / 10;
    options.check = !flags.trust;
    options.measure.min_time = flags.min_time;
    if (flags.wall_clock) {
        options.measure.clock = now;
    }
    options.naive_flops = flags.naive == "always" ? kAlways : flags.naive == "never" ? -1.0 : options.naive_flops;
    if (flags.algorithm != "all") {
        const Result<Algorithm> algorithm = parse_algorithm(flags.algorithm);
        if (!algorithm) {
            return Status(StatusCode::kInvalidArgument, algorithm.status().message() + " (or 'all')");
        }
        options.algorithms = {*algorithm};
        if (*algorithm == Algorithm::kNaive) {
            options.naive_flops = kAlways;  // asked for by name
        }
    }
    return options;
}

Result<std::vector<Shape>> collect_shapes(const BenchFlags &flags) {
    std::vector<Shape> shapes;
    for (const std::string &file : flags.shapes) {
        const Result<std::vector<Shape>> read = read_shapes(file);
        if (!read) {
            return read.status();
        }
        shapes.insert(shapes.end(), read->begin(), read->end());
    }
    for (const std::string &text : flags.problems) {
        const Result<Conv2dProblem> problem = parse_valid_problem(text);
        if (!problem) {
            return problem.status();
        }
        shapes.push_back({problem->to_string(), *problem});
    }
    if (!flags.filter.empty()) {
        shapes = filter_shapes(shapes, flags.filter);
        if (shapes.empty()) {
            return Status(StatusCode::kInvalidArgument, fmt::format("no problem's name matches '{}'", flags.filter));
        }
    }
    return shapes;
}

Table make_table(const std::vector<Shape> &shapes) {
    size_t name = 4, variant = 7;
    for (const Shape &shape : shapes) {
        name = std::max(name, shape.name.size());
    }
    for (const VariantInfo &v : list_variants()) {
        variant = std::max(variant, v.name.size());
    }
    return Table({{"name", static_cast<int>(name), true}, {"", 1}, {"algorithm", 9, true}, {"variant", static_cast<int>(std::min<size_t>(variant, 40)), true}, {"ms min", 9},
                  {"ms median", 9}, {"GFLOP/s", 8}, {"% peak", 6}, {"% mem", 6}, {"workspace", 9}, {"packed", 9}, {"max error", 9}});
}

/// What counts as arithmetic: unfold and fold only move.
double arithmetic(const Conv2dProblem &p) {
    return p.moves_columns() ? 0.0 : p.flops();
}

/// Bytes that any algorithm has to move, as a share of what memory could in that time; only where memory, not arithmetic,
/// is the tighter limit. Over 100% means that caches held part of it.
std::string bandwidth_share(const Conv2dProblem &p, double seconds, const MachineLimits &limits) {
    const double others = p.moves_columns() ? static_cast<double>(p.column_elements()) : static_cast<double>(p.filter_elements()) + static_cast<double>(p.output_elements());
    const double bytes = 4.0 * (static_cast<double>(p.input_elements()) + others);
    const bool memory_bound = limits.bandwidth() > 0 && bytes / limits.bandwidth() > arithmetic(p) / limits.peak_flops;
    return memory_bound ? fmt::format("{:.0f}", 100 * bytes / seconds / limits.bandwidth()) : "-";
}

std::string table_row(const Table &table, const Shape &shape, const Entry &e, const MachineLimits &limits) {
    const char *mark = e.chosen ? "*" : "";
    if (e.outcome != Outcome::kTimed) {
        return table.row({shape.name, mark, to_string(e.algorithm), fmt::format("{}: {}", to_string(e.outcome), e.reason)});
    }
    const double rate = arithmetic(shape.problem) / e.min_seconds;
    return table.row({shape.name, mark, to_string(e.algorithm), e.variant, milliseconds_text(e.min_seconds), milliseconds_text(e.median_seconds),
                      fmt::format("{:.1f}", rate / 1e9), fmt::format("{:.1f}", 100 * rate / limits.peak_flops), bandwidth_share(shape.problem, e.min_seconds, limits),
                      bytes_text(e.workspace_bytes), bytes_text(e.packed_filter_bytes), error_text(e.max_error)});
}

/// One line a stage, the share in thread time: what is missing to 100 % is waiting and what the runtime itself does.
std::string stage_rows(const Entry &e) {
    std::string rows;
    for (const Profile::Stage &stage : e.stages) {
        rows += fmt::format("    {:<18} {:>9} ms {:>5.1f} %  {} calls\n", stage.name, milliseconds_text(stage.seconds), 100 * stage.seconds / (e.min_seconds * e.threads), stage.calls);
    }
    return rows;
}

std::string json_line(const Shape &shape, const Entry &e, const MachineLimits &limits) {
    nlohmann::ordered_json line;
    line["name"] = shape.name;
    line["problem"] = shape.problem.to_string();
    line["algorithm"] = to_string(e.algorithm);
    line["variant"] = e.variant;
    line["threads"] = e.threads;
    line["ms_min"] = e.min_seconds * 1e3;
    line["ms_median"] = e.median_seconds * 1e3;
    line["gflops"] = arithmetic(shape.problem) / e.min_seconds / 1e9;
    line["workspace_bytes"] = e.workspace_bytes;
    line["packed_filter_bytes"] = e.packed_filter_bytes;
    line["max_error"] = e.max_error < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(e.max_error);
    line["chosen"] = e.chosen;
    if (e.transfer_seconds > 0) {
        line["transfer_ms"] = e.transfer_seconds * 1e3;
    }
    line["peak_gflops"] = limits.peak_flops / 1e9;
    for (const Profile::Stage &stage : e.stages) {
        line["stages"][stage.name] = {{"ms", stage.seconds * 1e3}, {"calls", stage.calls}};
    }
    return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

Status bench(const BenchFlags &flags) {
    const Result<ContestOptions> options = contest_options(flags);
    if (!options) {
        return options.status();
    }
    const Result<std::vector<Shape>> shapes = collect_shapes(flags);
    if (!shapes) {
        return shapes.status();
    }
    const MachineLimits limits = measure_machine_limits(flags.plan.threads);
    std::FILE *notes = flags.json ? stderr : stdout;
    fmt::print(notes, "{}\n", machine_text(limits));
    fmt::print(notes, "fourfold {}; data uniform on [-1, 1], seed {}; {}{}{}\n", version(), options->seed, flags.cold ? "caches evicted before each sample" : "warm caches",
               flags.include_packing ? "; packing included" : "", flags.trust ? "; results NOT checked" : "");
    if (!flags.json) {
        fmt::print("* is what auto chooses; times are the least and the median; % mem is the share of the memory bandwidth where that is the limit\n\n");
    }

    const Table table = make_table(*shapes);
    if (!flags.json) {
        fmt::print("{}", table.header());
    }
    const bool all = flags.algorithm == "all";
    int wrong = 0, timed = 0;
    Status refused;
    for (const Shape &shape : *shapes) {
        for (const Entry &e : run_contest(shape.problem, *options)) {
            if (!flags.json) {
                fmt::print("{}{}", table_row(table, shape, e, limits), stage_rows(e));
                if (e.transfer_seconds > 0) {
                    fmt::print("    copies to the device and back, besides: {} ms\n", milliseconds_text(e.transfer_seconds));
                }
            } else if (e.outcome == Outcome::kTimed) {
                fmt::print("{}", json_line(shape, e, limits));
            } else {
                fmt::print(stderr, "{} {} {}: {}\n", shape.name, to_string(e.algorithm), to_string(e.outcome), e.reason);
            }
            wrong += e.outcome == Outcome::kWrong;
            timed += e.outcome == Outcome::kTimed;
            if (e.outcome == Outcome::kRefused && !all && refused.ok()) {
                refused = plan_failure(Status(e.status.code(), shape.name + ": " + e.reason), options->algorithms.front());
            }
        }
        std::fflush(stdout);
    }
    if (wrong > 0) {
        return {StatusCode::kInternal, fmt::format("{} FAILED; no time is reported for a wrong result", wrong == 1 ? "one candidate" : fmt::format("{} candidates", wrong))};
    }
    if (refused.ok() && timed == 0) {
        return {StatusCode::kInternal, "nothing was timed; see the reasons above"};
    }
    return refused;
}

}  // namespace

Action add_bench(CLI::App &verb) {
    auto flags = std::make_shared<BenchFlags>();
    CLI::Option *shapes = verb.add_option("--shapes", flags->shapes, "files of problems: name,b,ic,i0,i1,oc,f0,f1,stride,pad,dilation,groups or name,problem");
    CLI::Option *problems = verb.add_option("--problem", flags->problems, "problems in the one-line form, e.g. \"b8 ic64 i56 oc64 f3 p1\"");
    verb.add_option("--algorithm", flags->algorithm, "auto, all, naive, direct, im2col, fft, fft_tiled or winograd")->capture_default_str();
    add_plan_flags(verb, flags->plan);
    verb.add_flag("--include-packing", flags->include_packing, "give the filters unpacked to every execution, as training does, and choose plans for that");
    verb.add_flag("--wall-clock", flags->wall_clock, "time one thread by the wall clock as well, as several are, instead of its processor time");
    verb.add_flag("--cold", flags->cold, "evict the caches before each sample");
    verb.add_flag("--profile", flags->profile, "the time of each stage as well, from further executions");
    verb.add_flag("--rank-one", flags->rank_one, "filters that are outer products, as blurs are: two passes take part, and auto takes them where they are predicted faster");
    verb.add_flag("--json", flags->json, "one object a line on standard output; notes go to standard error");
    verb.add_option("--filter", flags->filter, "only problems whose name matches, e.g. \"resnet*\"");
    CLI::Option *variant = verb.add_option("--variant", flags->variant, "this variant of the main stage (see fourfold list)");
    verb.add_flag("--all-variants", flags->all_variants, "every runnable variant of the main stage")->excludes(variant);
    verb.add_option("--min-time", flags->min_time, "seconds per candidate; at least 5 samples are taken (3 where one takes over 2 s)")
        ->check(CLI::Range(0.0, 3600.0))
        ->capture_default_str();
    verb.add_option("--naive", flags->naive, "when 'all' includes the naive loop nest: small (under 5 GFLOP), always, never")
        ->check(CLI::IsMember({"small", "always", "never"}))
        ->capture_default_str();
    verb.add_flag("--trust", flags->trust, "do not check the results against the double-precision reference");
    verb.add_flag("--training", flags->training, "a whole step of each forward problem instead: spectra shared (TrainingPlan) against three plans");
    verb.footer("Candidates of one problem are timed in turns. GFLOP/s count the direct algorithm's operations, so fast algorithms can pass the peak.");
    return [flags, shapes, problems] {
        if (shapes->count() + problems->count() == 0) {
            return Status(StatusCode::kInvalidArgument, "bench needs --shapes or --problem; see fourfold bench --help");
        }
        if (flags->training) {
            if (flags->cold || flags->wall_clock || flags->profile || flags->all_variants || !flags->variant.empty() || flags->algorithm != "auto") {
                return Status(StatusCode::kInvalidArgument, "--training takes none of --cold, --wall-clock, --profile, --all-variants, --variant and --algorithm");
            }
            const Result<std::vector<Shape>> list = collect_shapes(*flags);
            return list ? bench_training(*list, {flags->plan, flags->json, !flags->trust, flags->min_time}) : list.status();
        }
        const auto spectral = std::count_if(flags->problems.begin(), flags->problems.end(), is_spectral);
        if (spectral == 0) {
            return bench(*flags);
        }
        if (static_cast<size_t>(spectral) < flags->problems.size() || !flags->shapes.empty()) {
            return Status(StatusCode::kInvalidArgument, "spectral products are timed apart from convolutions");
        }
        if (flags->cold || flags->wall_clock || flags->profile || flags->rank_one || !flags->filter.empty() || flags->algorithm != "auto") {
            return Status(StatusCode::kInvalidArgument, "a spectral product takes none of --cold, --wall-clock, --profile, --rank-one, --filter and --algorithm");
        }
        return bench_spectral(flags->problems, {flags->plan, flags->variant, flags->all_variants, flags->json, flags->include_packing, !flags->trust, flags->min_time});
    };
}

}  // namespace fourfold::cli
