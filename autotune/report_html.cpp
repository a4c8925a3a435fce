// The HTML page of `fourfold compare`: bars per problem, lines per sweep, and all numbers in tables.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "report.h"
#include "text.h"

namespace fourfold::cli {
namespace {

constexpr const char *kStyle = R"css(
:root { color-scheme: light dark; --page: #f7f7f5; --card: #ffffff; --ink: #1c1c1a; --soft: #62625e; --line: #dcdcd8;
  --naive: #8b8b86; --direct: #2a78d6; --im2col: #e0642c; --fft: #159a6b; --fft_tiled: #6a55c9; --winograd: #c23b5f; }
@media (prefers-color-scheme: dark) { :root { --page: #161615; --card: #20201e; --ink: #ecece8; --soft: #a5a59f; --line: #3a3a37;
  --naive: #8f8f89; --direct: #4b93ea; --im2col: #e8753f; --fft: #25b381; --fft_tiled: #9c8df0; --winograd: #e4607f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px; max-width: 1500px; background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 4px; } h3 { font-size: 14px; margin: 0; }
p { margin: 4px 0 12px; max-width: 90ch; } .soft { color: var(--soft); } code { font-size: 12px; color: var(--soft); overflow-wrap: anywhere; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(430px, 100%), 1fr)); gap: 12px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px; }
.legend span { margin-right: 16px; white-space: nowrap; } .legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 5px; vertical-align: -1px; }
svg { display: block; width: 100%; height: auto; margin-top: 6px; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
svg .bold { font-weight: 650; } svg .axis { stroke: var(--line); stroke-width: 1; } svg path { fill: none; stroke-width: 2; } svg .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 3px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; } th { color: var(--soft); font-weight: 600; }
.l { text-align: left; } tr.first td { border-top: 2px solid var(--line); } tr.chosen td { font-weight: 600; } .bad { color: var(--winograd); font-weight: 600; }
details { margin: 8px 0; } summary { cursor: pointer; }
)css";

std::string escaped(const std::string &text) {
    std::string out;
    for (char c : text) {
        switch (c) {
        case '<':
            out += "&lt;";
            break;
        case '>':
            out += "&gt;";
            break;
        case '&':
            out += "&amp;";
            break;
        case '"':
            out += "&quot;";
            break;
        default:
            out += c;
        }
    }
    return out;
}

std::string colour(Algorithm algorithm) {
    return fmt::format("var(--{})", to_string(algorithm));
}

double gflops(const ReportItem &item, const Entry &e) {
    return item.problem.flops() / e.min_seconds / 1e9;
}

/// About three digits, never an exponent for large values.
std::string short_number(double value) {
    return value >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

std::string time_text(double seconds) {
    return seconds < 1e-3 ? short_number(seconds * 1e6) + " µs" : seconds < 1 ? short_number(seconds * 1e3) + " ms" : short_number(seconds) + " s";
}

std::vector<Algorithm> algorithms_in(const Report &report) {
    std::vector<Algorithm> seen;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                if (std::find(seen.begin(), seen.end(), e.algorithm) == seen.end()) {
                    seen.push_back(e.algorithm);
                }
            }
        }
    }
    std::sort(seen.begin(), seen.end());
    return seen;
}

std::string legend(const Report &report) {
    std::string out = "<p class=\"legend\">";
    for (Algorithm a : algorithms_in(report)) {
        out += fmt::format("<span><i style=\"background:{}\"></i>{}</span>", colour(a), to_string(a));
    }
    return out + "</p>\n";
}

