#include "report_plots.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <set>

#include <fmt/format.h>

#include "text.h"

namespace fourfold::cli {

namespace {

struct Colour {
    const char *name, *light, *dark;
};
constexpr Colour kColours[] = {
    {"page", "#f7f7f5", "#161615"},   {"card", "#ffffff", "#20201e"},   {"ink", "#1c1c1a", "#ecece8"},       {"soft", "#62625e", "#a5a59f"},     {"line", "#dcdcd8", "#3a3a37"},
    {"naive", "#8b8b86", "#8f8f89"},  {"direct", "#2a78d6", "#4b93ea"}, {"im2col", "#e0642c", "#e8753f"},    {"fft", "#159a6b", "#25b381"},      {"fft_tiled", "#6a55c9", "#9c8df0"},
    {"winograd", "#c23b5f", "#e4607f"}, {"better", "#2b8a5e", "#4dbb86"}, {"worse", "#c4472f", "#ee7a5f"},
};

std::string variables(const char *Colour::*value) {
    std::string out;
    for (const Colour &c : kColours) {
        out += fmt::format("--{}: {}; ", c.name, c.*value);
    }
    return out;
}

/// With literal colours, sized, and with the rules it needs: what a file of its own wants.
std::string on_its_own(std::string svg) {
    const size_t end = svg.find('>');
    const size_t box = svg.find("viewBox=\"0 0 ") + 13, middle = svg.find(' ', box), quote = svg.find('"', middle);
    const std::string width = svg.substr(box, middle - box), height = svg.substr(middle + 1, quote - middle - 1);
    svg.insert(end + 1, fmt::format("\n<style>{}</style><rect width=\"100%\" height=\"100%\" fill=\"var(--card)\"/>", kPlotStyle));
    svg.insert(5, fmt::format("xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" ", width, height));
    for (const Colour &c : kColours) {
        const std::string variable = fmt::format("var(--{})", c.name);
        for (size_t at = svg.find(variable); at != std::string::npos; at = svg.find(variable, at)) {
            svg.replace(at, variable.size(), c.light);
        }
    }
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + svg;
}

/// A logarithmic scale from values to pixels.
struct LogScale {
    double lo, hi, from, to;
    double operator()(double v) const {
        return hi > lo ? from + (to - from) * std::log(v / lo) / std::log(hi / lo) : (from + to) / 2;
    }
};

/// 1, 2 and 5 times the powers of ten in [lo, hi]; only the powers where that is over about three decades.
std::vector<double> ticks(double lo, double hi) {
    std::vector<double> values;
    for (int decade = -12; decade <= 12; ++decade) {
        for (int step : {1, 2, 5}) {
            const double t = std::pow(10.0, decade) * step;
            if (t >= lo && t <= hi && (step == 1 || hi / lo < 900)) {
                values.push_back(t);
            }
        }
    }
    return values;
}

/// Names beside squares in the algorithms' colours, from x on, in order of `seen`.
std::string legend(const std::set<Algorithm> &seen, double x, double y) {
    std::string out;
    for (Algorithm a : seen) {
        const std::string name = to_string(a);
        out += fmt::format("<rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"10\" height=\"10\" rx=\"2\" style=\"fill:{}\"/><text x=\"{:.0f}\" y=\"{:.0f}\">{}</text>", x, y - 9, colour(a), x + 14, y, name);
        x += 30 + 7.2 * static_cast<double>(name.size());
    }
    return out + "\n";
}

std::string horizontal_grid(const std::vector<double> &values, const LogScale &y, double left, double right, std::string (*text)(double)) {
    std::string out;
    for (double t : values) {
        out += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/><text class=\"soft\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", left, right, y(t), y(t), left - 6, y(t) + 4, text(t));
    }
    return out;
}

/// Where the fastest of one sweep changes.
struct Crossover {
    Algorithm from, to;
    double at;
};

const Entry *fastest(const ReportItem &item) {
    const Entry *best = nullptr;
    for (const Entry &e : item.entries) {
        best = e.outcome == Outcome::kTimed && (best == nullptr || e.min_seconds < best->min_seconds) ? &e : best;
    }
    return best;
}

const Entry *timed_entry(const ReportItem &item, Algorithm algorithm) {
    for (const Entry &e : item.entries) {
        if (e.algorithm == algorithm && e.outcome == Outcome::kTimed) {
            return &e;
        }
    }
    return nullptr;
}

/// Between two points by the intersection of both lines on logarithmic axes; in the middle where one of them has no time.
std::vector<Crossover> crossovers(const ReportGroup &group) {
    std::vector<Crossover> found;
    const ReportItem *last = nullptr;
    for (const ReportItem &item : group.items) {
        const Entry *now = fastest(item), *before = last != nullptr ? fastest(*last) : nullptr;
        if (now != nullptr && before != nullptr && now->algorithm != before->algorithm) {
            const Entry *old_now = timed_entry(item, before->algorithm), *new_before = timed_entry(*last, now->algorithm);
            double share = 0.5;
            if (old_now != nullptr && new_before != nullptr) {
                const double ahead = std::log(new_before->min_seconds / before->min_seconds), behind = std::log(old_now->min_seconds / now->min_seconds);
                share = ahead + behind > 0.0 ? ahead / (ahead + behind) : 0.5;
            }
            const double lo = static_cast<double>(last->value), hi = static_cast<double>(item.value);
            found.push_back({before->algorithm, now->algorithm, lo * std::pow(hi / lo, share)});
        }
        last = now != nullptr ? &item : last;
    }
    return found;
}

/// Bytes that any algorithm has to move: input, filters and output once.
double compulsory_bytes(const Conv2dProblem &p) {
    return 4.0 * (static_cast<double>(p.input_elements()) + static_cast<double>(p.filter_elements()) + static_cast<double>(p.output_elements()));
}

}  // namespace

const char *const kPlotStyle = R"css(
svg text { fill: var(--ink); font: 12px system-ui, "DejaVu Sans", sans-serif; } svg .soft { fill: var(--soft); } svg .bold { font-weight: 650; } svg .end { text-anchor: end; }
svg .axis { stroke: var(--line); stroke-width: 1; } svg path { fill: none; stroke-width: 2; } svg .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg .roof { stroke: var(--ink); stroke-width: 1.5; } svg .cross { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; } svg .before { stroke: var(--ink); stroke-width: 2; }
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

std::string short_number(double value) {
    return value >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

std::string time_text(double seconds) {
    return seconds < 1e-3 ? short_number(seconds * 1e6) + " µs" : seconds < 1 ? short_number(seconds * 1e3) + " ms" : short_number(seconds) + " s";
}

std::string colour(Algorithm algorithm) {
    return fmt::format("var(--{})", to_string(algorithm));
}

double gflops(const ReportItem &item, const Entry &e) {
    return item.problem.flops() / e.min_seconds / 1e9;
}

const Entry *timed_entry(const Report &report, const Conv2dProblem &problem, Algorithm algorithm) {
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            if (item.problem == problem) {
                if (const Entry *e = timed_entry(item, algorithm)) {
                    return e;
                }
            }
        }
    }
    return nullptr;
}

std::string light_colours() {
    return variables(&Colour::light);
}
std::string dark_colours() {
    return variables(&Colour::dark);
}

std::string bar_plot(const Report &report, const ReportItem &item, const Report *before) {
    constexpr double width = 700, left = 84, room = 190, row = 21, head = 18;
    // Right ends of the columns.
    constexpr double time_at = 352, rate_at = 424, peak_at = 480, naive_at = 540, workspace_at = 622, error_at = 698;
    std::map<Algorithm, const Entry *> earlier;
    double most = 0.0;
    for (const Entry &e : item.entries) {
        if (e.outcome == Outcome::kTimed) {
            most = std::max(most, gflops(item, e));
            if (const Entry *b = before != nullptr ? timed_entry(*before, item.problem, e.algorithm) : nullptr) {
                earlier[e.algorithm] = b;
                most = std::max(most, gflops(item, *b));
            }
        }
    }
    const Entry *naive = timed_entry(item, Algorithm::kNaive);
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"GFLOP/s of {}\">\n", width, head + row * static_cast<double>(item.entries.size()), escaped(item.name));
    const std::pair<const char *, double> heads[] = {{"time", time_at}, {"GFLOP/s", rate_at}, {"of peak", peak_at}, {"x naive", naive_at}, {"workspace", workspace_at}, {"max error", error_at}};
    for (const auto &[name, at] : heads) {
        out += fmt::format("<text x=\"{}\" y=\"12\" class=\"soft end\">{}</text>", at, name);
    }
    out += "\n";
    double y = head;
    for (const Entry &e : item.entries) {
        const double text_y = y + 15;
        out += fmt::format("<text x=\"0\" y=\"{}\"{}>{}{}</text>", text_y, e.chosen ? " class=\"bold\"" : "", e.chosen ? "★ " : "", to_string(e.algorithm));
        if (e.outcome == Outcome::kTimed) {
            const auto length = [&](const Entry &of) { return std::max(1.0, room * gflops(item, of) / most); };
            out += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"15\" rx=\"3\" style=\"fill:{}\"><title>{} {}</title></rect>", left, y + 3, length(e), colour(e.algorithm), to_string(e.algorithm),
                               escaped(e.variant));
            if (const auto at = earlier.find(e.algorithm); at != earlier.end()) {
                const double x = left + length(*at->second);
                out += fmt::format("<line class=\"before\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"><title>before: {3}</title></line>", x, y + 1, y + 20, time_text(at->second->min_seconds));
            }
            const double peak = report.limits.peak_flops;
            const std::pair<std::string, double> cells[] = {
                {time_text(e.min_seconds), time_at},
                {short_number(gflops(item, e)), rate_at},
                {peak > 0 ? fmt::format("{:.0f} %", 100 * gflops(item, e) * 1e9 / peak) : "-", peak_at},
                {naive != nullptr ? short_number(naive->min_seconds / e.min_seconds) : "-", naive_at},
                {bytes_text(e.workspace_bytes), workspace_at},
                {error_text(e.max_error), error_at},
            };
            for (const auto &[text, at] : cells) {
                out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"end{}\">{}</text>", at, text_y, e.chosen ? " bold" : "", text);
            }
            out += "\n";
        } else {
            const std::string why = e.reason.size() > 84 ? e.reason.substr(0, 83) + "…" : e.reason;
            out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"soft\">{}: {}<title>{}</title></text>\n", left, text_y, to_string(e.outcome), escaped(why), escaped(e.reason));
        }
        y += row;
    }
    return out + "</svg>\n";
}

