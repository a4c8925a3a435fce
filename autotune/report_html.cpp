// The HTML page of `fourfold compare`: what was measured where, the roofline, bars per problem, lines per sweep, two reports side by
// side, and all numbers in tables.
#include <algorithm>
#include <cmath>
#include <set>

#include <fmt/format.h>

#include "report_plots.h"
#include "text.h"

namespace fourfold::cli {
namespace {

constexpr const char *kStyle = R"css(
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1560px; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 40px 0 4px; } h3 { font-size: 14px; margin: 0; }
p { margin: 4px 0 12px; max-width: 90ch; } .soft { color: var(--soft); } code { font-size: 12px; color: var(--soft); overflow-wrap: anywhere; } a { color: inherit; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(662px, 100%), 1fr)); gap: 12px; }
.narrow { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.card { min-width: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; } .wide { max-width: 1000px; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; } .facts .card { min-width: 150px; } .facts b { display: block; font-size: 22px; line-height: 1.25; }
.legend span { margin-right: 16px; white-space: nowrap; } .legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 5px; vertical-align: -1px; }
svg { display: block; width: 100%; height: auto; margin-top: 6px; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
.l { text-align: left; } tr.first td { border-top: 2px solid var(--line); } tr.chosen td { font-weight: 600; } .bad, .worse { color: var(--worse); font-weight: 600; } .better { color: var(--better); font-weight: 600; }
details { margin: 8px 0; } summary { cursor: pointer; }
@media print { body { max-width: none; } .scroll { overflow: visible; } svg { min-width: 0 !important; } .card { break-inside: avoid; } }
)css";

std::string legend(const Report &report) {
    std::set<Algorithm> seen;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                seen.insert(e.algorithm);
            }
        }
    }
    std::string out = "<p class=\"legend\">";
    for (Algorithm a : seen) {
        out += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", colour(a), to_string(a));
    }
    return out + "<span>★, ○ what auto chose</span></p>\n";
}

std::string shape_cards(const Report &report, const ReportGroup &group, const Report *before) {
    std::string out = "<div class=\"grid\">\n";
    for (const ReportItem &item : group.items) {
        const std::string problem = item.problem.to_string();
        out += fmt::format("<div class=\"card\"><h3>{}</h3><code>{}</code>\n{}</div>\n", escaped(item.name), item.name == problem ? "" : escaped(problem), on_page(bar_plot(report, item, before)));
    }
    return out + "</div>\n";
}

std::string table(const Report &report, const ReportGroup &group, const Report *before) {
    std::string out =
        "<details><summary>all numbers</summary><div class=\"scroll\"><table>\n<tr><th class=\"l\">name</th><th class=\"l\">algorithm</th><th class=\"l\">variant</th><th>ms min</th>"
        "<th>ms median</th>";
    out += before != nullptr ? "<th>median before</th><th>before / now</th>" : "";
    const bool copies = !report.device.empty();
    out += copies ? "<th>copies ms</th>" : "";
    out += "<th>GFLOP/s</th><th>of peak</th><th>workspace</th><th>packed filters</th><th>max error</th></tr>\n";
    for (const ReportItem &item : group.items) {
        bool first = true;
        for (const Entry &e : item.entries) {
            out += fmt::format("<tr class=\"{}{}\"><td class=\"l\">{}</td><td class=\"l\">{}{}</td>", first ? "first " : "", e.chosen ? "chosen" : "", first ? escaped(item.name) : "",
                               e.chosen ? "★ " : "", to_string(e.algorithm));
            if (e.outcome == Outcome::kTimed) {
                out += fmt::format("<td class=\"l\">{}</td><td>{}</td><td>{}</td>", escaped(e.variant), milliseconds_text(e.min_seconds), milliseconds_text(e.median_seconds));
                if (before != nullptr) {
                    const Entry *old = timed_entry(*before, item.problem, e.algorithm);
                    out += old != nullptr ? fmt::format("<td>{}</td><td>{:.2f}</td>", milliseconds_text(old->median_seconds), old->median_seconds / e.median_seconds) : "<td>-</td><td>-</td>";
                }
                out += copies ? fmt::format("<td>{}</td>", e.transfer_seconds > 0 ? milliseconds_text(e.transfer_seconds) : "-") : "";
                out += fmt::format("<td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", short_number(gflops(item, e)), report.limits.peak_flops > 0 ? fmt::format("{:.1f}%", gflops(item, e) * 1e11 / report.limits.peak_flops) : "-",
                                   bytes_text(e.workspace_bytes), bytes_text(e.packed_filter_bytes), error_text(e.max_error));
            } else {
                out += fmt::format("<td class=\"l {}\" colspan=\"{}\">{}: {}</td></tr>\n", e.outcome == Outcome::kWrong ? "bad" : "soft", 8 + 2 * (before != nullptr) + copies, to_string(e.outcome), escaped(e.reason));
            }
            first = false;
        }
    }
    return out + "</table></div></details>\n";
}

