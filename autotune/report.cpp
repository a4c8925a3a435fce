#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "files.h"
#include "fourfold/plan.h"
#include "search.h"
#include "shapes.h"
#include "text.h"

namespace fourfold::cli {
namespace {

std::string csv_cell(const std::string &text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) {
        return text;
    }
    std::string quoted = "\"";
    for (char c : text) {
        quoted += c == '"' ? "\"\"" : std::string(1, c);
    }
    return quoted + "\"";
}

/// At most 40 of them, evenly taken, in milliseconds: enough for a test of ranks.
std::string samples_text(const std::vector<double> &seconds) {
    constexpr size_t most = 40;
    const size_t count = std::min(most, seconds.size());
    std::string text;
    for (size_t i = 0; i < count; ++i) {
        text += fmt::format("{}{:.6g}", i > 0 ? " " : "", seconds[i * seconds.size() / count] * 1e3);
    }
    return text;
}

/// Cells of one line of CSV, quotes undone.
std::vector<std::string> csv_cells(const std::string &line) {
    std::vector<std::string> cells(1);
    bool quoted = false;
    for (size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (c == '"') {
            if (quoted && i + 1 < line.size() && line[i + 1] == '"') {
                cells.back() += line[++i];
            } else {
                quoted = !quoted;
            }
        } else if (c == ',' && !quoted) {
            cells.emplace_back();
        } else if (c != '\r') {
            cells.back() += c;
        }
    }
    return cells;
}

}  // namespace

std::string Report::origin() const {
    return fmt::format("{}{} ({}, {}), {} thread{}", device.empty() ? "" : device + " in ", cpu, microarchitecture, isa, limits.threads, limits.threads == 1 ? "" : "s");
}

std::string Report::machine_text() const {
    return limits.peak_flops <= 0 ? origin() : fmt::format("{}: measured FMA peak {:.0f} GFLOP/s ({}), memory {:.1f} GB/s", origin(), limits.peak_flops / 1e9, limits.fma_isa, limits.bandwidth() / 1e9);
}

std::string Report::library_text() const {
    return fmt::format("fourfold {}{}{}", version, commit.empty() ? "" : ", commit " + commit, made_with.empty() ? "" : " (" + made_with + ")");
}

Result<Report> read_report(const std::string &path) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}': {}", path, why)); };
    Report report;
    std::map<std::string, size_t> columns;
    for (std::string_view raw : split(*text, '\n')) {
        if (trim(raw).empty()) {
            continue;
        }
        const std::vector<std::string> cells = csv_cells(std::string(raw));
        if (columns.empty()) {
            for (size_t i = 0; i < cells.size(); ++i) {
                columns[cells[i]] = i;
            }
            for (const char *name : {"problem", "algorithm", "outcome", "samples_ms"}) {
                if (columns.count(name) == 0) {
                    return bad(fmt::format("there is no column '{}'; expected a results.csv of fourfold compare", name));
                }
            }
            continue;
        }
        const auto cell = [&](const char *name) {
            const auto at = columns.find(name);
            return at != columns.end() && at->second < cells.size() ? cells[at->second] : std::string();
        };
        const auto number = [&](const char *name, double otherwise) {
            const std::string digits = cell(name);
            char *end = nullptr;
            const double value = std::strtod(digits.c_str(), &end);
            return digits.empty() || *end != '\0' || !std::isfinite(value) ? otherwise : value;
        };
        const Result<Conv2dProblem> problem = parse_valid_problem(cell("problem"));
        const Result<Algorithm> algorithm = parse_algorithm(cell("algorithm"));
        if (!problem || !algorithm) {
            return bad((problem ? algorithm.status() : problem.status()).message());
        }
        Entry e;
        e.algorithm = *algorithm;
        e.variant = cell("variant");
        e.chosen = cell("chosen") == "1";
        e.reason = cell("reason");
        e.workspace_bytes = static_cast<size_t>(std::clamp(number("workspace_bytes", 0.0), 0.0, 1e18));
        e.packed_filter_bytes = static_cast<size_t>(std::clamp(number("packed_filter_bytes", 0.0), 0.0, 1e18));
        e.max_error = number("max_error", -1.0);
        e.transfer_seconds = std::max(0.0, number("transfer_ms", 0.0)) / 1e3;
        const std::string outcome = cell("outcome");
        for (Outcome known : {Outcome::kTimed, Outcome::kSkipped, Outcome::kRefused, Outcome::kWrong}) {
            e.outcome = outcome == to_string(known) ? known : e.outcome;
        }
        if (e.outcome == Outcome::kTimed) {
            const std::string samples = cell("samples_ms");
            for (std::string_view word : split(samples, ' ')) {
                const std::string digits(word);
                char *end = nullptr;
                const double value = std::strtod(digits.c_str(), &end);
                if (digits.empty() || *end != '\0' || !(value > 0.0) || !std::isfinite(value)) {
                    return bad(fmt::format("'{}' is no time in milliseconds", digits));
                }
                e.seconds.push_back(value / 1e3);
            }
            // The samples are some of all; the least and the median are of all.
            const double least = number("ms_min", 0.0), middle = number("ms_median", 0.0);
            e.min_seconds = least > 0.0 ? least / 1e3 : *std::min_element(e.seconds.begin(), e.seconds.end());
            e.median_seconds = middle > 0.0 ? middle / 1e3 : median(e.seconds);
        }
        const std::string before = report.origin();
        report.device = cell("device");
        report.cpu = cell("machine");
        report.microarchitecture = cell("microarchitecture");
        report.isa = report.limits.fma_isa = cell("isa");
        report.version = cell("version");
        report.made_with = cell("made_with");
        report.commit = cell("commit");
        report.date = cell("date");
        report.limits.threads = static_cast<int>(std::clamp(number("threads", 1.0), 1.0, 4096.0));
        if (!report.groups.empty() && report.origin() != before) {
            return bad(fmt::format("its rows are of {}, and of {}; one device, machine, ISA level and number of threads make one file", before, report.origin()));
        }
        report.limits.peak_flops = number("peak_gflops", 0.0) * 1e9;
        report.limits.read_bytes = number("memory_gb_s", 0.0) * 1e9;
        const std::string title = cell("group"), name = cell("name").empty() ? problem->to_string() : cell("name");
        if (report.groups.empty() || report.groups.back().title != title) {
            report.groups.push_back({title, cell("axis"), {}});
        }
        std::vector<ReportItem> &items = report.groups.back().items;
        if (items.empty() || items.back().name != name || !(items.back().problem == *problem)) {
            items.push_back({name, static_cast<int64_t>(number("value", 0.0)), *problem, {}});
        }
        items.back().entries.push_back(std::move(e));
    }
    if (columns.empty()) {
        return bad("it is empty");
    }
    if (report.groups.empty()) {
        return bad("it has no rows");
    }
    return report;
}