std::string roofline_plot(const Report &report) {
    constexpr double width = 960, height = 460, left = 58, right = 16, top = 34, bottom = 42;
    const double peak = report.limits.peak_flops / 1e9, memory = report.limits.bandwidth() / 1e9;
    struct Point {
        const ReportItem *item;
        const Entry *entry;
    };
    std::vector<Point> points;
    std::set<Algorithm> seen;
    double least_x = 1e30, most_x = 0, least_y = 1e30, most_y = peak;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                if (group.axis.empty() && e.outcome == Outcome::kTimed) {
                    const double x = item.problem.flops() / compulsory_bytes(item.problem), rate = gflops(item, e);
                    points.push_back({&item, &e});
                    seen.insert(e.algorithm);
                    least_x = std::min(least_x, x);
                    most_x = std::max(most_x, x);
                    least_y = std::min(least_y, rate);
                    most_y = std::max(most_y, rate);
                }
            }
        }
    }
    if (points.empty() || peak <= 0 || memory <= 0) {
        return "";
    }
    // The ridge, where memory stops being the limit, is always on it.
    const double ridge = peak / memory;
    const LogScale x{std::min(least_x, ridge) / 1.5, std::max(most_x, ridge) * 1.5, left, width - right}, y{least_y / 1.5, most_y * 1.5, height - bottom, top};
    const auto floor_x = [&] { return std::max(x.lo, y.lo / memory); };
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"roofline\">\n", width, height) + legend(seen, left, 14);
    out += horizontal_grid(ticks(y.lo, y.hi), y, left, width - right, [](double v) { return short_number(v); });
    for (double t : ticks(x.lo, x.hi)) {
        out += fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"soft\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n", x(t), top, height - bottom, height - bottom + 16, short_number(t));
    }
    out += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">operations a byte of input, filters and output</text><text class=\"soft end\" x=\"{}\" y=\"14\">GFLOP/s of the direct algorithm's operations</text>\n", (left + width - right) / 2, height - 8, width - right);
    out += fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", x(floor_x()), y(floor_x() * memory), x(ridge), y(peak), width - right, y(peak));
    out += fmt::format("<text class=\"bold end\" x=\"{}\" y=\"{:.1f}\">FMA peak {} GFLOP/s</text>", width - right - 4, y(peak) - 6, short_number(peak));
    const double at = std::sqrt(floor_x() * ridge), slope = std::atan2(y(at * memory * 1.1) - y(at * memory), x(at * 1.1) - x(at)) * 57.29578;
    out += fmt::format("<text class=\"bold\" transform=\"translate({0:.1f} {1:.1f}) rotate({2:.1f})\" y=\"-6\" text-anchor=\"middle\">memory {3} GB/s</text>\n", x(at), y(at * memory), slope, short_number(memory));
    for (const bool chosen : {false, true}) {
        for (const Point &p : points) {
            if (p.entry->chosen != chosen) {
                continue;
            }
            const double px = x(p.item->problem.flops() / compulsory_bytes(p.item->problem)), py = y(gflops(*p.item, *p.entry));
            out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" style=\"fill:{}\" opacity=\"{}\"><title>{}, {}: {} GFLOP/s</title></circle>\n", px, py, colour(p.entry->algorithm), chosen ? 1.0 : 0.55, escaped(p.item->name), to_string(p.entry->algorithm), short_number(gflops(*p.item, *p.entry)));
            if (chosen) {
                out += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6.5\"/>\n", px, py);
            }
        }
    }
    return out + "</svg>\n";
}