/// From where on a sweep is without the plain loop nest.
std::string naive_note(const ReportGroup &group) {
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            if (e.algorithm == Algorithm::kNaive && e.outcome == Outcome::kSkipped) {
                return fmt::format(" naive is skipped from {} = {} on: {}.", group.axis, item.value, e.reason);
            }
        }
    }
    return "";
}

/// How many times as fast as the plain loop nest auto's choices are: the geometric mean where both were timed; 0 without any.
double gain_over_naive(const Report &report) {
    double logs = 0.0;
    int count = 0;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            double naive = 0.0, chosen = 0.0;
            for (const Entry &e : item.entries) {
                if (e.outcome == Outcome::kTimed) {
                    naive = e.algorithm == Algorithm::kNaive ? e.min_seconds : naive;
                    chosen = e.chosen ? e.min_seconds : chosen;
                }
            }
            if (naive > 0.0 && chosen > 0.0) {
                logs += std::log(naive / chosen);
                ++count;
            }
        }
    }
    return count > 0 ? std::exp(logs / count) : 0.0;
}

std::string fact(const std::string &value, const std::string &what) {
    return fmt::format("<div class=\"card\"><b>{}</b><span class=\"soft\">{}</span></div>\n", value, what);
}

std::string heading(const Report &report) {
    std::string out = "<h1>fourfold: all algorithms compared</h1>\n";
    out += fmt::format("<p class=\"soft\">{}<br>{}, {}{}. Time is the least of several samples of execute alone, filters packed, every result checked "
                       "against a double-precision reference first{}.</p>\n",
                       escaped(report.machine_text()), escaped(report.library_text()), escaped(report.date), report.seconds > 0 ? fmt::format(", {:.0f} s of measuring", report.seconds) : "", report.device.empty() ? "" : "; copies to the device and back are besides, and stand apart");
    const ChoiceSummary summary = summarize_choices(report);
    out += "<div class=\"facts\">\n";
    if (summary.problems > 0) {
        out += fact(fmt::format("{} of {}", summary.fastest, summary.problems), "problems where auto's choice was the fastest, within 2 %");
        out += fact(fmt::format("{:.2f}", summary.mean_ratio), "auto's time over the best time, on average");
        out += summary.worst_name.empty() ? "" : fact(fmt::format("{:.2f}", summary.worst_ratio), "at worst: " + escaped(summary.worst_name));
    }
    if (const double gain = gain_over_naive(report); gain > 0.0) {
        out += fact(short_number(gain) + " ×", "as fast as the plain loop nest (naive), geometric mean where it was timed");
    }
    return out + "</div>\n" + legend(report);
}