std::vector<Difference> differences(const Report &now, const Report &before) {
    constexpr double significant = 0.05, least = 0.01;
    std::map<std::pair<std::string, Algorithm>, const Entry *> known;
    for (const ReportGroup &group : before.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                if (e.outcome == Outcome::kTimed && !e.seconds.empty()) {
                    known[{item.problem.to_string(), e.algorithm}] = &e;
                }
            }
        }
    }
    std::vector<Difference> list;
    for (const ReportGroup &group : now.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                const auto at = known.find({item.problem.to_string(), e.algorithm});
                if (at == known.end() || e.outcome != Outcome::kTimed || e.seconds.empty()) {
                    continue;
                }
                Difference d{group.title, item.name, e.algorithm, median(at->second->seconds), median(e.seconds), mann_whitney(at->second->seconds, e.seconds), false, e.chosen};
                d.differs = d.p < significant && std::fabs(std::log(d.before / d.now)) > least;
                list.push_back(std::move(d));
            }
        }
    }
    return list;
}

ChoiceSummary summarize_choices(const Report &report) {
    ChoiceSummary summary;
    double log_sum = 0.0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            const double best = best_seconds(item.entries);
            int timed = 0;
            double chosen = 0.0;
            for (const Entry &e : item.entries) {
                timed += e.outcome == Outcome::kTimed && e.algorithm != Algorithm::kNaive;
                chosen = e.chosen && e.outcome == Outcome::kTimed ? e.min_seconds : chosen;
            }
            if (timed < 2 || chosen <= 0.0) {
                continue;
            }
            const double ratio = chosen / best;
            ++summary.problems;
            summary.fastest += ratio <= 1.02;
            log_sum += std::log(ratio);
            if (ratio > summary.worst_ratio) {
                summary.worst_ratio = ratio;
                summary.worst_name = item.name;
            }
        }
    }
    summary.mean_ratio = summary.problems > 0 ? std::exp(log_sum / summary.problems) : 1.0;
    return summary;
}

std::string made_with() {
    std::string backends;
    for (FftBackend backend : fft_backends()) {
        backends += std::string(backends.empty() ? "" : " and ") + to_string(backend);
    }
    return fmt::format("Halide {}, {} {}, FFT by {}", FOURFOLD_HALIDE_VERSION,
#ifdef __clang__
                       "Clang",
#else
                       "GCC",
#endif
                       __VERSION__, backends.empty() ? "none but our own" : backends);
}

std::string to_csv(const Report &report) {
    std::string out =
        "group,name,problem,axis,value,algorithm,variant,chosen,outcome,reason,ms_min,ms_median,gflops,peak_share,workspace_bytes,packed_filter_bytes,max_error,transfer_ms,"
        "device,machine,microarchitecture,isa,threads,peak_gflops,memory_gb_s,date,version,made_with,commit,samples_ms\n";
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                const bool timed = e.outcome == Outcome::kTimed, planned = timed || e.outcome == Outcome::kWrong;
                const double rate = timed ? item.problem.flops() / e.min_seconds : 0.0;
                out += fmt::format("{},{},{},{},{},{},{},{},{},{},", csv_cell(group.title), csv_cell(item.name), csv_cell(item.problem.to_string()), group.axis,
                                   group.axis.empty() ? "" : std::to_string(item.value), to_string(e.algorithm), csv_cell(e.variant), e.chosen ? 1 : 0, to_string(e.outcome),
                                   csv_cell(e.reason));
                out += timed ? fmt::format("{:.6g},{:.6g},{:.5g},{},", e.min_seconds * 1e3, e.median_seconds * 1e3, rate / 1e9, report.limits.peak_flops > 0 ? fmt::format("{:.4f}", rate / report.limits.peak_flops) : "") : ",,,,";
                out += planned ? fmt::format("{},{},", e.workspace_bytes, e.packed_filter_bytes) : ",,";
                out += e.max_error >= 0 ? fmt::format("{:.3g},", e.max_error) : ",";
                out += e.transfer_seconds > 0 ? fmt::format("{:.6g},", e.transfer_seconds * 1e3) : ",";
                out += fmt::format("{},{},{},{},{},{:.5g},{:.4g},{},{},{},{},{}\n", csv_cell(report.device), csv_cell(report.cpu), csv_cell(report.microarchitecture), report.isa, report.limits.threads,
                                   report.limits.peak_flops / 1e9, report.limits.bandwidth() / 1e9, report.date, report.version, csv_cell(report.made_with), csv_cell(report.commit), samples_text(e.seconds));
            }
        }
    }
    return out;
}

}  // namespace fourfold::cli