std::string line_plot(const ReportGroup &group) {
    constexpr double width = 560, height = 360, left = 58, right = 14, top = 30, bottom = 38;
    double least = 1e30, most = 0.0;
    std::set<Algorithm> seen;
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            if (e.outcome == Outcome::kTimed) {
                least = std::min(least, e.min_seconds);
                most = std::max(most, e.min_seconds);
                seen.insert(e.algorithm);
            }
        }
    }
    if (most == 0.0) {
        return "";
    }
    const LogScale x{static_cast<double>(group.items.front().value), static_cast<double>(group.items.back().value), left + 8, width - right - 8};
    const LogScale y{least / 1.3, most * 1.3, height - bottom, top};
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"time against {}\">\n", width, height, group.axis) + legend(seen, left, 14);
    out += horizontal_grid(ticks(y.lo, y.hi), y, left, width - right, time_text);
    out += fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>\n", left, width - right, height - bottom);
    double last_label = -1e30;
    for (const ReportItem &item : group.items) {
        const double at = x(static_cast<double>(item.value));
        if (at - last_label > 24) {
            out += fmt::format("<text class=\"soft\" x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at, height - bottom + 16, item.value);
            last_label = at;
        }
    }
    out += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", (left + width - right) / 2, height - 4, group.axis);
    for (const Crossover &c : crossovers(group)) {
        out += fmt::format("<line class=\"cross\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"><title>{3} to {4} at {5}</title></line>\n", x(c.at), top, height - bottom, to_string(c.from), to_string(c.to), short_number(c.at));
    }
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
            line.points += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" style=\"fill:{}\"><title>{} = {}, {}: {}</title></circle>\n", px, py, colour(e.algorithm), group.axis, item.value, to_string(e.algorithm), time_text(e.min_seconds));
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

std::string crossover_text(const ReportGroup &group) {
    const std::vector<Crossover> list = crossovers(group);
    const Entry *first = nullptr;
    for (const ReportItem &item : group.items) {
        first = first == nullptr ? fastest(item) : first;
    }
    if (first == nullptr) {
        return "";
    }
    if (list.empty()) {
        return fmt::format("{} is the fastest throughout.", to_string(first->algorithm));
    }
    std::string text = fmt::format("Fastest: {}", to_string(first->algorithm));
    for (const Crossover &c : list) {
        text += fmt::format(", {} from {} ≈ {}", to_string(c.to), group.axis, short_number(c.at));
    }
    return text + ".";
}

std::string difference_plot(const std::vector<Difference> &list) {
    constexpr double width = 960, label = 250, row = 18, top = 38, right = 150;
    double most = 1.25;
    for (const Difference &d : list) {
        most = std::max({most, d.before / d.now, d.now / d.before});
    }
    const LogScale x{1 / most, most, label, width - right};
    std::string out = fmt::format("<svg viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"before / now\">\n", width, top + row * static_cast<double>(list.size()) + 6);
    out += fmt::format("<text class=\"soft\" x=\"{:.1f}\" y=\"12\" text-anchor=\"middle\">time before / now</text><text class=\"soft end\" x=\"{}\" y=\"12\">ms before</text><text class=\"soft end\" x=\"{}\" y=\"12\">ms now</text>\n", x(1), width - right + 80, width);
    for (double t : {1 / most, 1 / std::sqrt(most), 1.0, std::sqrt(most), most}) {
        out += fmt::format("<line class=\"{3}\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.1f}\"/><text class=\"soft\" x=\"{0:.1f}\" y=\"28\" text-anchor=\"middle\">{4:.2f}</text>\n", x(t), top - 4, top + row * static_cast<double>(list.size()), t == 1.0 ? "cross" : "axis", t);
    }
    double y = top;
    std::string last;
    for (const Difference &d : list) {
        const double ratio = d.before / d.now, at = x(ratio);
        const char *shade = !d.differs ? "soft" : ratio > 1 ? "better" : "worse";
        if (d.name != last) {
            out += fmt::format("<text x=\"0\" y=\"{}\">{}</text>", y + 13, escaped(d.name.size() > 27 ? d.name.substr(0, 26) + "…" : d.name));
            last = d.name;
        }
        out += fmt::format("<text class=\"end{}\" x=\"{}\" y=\"{}\">{}</text>", d.chosen ? " bold" : " soft", label - 8, y + 13, to_string(d.algorithm));
        out += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"10\" rx=\"2\" style=\"fill:var(--{})\" opacity=\"{}\"><title>{} {}: {:.3f}, p = {:.3f}</title></rect>", std::min(at, x(1)), y + 4, std::max(1.0, std::fabs(at - x(1))), shade, d.differs ? 1.0 : 0.5, escaped(d.name), to_string(d.algorithm), ratio, d.p);
        out += fmt::format("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text><text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", width - right + 80, y + 13, milliseconds_text(d.before), width, y + 13, milliseconds_text(d.now));
        y += row;
    }
    return out + "</svg>\n";
}

std::vector<PlotFile> to_svg_files(const Report &report, const Report *before) {
    std::vector<PlotFile> files;
    std::set<std::string> names;
    const auto add = [&](const std::string &name, const std::string &svg) {
        if (svg.empty()) {
            return;
        }
        std::string stem;
        for (char c : name) {
            stem += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ? c : '_';
        }
        stem.resize(std::min<size_t>(stem.size(), 100));
        std::string unique = stem;
        for (int i = 2; !names.insert(unique).second; ++i) {
            unique = fmt::format("{}_{}", stem, i);
        }
        files.push_back({unique + ".svg", on_its_own(svg)});
    };
    add("roofline", roofline_plot(report));
    if (before != nullptr) {
        add("before_and_now", difference_plot(differences(report, *before)));
    }
    for (const ReportGroup &group : report.groups) {
        if (!group.axis.empty()) {
            add("sweep_" + group.axis, line_plot(group));
            continue;
        }
        for (const ReportItem &item : group.items) {
            add(item.name, bar_plot(report, item, before));
        }
    }
    return files;
}

}  // namespace fourfold::cli