/// One problem: a horizontal bar per algorithm, longer is faster.
std::string bars(const ReportItem &item) {
    constexpr double width = 460, label = 74, row = 21, room = 178;
    double most = 0.0;
    for (const Entry &e : item.entries) {
        most = e.outcome == Outcome::kTimed ? std::max(most, gflops(item, e)) : most;
    }
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"GFLOP/s of {}\">\n", width, row * static_cast<double>(item.entries.size()), escaped(item.name));
    double y = 0;
    for (const Entry &e : item.entries) {
        const double text_y = y + 15;
        out += fmt::format("<text x=\"0\" y=\"{}\"{}>{}{}</text>", text_y, e.chosen ? " class=\"bold\"" : "", e.chosen ? "★ " : "", to_string(e.algorithm));
        if (e.outcome == Outcome::kTimed) {
            const double length = std::max(1.0, (width - label - room) * gflops(item, e) / most);
            out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"15\" rx=\"3\" style=\"fill:{}\"><title>{} {}</title></rect>", label, y + 3, length,
                               colour(e.algorithm), to_string(e.algorithm), escaped(e.variant));
            out += fmt::format("<text x=\"{:.1f}\" y=\"{}\"{}>{} · {} GFLOP/s</text>\n", label + length + 6, text_y, e.chosen ? " class=\"bold\"" : "", time_text(e.min_seconds),
                               short_number(gflops(item, e)));
        } else {
            const std::string why = e.reason.size() > 52 ? e.reason.substr(0, 51) + "…" : e.reason;
            out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"soft\">{}: {}<title>{}</title></text>\n", label, text_y, to_string(e.outcome), escaped(why), escaped(e.reason));
        }
        y += row;
    }
    return out + "</svg>\n";
}

std::string shape_cards(const ReportGroup &group) {
    std::string out = "<div class=\"grid\">\n";
    for (const ReportItem &item : group.items) {
        const std::string problem = item.problem.to_string();
        out += fmt::format("<div class=\"card\"><h3>{}</h3><code>{}</code>\n{}</div>\n", escaped(item.name), item.name == problem ? "" : escaped(problem), bars(item));
    }
    return out + "</div>\n";
}

/// A logarithmic scale from values to pixels.
struct LogScale {
    double lo, hi, from, to;
    double operator()(double v) const {
        return hi > lo ? from + (to - from) * std::log(v / lo) / std::log(hi / lo) : (from + to) / 2;
    }
};

/// One sweep: time against the axis, a line per algorithm, a ring around auto's choice.
std::string line_plot(const ReportGroup &group) {
    constexpr double width = 460, height = 300, left = 58, right = 12, top = 10, bottom = 36;
    double least = 1e30, most = 0.0;
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            if (e.outcome == Outcome::kTimed) {
                least = std::min(least, e.min_seconds);
                most = std::max(most, e.min_seconds);
            }
        }
    }
    if (most == 0.0) {
        return "<p class=\"soft\">nothing was timed</p>\n";
    }
    const LogScale x{static_cast<double>(group.items.front().value), static_cast<double>(group.items.back().value), left + 8, width - right - 8};
    const LogScale y{least / 1.3, most * 1.3, height - bottom, top};

    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"time against {}\">\n", width, height, group.axis);
    const bool narrow = y.hi / y.lo < 300;  // then decades alone are too few lines
    for (int tick = -27; tick <= 12; ++tick) {
        const int decade = tick < 0 ? (tick - 2) / 3 : tick / 3, step = tick - 3 * decade;
        const double t = std::pow(10.0, decade) * (step == 0 ? 1 : step == 1 ? 2 : 5);
        if (t >= y.lo && t <= y.hi && (narrow || step == 0)) {
            out += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>", left, width - right, y(t), y(t));
            out += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left - 6, y(t) + 4, time_text(t));
        }
    }
    out += fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>\n", left, width - right, height - bottom);
    double last_label = -1e30;
    for (const ReportItem &item : group.items) {
        const double at = x(static_cast<double>(item.value));
        if (at - last_label > 20) {
            out += fmt::format("<text class=\"soft\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at, height - bottom + 16, item.value);
            last_label = at;
        }
    }
    out += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (left + width - right) / 2, height - 4, group.axis);

    struct Line {
        std::string path, points;
        bool broken = true;  ///< the next point starts a new piece
    };
    std::map<Algorithm, Line> lines;
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            Line &line = lines[e.algorithm];
            if (e.outcome != Outcome::kTimed) {
                line.broken = true;
                continue;
            }
            const double px = x(static_cast<double>(item.value)), py = y(e.min_seconds);
            line.path += fmt::format("{}{:.1f} {:.1f}", line.broken ? "M" : "L", px, py);
            line.broken = false;
            line.points += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" style=\"fill:{}\"><title>{} = {}, {}: {}</title></circle>\n", px, py, colour(e.algorithm),
                                       group.axis, item.value, to_string(e.algorithm), time_text(e.min_seconds));
            if (e.chosen) {
                line.points += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6.5\"/>\n", px, py);
            }
        }
    }
    for (const auto &[algorithm, line] : lines) {
        out += fmt::format("<path d=\"{}\" style=\"stroke:{}\"/>\n", line.path, colour(algorithm));
    }
    for (const auto &[algorithm, line] : lines) {
        out += line.points;
    }
    return out + "</svg>\n";
}

