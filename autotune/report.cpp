#include "report.h"

#include <cmath>

#include <fmt/format.h>

#include "fourfold/plan.h"

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

}  // namespace

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
        "machine,microarchitecture,isa,threads,peak_gflops,memory_gb_s,date,version\n";
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
                out += fmt::format("{},{},{},{},{:.5g},{:.4g},{},{}\n", csv_cell(m.cpu), csv_cell(m.microarchitecture), m.isa, report.limits.threads,
                                   report.limits.peak_flops / 1e9, report.limits.bandwidth() / 1e9, report.date, version());
            }
        }
    }
    return out;
}

}  // namespace fourfold::cli