/// Two reports side by side.
std::string against(const Report &report, const Report &before) {
    const std::vector<Difference> list = differences(report, before);
    std::string out = "<h2>Before and now</h2>\n<div class=\"scroll\"><table>\n<tr><th></th><th class=\"l\">before</th><th class=\"l\">now</th></tr>\n";
    const auto row = [&](const char *name, const std::string &a, const std::string &b) {
        out += fmt::format("<tr><td class=\"l soft\">{}</td><td class=\"l\">{}</td><td class=\"l{}\">{}</td></tr>\n", name, escaped(a), a == b ? "" : " bad", escaped(b));
    };
    const auto limits = [](const Report &r) { return r.limits.peak_flops <= 0 ? std::string("-") : fmt::format("{:.0f} GFLOP/s, {:.1f} GB/s", r.limits.peak_flops / 1e9, r.limits.bandwidth() / 1e9); };
    if (!before.device.empty() || !report.device.empty()) {
        row("device", before.device.empty() ? "cpu" : before.device, report.device.empty() ? "cpu" : report.device);
    }
    row("machine", fmt::format("{} ({}, {})", before.cpu, before.microarchitecture, before.isa), fmt::format("{} ({}, {})", report.cpu, report.microarchitecture, report.isa));
    row("threads", std::to_string(before.limits.threads), std::to_string(report.limits.threads));
    row("fourfold", before.version, report.version);
    const auto known = [](const std::string &text) { return text.empty() ? "not recorded" : text; };
    row("made with", known(before.made_with), known(report.made_with));
    out += fmt::format("<tr><td class=\"l soft\">commit</td><td class=\"l\">{}</td><td class=\"l\">{}</td></tr>\n", escaped(known(before.commit)), escaped(known(report.commit)));
    out += fmt::format("<tr><td class=\"l soft\">date</td><td class=\"l\">{}</td><td class=\"l\">{}</td></tr>\n<tr><td class=\"l soft\">measured peak, memory</td><td class=\"l\">{}</td><td class=\"l\">{}</td></tr>\n</table></div>\n",
                       escaped(before.date), escaped(report.date), limits(before), limits(report));
    if (list.empty()) {
        return out + "<p class=\"soft\">No problem and algorithm was timed in both.</p>\n";
    }
    int better = 0, worse = 0;
    double logs = 0.0;
    for (const Difference &d : list) {
        better += d.differs && d.before > d.now;
        worse += d.differs && d.before < d.now;
        logs += std::log(d.before / d.now);
    }
    out += fmt::format("<p><span class=\"better\">{} faster</span>, <span class=\"worse\">{} slower</span>, {} undecided (Mann-Whitney, p &lt; 0.05, over 1 %); time before / now {:.3f} on average. "
                       "Lines across the bars and faint dashed lines show below where each was before.</p>\n<div class=\"card wide\">{}</div>\n",
                       better, worse, static_cast<int>(list.size()) - better - worse, std::exp(logs / static_cast<double>(list.size())), on_page(difference_plot(list)));
    return out;
}

}  // namespace

std::string to_html(const Report &report, const Report *before) {
    std::string out = fmt::format("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                                  "<title>fourfold compare</title>\n<style>\n:root {{ color-scheme: light dark; {}}}\n@media (prefers-color-scheme: dark) {{ :root {{ {}}} }}{}{}</style>\n</head>\n<body>\n",
                                  light_colours(), dark_colours(), kStyle, kPlotStyle);
    out += heading(report);
    if (before != nullptr) {
        out += against(report, *before);
    }
    if (const std::string roofline = on_page(roofline_plot(report)); !roofline.empty()) {
        out += "<h2>Roofline</h2>\n<p class=\"soft\">Every problem's algorithms under what arithmetic and memory allow. GFLOP/s count the direct algorithm's operations, so algorithms "
               "that do fewer can pass the roof. Numbers, whose names stand below, are at auto's choices; the other names appear under the pointer.</p>\n<div class=\"card wide\">" +
               roofline + "</div>\n";
    }
    std::string plots, tables;
    for (const ReportGroup &group : report.groups) {
        if (group.items.empty()) {
            continue;
        }
        if (group.axis.empty()) {
            out += fmt::format("<h2>{}</h2>\n<p class=\"soft\">A longer bar is faster. GFLOP/s count the direct algorithm's operations{}.</p>\n", escaped(group.title), report.limits.peak_flops > 0 ? fmt::format("; the measured FMA peak is {:.0f}", report.limits.peak_flops / 1e9) : "");
            out += shape_cards(report, group, before) + table(report, group, before);
        } else {
            const std::string plot = on_page(line_plot(group, before));
            plots += fmt::format("<div class=\"card\"><h3>{}</h3>\n{}<p class=\"soft\">{}</p></div>\n", escaped(group.title), plot.empty() ? "<p class=\"soft\">Nothing was timed.</p>\n" : plot, escaped(crossover_text(group) + naive_note(group)));
            tables += fmt::format("<h3>{}</h3>\n{}", escaped(group.title), table(report, group, before));
        }
    }
    if (!plots.empty()) {
        out += "<h2>One size varied</h2>\n<p class=\"soft\">Time, lower is faster, both axes logarithmic, around b4 ic32 i32x32 oc32 f3x3 with same padding. A ring marks what auto "
               "chose, a dotted upright line where the fastest algorithm changes. Lines stop where an algorithm refuses or was skipped.</p>\n<div class=\"grid narrow\">\n" +
               plots + "</div>\n" + tables;
    }
    return out + "</body>\n</html>\n";
}

}  // namespace fourfold::cli