std::string table(const Report &report, const ReportGroup &group) {
    std::string out =
        "<details><summary>all numbers</summary><div class=\"scroll\"><table>\n<tr><th class=\"l\">name</th><th class=\"l\">algorithm</th><th class=\"l\">variant</th><th>ms min</th>"
        "<th>ms median</th><th>GFLOP/s</th><th>of peak</th><th>workspace</th><th>packed filters</th><th>max error</th></tr>\n";
    for (const ReportItem &item : group.items) {
        bool first = true;
        for (const Entry &e : item.entries) {
            out += fmt::format("<tr class=\"{}{}\"><td class=\"l\">{}</td><td class=\"l\">{}{}</td>", first ? "first " : "", e.chosen ? "chosen" : "", first ? escaped(item.name) : "",
                               e.chosen ? "★ " : "", to_string(e.algorithm));
            if (e.outcome == Outcome::kTimed) {
                out += fmt::format("<td class=\"l\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{:.1f}%</td><td>{}</td><td>{}</td><td>{}</td></tr>\n", escaped(e.variant),
                                   milliseconds_text(e.min_seconds), milliseconds_text(e.median_seconds), short_number(gflops(item, e)), gflops(item, e) * 1e11 / report.limits.peak_flops,
                                   bytes_text(e.workspace_bytes), bytes_text(e.packed_filter_bytes), error_text(e.max_error));
            } else {
                out += fmt::format("<td class=\"l {}\" colspan=\"8\">{}: {}</td></tr>\n", e.outcome == Outcome::kWrong ? "bad" : "soft", to_string(e.outcome), escaped(e.reason));
            }
            first = false;
        }
    }
    return out + "</table></div></details>\n";
}

std::string heading(const Report &report) {
    std::string out = "<h1>fourfold: all algorithms compared</h1>\n";
    out += fmt::format("<p class=\"soft\">{}<br>fourfold {}, {}, {:.0f} s of measuring. Time is the least of several samples of execute alone, filters packed, every result checked "
                       "against a double-precision reference first.</p>\n",
                       escaped(machine_text(report.limits)), version(), report.date, report.seconds);
    const ChoiceSummary summary = summarize_choices(report);
    if (summary.problems > 0) {
        out += fmt::format("<p>What <b>auto</b> chose (★ and rings) was the fastest, within 2%, for <b>{} of {}</b> problems; on average its choice took {:.2f} times the best time{}.</p>\n",
                           summary.fastest, summary.problems, summary.mean_ratio,
                           summary.worst_name.empty() ? "" : fmt::format(", at worst {:.2f} times ({})", summary.worst_ratio, escaped(summary.worst_name)));
    }
    return out + legend(report);
}

}  // namespace

std::string to_html(const Report &report) {
    std::string out = fmt::format("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                                  "<title>fourfold compare</title>\n<style>{}</style>\n</head>\n<body>\n",
                                  kStyle);
    out += heading(report);
    std::string plots, tables;
    for (const ReportGroup &group : report.groups) {
        if (group.items.empty()) {
            continue;
        }
        if (group.axis.empty()) {
            out += fmt::format("<h2>{}</h2>\n<p class=\"soft\">GFLOP/s of the direct algorithm's operations; longer is faster, and fast algorithms can pass the peak of {:.0f}.</p>\n",
                               escaped(group.title), report.limits.peak_flops / 1e9);
            out += shape_cards(group) + table(report, group);
        } else {
            plots += fmt::format("<div class=\"card\"><h3>{}</h3>\n{}</div>\n", escaped(group.title), line_plot(group));
            tables += fmt::format("<h3>{}</h3>\n{}", escaped(group.title), table(report, group));
        }
    }
    if (!plots.empty()) {
        out += "<h2>One size varied</h2>\n<p class=\"soft\">Time, lower is faster, both axes logarithmic, around b4 ic32 i32x32 oc32 f3x3 with same padding; a ring marks what auto "
               "chose. Lines stop where an algorithm refuses or was skipped.</p>\n<div class=\"grid\">\n" +
               plots + "</div>\n" + tables;
    }
    return out + "</body>\n</html>\n";
}

}  // namespace fourfold::cli
