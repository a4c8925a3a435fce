#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include <fmt/format.h>

#include "files.h"
#include "fourfold/plan.h"
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

Result<std::vector<EarlierResult>> read_results(const std::string &path) {
    const Result<std::string> text = read_file(path);
    if (!text) {
        return text.status();
    }
    const auto bad = [&](const std::string &why) { return Status(StatusCode::kInvalidArgument, fmt::format("'{}': {}", path, why)); };
    std::vector<EarlierResult> results;
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
        const auto cell = [&](const char *name) { return columns[name] < cells.size() ? cells[columns[name]] : std::string(); };
        if (cell("outcome") != "timed") {
            continue;
        }
        EarlierResult r{cell("problem"), cell("algorithm"), {}};
        const std::string samples = cell("samples_ms");
        for (std::string_view word : split(samples, ' ')) {
            const std::string number(word);
            char *end = nullptr;
            const double value = std::strtod(number.c_str(), &end);
            if (number.empty() || *end != '\0' || !(value > 0.0) || !std::isfinite(value)) {
                return bad(fmt::format("'{}' is no time in milliseconds", number));
            }
            r.seconds.push_back(value / 1e3);
        }
        results.push_back(std::move(r));
    }
    if (columns.empty()) {
        return bad("it is empty");
    }
    return results;
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

std::string to_csv(const Report &report) {
    std::string out =
        "group,name,problem,axis,value,algorithm,variant,chosen,outcome,reason,ms_min,ms_median,gflops,peak_share,workspace_bytes,packed_filter_bytes,max_error,"
        "machine,microarchitecture,isa,threads,peak_gflops,memory_gb_s,date,version,samples_ms\n";
    const MachineInfo &m = machine();
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                const bool timed = e.outcome == Outcome::kTimed, planned = timed || e.outcome == Outcome::kWrong;
                const double rate = timed ? item.problem.flops() / e.min_seconds : 0.0;
                out += fmt::format("{},{},{},{},{},{},{},{},{},{},", csv_cell(group.title), csv_cell(item.name), csv_cell(item.problem.to_string()), group.axis,
                                   group.axis.empty() ? "" : std::to_string(item.value), to_string(e.algorithm), csv_cell(e.variant), e.chosen ? 1 : 0, to_string(e.outcome),
                                   csv_cell(e.reason));
                out += timed ? fmt::format("{:.6g},{:.6g},{:.5g},{:.4f},", e.min_seconds * 1e3, e.median_seconds * 1e3, rate / 1e9, rate / report.limits.peak_flops) : ",,,,";
                out += planned ? fmt::format("{},{},", e.workspace_bytes, e.packed_filter_bytes) : ",,";
                out += e.max_error >= 0 ? fmt::format("{:.3g},", e.max_error) : ",";
                out += fmt::format("{},{},{},{},{:.5g},{:.4g},{},{},{}\n", csv_cell(m.cpu), csv_cell(m.microarchitecture), m.isa, report.limits.threads,
                                   report.limits.peak_flops / 1e9, report.limits.bandwidth() / 1e9, report.date, version(), samples_text(e.seconds));
            }
        }
    }
    return out;
}

}  // namespace fourfold::cli
