#include "report_plots.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <map>
#include <set>
#include <string_view>

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

/// The first `most` characters, the last of them an ellipsis where there are more.
std::string shortened(const std::string &text, size_t most) {
    size_t characters = 0, cut = text.size();
    for (size_t i = 0; i < text.size(); ++i) {
        if ((text[i] & 0xC0) != 0x80) {  // the first byte of one in UTF-8
            cut = ++characters == most ? i : cut;
        }
    }
    return characters > most ? text.substr(0, cut) + "…" : text;
}

/// Text that may have been cut, with the whole of it under the pointer.
std::string short_text(double x, double y, const std::string &text, size_t most) {
    const std::string shown = shortened(text, most);
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}{}</text>", x, y, escaped(shown), shown == text ? "" : "<title>" + escaped(text) + "</title>");
}

/// Lines of at most so many characters, broken at blanks.
std::vector<std::string> wrapped(const std::string &text, double most) {
    std::vector<std::string> lines(1);
    for (std::string_view word : split(text, ' ')) {
        if (!lines.back().empty() && static_cast<double>(lines.back().size() + 1 + word.size()) > most) {
            lines.emplace_back();
        }
        lines.back() += (lines.back().empty() ? "" : " ") + std::string(word);
    }
    return lines;
}

/// A file of its own: with a title, lines of notes below it, a size, the rules it needs and literal colours.
std::string on_its_own(const Plot &plot, const std::string &title, const std::vector<std::string> &notes) {
    constexpr double margin = 16, title_row = 20, note_row = 16;
    std::string head;
    double y = margin;
    for (const std::string &line : wrapped(title, plot.width / 8)) {
        head += fmt::format("<text class=\"title\" x=\"{}\" y=\"{}\">{}</text>\n", margin, y + 12, escaped(line));
        y += title_row;
    }
    for (const std::string &note : notes) {
        for (const std::string &line : wrapped(note, plot.width / 6.5)) {
            head += fmt::format("<text class=\"soft\" x=\"{}\" y=\"{}\">{}</text>\n", margin, y + 12, escaped(line));
            y += note_row;
        }
    }
    y += margin;
    const double width = plot.width + 2 * margin, height = y + plot.height + margin;
    std::string svg = fmt::format("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" role=\"img\" aria-label=\"{2}\">\n<title>{3}</title>\n<style>{4}</style>"
                                  "<rect width=\"100%\" height=\"100%\" fill=\"var(--card)\"/>\n{5}<g transform=\"translate({6} {7})\">\n{8}</g>\n</svg>\n",
                                  width, height, escaped(plot.label), escaped(title), kPlotStyle, head, margin, y, plot.body);
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

/// Signs and what they mean, from left to right, in as many rows as that takes.
class Legend {
public:
    static constexpr double kRow = 18;

    Legend(double left, double right)
        : left_(left), right_(right), x_(left) {
    }
    /// `sign` draws in 22 units from x on, around y.
    void add(const std::string &text, const std::function<std::string(double x, double y)> &sign) {
        const double width = 34 + 7.2 * static_cast<double>(text.size());
        if (x_ + width > right_ + 12 && x_ > left_) {
            x_ = left_;
            height_ += kRow;
        }
        body_ += sign(x_, height_ - 8) + fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x_ + 24, height_ - 4, text);
        x_ += width;
    }
    void add(const std::set<Algorithm> &algorithms) {
        for (Algorithm a : algorithms) {
            add(to_string(a), [a](double x, double y) { return fmt::format("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"16\" height=\"10\" rx=\"2\" style=\"fill:{}\"/>", x + 2, y - 5, colour(a)); });
        }
    }
    void add_choice() {
        add("auto's choice", [](double x, double y) { return fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"/>", x + 12, y); });
    }
    double height() const {
        return height_;
    }
    std::string text() const {
        return body_ + "\n";
    }

private:
    double left_, right_, x_, height_ = kRow;
    std::string body_;
};

/// What the axes count: below the plot, and turned at its left.
std::string axis_titles(const std::string &below, const std::string &beside, double left, double right, double top, double bottom) {
    return fmt::format("<text class=\"soft middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text><text class=\"soft middle\" transform=\"translate(12 {:.1f}) rotate(-90)\">{}</text>\n", (left + right) / 2, bottom + 34, below, (top + bottom) / 2, beside);
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
    int64_t first;  ///< the size from which on the new one is taken to be faster, of two digits or that of a point
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
            const double at = lo * std::pow(hi / lo, share);
            const double step = std::pow(10.0, std::max(0.0, std::floor(std::log10(at)) - 1));
            const auto rounded = static_cast<int64_t>(std::ceil(at / step) * step);
            found.push_back({before->algorithm, now->algorithm, at, new_before != nullptr ? std::min(rounded, item.value) : item.value});
        }
        last = now != nullptr ? &item : last;
    }
    return found;
}

/// Bytes that any algorithm has to move: input, filters and output once.
double compulsory_bytes(const Conv2dProblem &p) {
    return 4.0 * (static_cast<double>(p.input_elements()) + static_cast<double>(p.filter_elements()) + static_cast<double>(p.output_elements()));
}

struct Spot {
    double x, y;
};
struct Box {
    double left, top, right, bottom;
    bool meets(const Box &other) const {
        return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
    }
    bool holds(const Box &other) const {
        return left <= other.left && top <= other.top && other.right <= right && other.bottom <= bottom;
    }
};

/// 1, 2, ... beside the spots, where there is room: close by, or further off with a thin line to the spot.
std::string numbers(const std::vector<Spot> &spots, const Box &inside) {
    constexpr double ring = 8, high = 12, far = 80;
    std::vector<Box> taken;
    for (const Spot &s : spots) {
        taken.push_back({s.x - ring, s.y - ring, s.x + ring, s.y + ring});
    }
    std::string lines, texts;
    for (size_t i = 0; i < spots.size(); ++i) {
        const std::string text = std::to_string(i + 1);
        const double half = 2 + 3.6 * static_cast<double>(text.size());
        Box best{};
        double distance = 15;
        for (bool found = false; !found && distance <= far; distance += found ? 0 : 6) {
            for (int turn = 0; turn < 12 && !found; ++turn) {
                const double angle = 0.5236 * turn, middle_x = spots[i].x + (distance + half - 3) * std::cos(angle), middle_y = spots[i].y - distance * std::sin(angle);
                best = {middle_x - half, middle_y - high / 2, middle_x + half, middle_y + high / 2};
                found = inside.holds(best) && std::none_of(taken.begin(), taken.end(), [&](const Box &other) { return best.meets(other); });
            }
        }
        taken.push_back(best);
        const double x = (best.left + best.right) / 2, y = (best.top + best.bottom) / 2;
        if (distance > 22) {
            lines += fmt::format("<line class=\"axis\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>", spots[i].x, spots[i].y, x, y);
        }
        texts += fmt::format("<text class=\"middle halo\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x, y + 4, text);
    }
    return lines + texts + "\n";
}

}  // namespace

const char *const kPlotStyle = R"css(
svg text { fill: var(--ink); font: 12px system-ui, "DejaVu Sans", sans-serif; } svg .soft { fill: var(--soft); } svg .bold { font-weight: 650; } svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; } svg .title { font-size: 15px; font-weight: 650; } svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; }
svg .axis { stroke: var(--line); stroke-width: 1; } svg path { fill: none; stroke-width: 2; } svg .ring { fill: none; stroke: var(--ink); stroke-width: 1.5; }
svg .roof { stroke: var(--ink); stroke-width: 1.5; } svg .cross { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; } svg .before { stroke: var(--ink); stroke-width: 2; }
svg .faint { stroke-width: 1.5; stroke-dasharray: 6 4; opacity: 0.55; }
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
            out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
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

std::string axis_words(const std::string &axis) {
    const std::pair<const char *, const char *> words[] = {{"b", "batch size"}, {"ic", "input channels"}, {"oc", "output channels"}, {"i", "image size"}, {"f", "filter size"}};
    for (const auto &[name, meaning] : words) {
        if (axis == name) {
            return fmt::format("{} {}", meaning, axis);
        }
    }
    return axis;
}

std::string on_page(const Plot &plot) {
    if (plot.body.empty()) {
        return "";
    }
    return fmt::format("<div class=\"scroll\"><svg viewBox=\"0 0 {0} {1}\" style=\"min-width:{2:.0f}px\" role=\"img\" aria-label=\"{3}\">\n{4}</svg></div>\n", plot.width, plot.height, 0.9 * plot.width, escaped(plot.label), plot.body);
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

Plot bar_plot(const Report &report, const ReportItem &item, const Report *before) {
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
    std::string out = fmt::format("<text x=\"{}\" y=\"12\" class=\"soft\">throughput, GFLOP/s</text>", left);
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
            const char *rest = e.algorithm == Algorithm::kNaive && e.outcome == Outcome::kSkipped ? ", so no x naive here" : "";
            out += fmt::format("<text x=\"{}\" y=\"{}\" class=\"soft\">{}: {}{}<title>{}</title></text>\n", left, text_y, to_string(e.outcome), escaped(shortened(e.reason, 84)), rest, escaped(e.reason));
        }
        y += row;
    }
    return {width, y, fmt::format("GFLOP/s of {}", item.name), out};
}

Plot roofline_plot(const Report &report) {
    // At the top is room for two rows of the legend.
    constexpr double width = 960, height = 460, left = 64, right = 16, top = 52, bottom = 46, key_row = 16;
    const double peak = report.limits.peak_flops / 1e9, memory = report.limits.bandwidth() / 1e9;
    struct Point {
        const ReportItem *item;
        const Entry *entry;
    };
    std::vector<Point> points;
    std::vector<const ReportItem *> items;
    std::set<Algorithm> seen;
    double least_x = 1e30, most_x = 0, least_y = 1e30, most_y = peak;
    for (const ReportGroup &group : report.groups) {
        for (const ReportItem &item : group.items) {
            for (const Entry &e : item.entries) {
                if (group.axis.empty() && e.outcome == Outcome::kTimed) {
                    const double x = item.problem.flops() / compulsory_bytes(item.problem), rate = gflops(item, e);
                    points.push_back({&item, &e});
                    if (items.empty() || items.back() != &item) {
                        items.push_back(&item);
                    }
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
        return {};
    }
    // The ridge, where memory stops being the limit, is always on it.
    const double ridge = peak / memory;
    const LogScale x{std::min(least_x, ridge) / 1.5, std::max(most_x, ridge) * 1.5, left, width - right}, y{least_y / 1.5, most_y * 1.5, height - bottom, top};
    const auto floor_x = [&] { return std::max(x.lo, y.lo / memory); };
    Legend legend(left, width - right);
    legend.add(seen);
    legend.add_choice();
    legend.add(fmt::format("FMA peak {} GFLOP/s, memory {} GB/s", short_number(peak), short_number(memory)), [](double x, double y) { return fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}l8 -7h14\"/>", x, y + 4); });
    std::string out = legend.text();
    out += horizontal_grid(ticks(y.lo, y.hi), y, left, width - right, [](double v) { return short_number(v); });
    for (double t : ticks(x.lo, x.hi)) {
        out += fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/><text class=\"soft\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n", x(t), top, height - bottom, height - bottom + 16, short_number(t));
    }
    out += axis_titles("arithmetic intensity, operations a byte of input, filters and output", "throughput, GFLOP/s of the direct algorithm's operations", left, width - right, top, height - bottom);
    out += fmt::format("<path class=\"roof\" d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}L{:.1f} {:.1f}\"/>", x(floor_x()), y(floor_x() * memory), x(ridge), y(peak), width - right, y(peak));
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
    const double at = std::sqrt(floor_x() * ridge), slope = std::atan2(y(at * memory * 1.1) - y(at * memory), x(at * 1.1) - x(at)) * 57.29578;
    out += fmt::format("<text class=\"bold middle halo\" transform=\"translate({0:.1f} {1:.1f}) rotate({2:.1f})\" y=\"-6\">memory</text>\n", x(at), y(at * memory), slope);
    std::vector<Spot> spots;
    for (const ReportItem *item : items) {
        const Entry *e = fastest(*item);
        for (const Entry &other : item->entries) {
            e = other.chosen && other.outcome == Outcome::kTimed ? &other : e;
        }
        spots.push_back({x(item->problem.flops() / compulsory_bytes(item->problem)), y(gflops(*item, *e))});
    }
    out += numbers(spots, {left, top, width - right, height - bottom});
    // The names of the numbers, down one column after the other.
    size_t longest = 0;
    for (const ReportItem *item : items) {
        longest = std::max(longest, item->name.size());
    }
    const size_t columns = longest <= 26 ? 4 : 3, rows = (items.size() + columns - 1) / columns;
    const double column = (width - right) / static_cast<double>(columns);
    for (size_t i = 0; i < items.size(); ++i) {
        const double key_x = column * static_cast<double>(i / rows), key_y = height + key_row * static_cast<double>(i % rows + 1);
        out += fmt::format("<text class=\"soft end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", key_x + 22, key_y, i + 1) + short_text(key_x + 28, key_y, items[i]->name, columns == 4 ? 27 : 40) + "\n";
    }
    return {width, height + key_row * static_cast<double>(rows) + 6, "roofline", out};
}

Plot line_plot(const ReportGroup &group, const Report *before) {
    constexpr double width = 560, left = 64, right = 14, room = 310, below = 46;
    struct Line {
        std::string path, points;
        bool broken = true;  ///< the next point starts a new piece
    };
    double least = 1e30, most = 0.0;
    std::set<Algorithm> seen;
    bool chosen = false, earlier = false;
    const auto then = [&](const ReportItem &item, Algorithm a) { return before != nullptr ? timed_entry(*before, item.problem, a) : nullptr; };
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            const Entry *old = then(item, e.algorithm);
            for (const Entry *timed : {e.outcome == Outcome::kTimed ? &e : nullptr, old}) {
                if (timed != nullptr) {
                    least = std::min(least, timed->min_seconds);
                    most = std::max(most, timed->min_seconds);
                    seen.insert(e.algorithm);
                }
            }
            chosen = chosen || e.chosen;
            earlier = earlier || old != nullptr;
        }
    }
    if (most == 0.0) {
        return {};
    }
    Legend legend(left, width - right);
    legend.add(seen);
    if (chosen) {
        legend.add_choice();
    }
    if (earlier) {
        legend.add("before", [](double x, double y) { return fmt::format("<path class=\"faint\" d=\"M{:.1f} {:.1f}h22\" style=\"stroke:var(--ink)\"/>", x, y); });
    }
    const double top = legend.height() + 8, bottom = top + room;
    const LogScale x{static_cast<double>(group.items.front().value), static_cast<double>(group.items.back().value), left + 8, width - right - 8};
    const LogScale y{least / 1.3, most * 1.3, bottom, top};
    std::string out = legend.text();
    out += horizontal_grid(ticks(y.lo, y.hi), y, left, width - right, [](double v) { return short_number(v * 1e3); });
    out += fmt::format("<line class=\"axis\" x1=\"{0}\" x2=\"{1}\" y1=\"{2}\" y2=\"{2}\"/>\n", left, width - right, bottom);
    double last_label = -1e30;
    for (const ReportItem &item : group.items) {
        const double at = x(static_cast<double>(item.value));
        if (at - last_label > 24) {
            out += fmt::format("<text class=\"soft middle\" x=\"{:.1f}\" y=\"{}\">{}</text>\n", at, bottom + 16, item.value);
            last_label = at;
        }
    }
    out += axis_titles(axis_words(group.axis), "time, ms", left, width - right, top, bottom);
    std::map<Algorithm, Line> now, was;
    const auto extend = [&](Line &line, const ReportItem &item, const Entry *e, bool old) {
        line.broken = line.broken || e == nullptr;
        if (e == nullptr) {
            return;
        }
        const double px = x(static_cast<double>(item.value)), py = y(e->min_seconds);
        line.path += fmt::format("{}{:.1f} {:.1f}", line.broken ? "M" : "L", px, py);
        line.broken = false;
        line.points += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\" style=\"fill:{}\"{}><title>{} = {}, {}{}: {}</title></circle>\n", px, py, old ? 2.0 : 3.5, colour(e->algorithm), old ? " opacity=\"0.55\"" : "", group.axis, item.value,
                                   to_string(e->algorithm), old ? " before" : "", time_text(e->min_seconds));
        if (e->chosen && !old) {
            line.points += fmt::format("<circle class=\"ring\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6.5\"/>\n", px, py);
        }
    };
    for (const ReportItem &item : group.items) {
        for (const Entry &e : item.entries) {
            extend(was[e.algorithm], item, then(item, e.algorithm), true);
            extend(now[e.algorithm], item, e.outcome == Outcome::kTimed ? &e : nullptr, false);
        }
    }
    for (const auto &[algorithm, line] : was) {
        if (!line.path.empty()) {
            out += fmt::format("<path class=\"faint\" d=\"{}\" style=\"stroke:{}\"/>\n{}", line.path, colour(algorithm), line.points);
        }
    }
    const std::vector<Crossover> changes = crossovers(group);
    for (const Crossover &c : changes) {
        out += fmt::format("<line class=\"cross\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>\n", x(c.at), top, bottom);
    }
    for (const auto &[algorithm, line] : now) {
        if (!line.path.empty()) {
            out += fmt::format("<path d=\"{}\" style=\"stroke:{}\"/>\n", line.path, colour(algorithm));
        }
    }
    for (const auto &[algorithm, line] : now) {
        out += line.points;
    }
    for (const Crossover &c : changes) {
        out += fmt::format("<text class=\"halo\" transform=\"translate({:.1f} {:.1f}) rotate(90)\">{} fastest from {}</text>\n", x(c.at) + 5, top + 4, to_string(c.to), c.first);
    }
    return {width, bottom + below, fmt::format("time against {}", axis_words(group.axis)), out};
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
        text += fmt::format(", {} from {} = {}", to_string(c.to), group.axis, c.first);
    }
    return text + ".";
}

Plot difference_plot(const std::vector<Difference> &list) {
    constexpr double width = 960, label = 250, row = 18, top = 38, right = 150;
    double most = 2.0;
    for (const Difference &d : list) {
        most = std::max({most, d.before / d.now, d.now / d.before});
    }
    const LogScale x{1 / most, most, label, width - right};
    std::string out = fmt::format("<text class=\"soft\" x=\"{}\" y=\"12\">slower now</text><text class=\"soft end\" x=\"{}\" y=\"12\">faster now</text>", label, width - right);
    out += fmt::format("<text class=\"soft\" x=\"{:.1f}\" y=\"12\" text-anchor=\"middle\">time before / now</text><text class=\"soft end\" x=\"{}\" y=\"12\">ms before</text><text class=\"soft end\" x=\"{}\" y=\"12\">ms now</text>\n", x(1), width - right + 80, width);
    // Powers of two, at most seven.
    const int last_power = static_cast<int>(std::log2(most) + 1e-9), step = (last_power + 2) / 3;
    for (int power = -(last_power / step) * step; power <= last_power; power += step) {
        const double t = std::exp2(power);
        out += fmt::format("<line class=\"{3}\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2:.1f}\"/><text class=\"soft\" x=\"{0:.1f}\" y=\"28\" text-anchor=\"middle\">{4}{5:.0f}</text>\n", x(t), top - 4, top + row * static_cast<double>(list.size()), power == 0 ? "cross" : "axis", power < 0 ? "1/" : "", std::exp2(std::abs(power)));
    }
    double y = top;
    std::string last;
    for (const Difference &d : list) {
        const double ratio = d.before / d.now, at = x(ratio);
        const char *shade = !d.differs ? "soft" : ratio > 1 ? "better" : "worse";
        if (d.name != last) {
            out += short_text(0, y + 13, d.name, 27);
            last = d.name;
        }
        out += fmt::format("<text class=\"end{}\" x=\"{}\" y=\"{}\">{}</text>", d.chosen ? " bold" : " soft", label - 8, y + 13, to_string(d.algorithm));
        out += fmt::format("<rect x=\"{:.1f}\" y=\"{}\" width=\"{:.1f}\" height=\"10\" rx=\"2\" style=\"fill:var(--{})\" opacity=\"{}\"><title>{} {}: {:.3f}, p = {:.3f}</title></rect>", std::min(at, x(1)), y + 4, std::max(1.0, std::fabs(at - x(1))), shade, d.differs ? 1.0 : 0.5, escaped(d.name), to_string(d.algorithm), ratio, d.p);
        out += fmt::format("<text class=\"end\" x=\"{}\" y=\"{}\">{}</text><text class=\"end\" x=\"{}\" y=\"{}\">{}</text>\n", width - right + 80, y + 13, milliseconds_text(d.before), width, y + 13, milliseconds_text(d.now));
        y += row;
    }
    return {width, y + 6, "time before / now", out};
}

std::vector<PlotFile> to_svg_files(const Report &report, const Report *before) {
    std::vector<PlotFile> files;
    std::set<std::string> names;
    const auto made = [](const Report &r) { return fmt::format("{}{}", r.library_text(), r.date.empty() ? "" : ", " + r.date); };
    std::vector<std::string> origin = {report.machine_text(), made(report)};
    if (before != nullptr) {
        origin.push_back(fmt::format("before: {}{}", before->origin() == report.origin() ? "" : before->origin() + "; ", made(*before)));
    }
    const auto add = [&](const std::string &name, const Plot &plot, const std::string &title, std::vector<std::string> notes) {
        if (plot.body.empty()) {
            return;
        }
        notes.insert(notes.end(), origin.begin(), origin.end());
        std::string stem;
        for (char c : name) {
            stem += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' ? c : '_';
        }
        stem.resize(std::min<size_t>(stem.size(), 100));
        std::string unique = stem;
        for (int i = 2; !names.insert(unique).second; ++i) {
            unique = fmt::format("{}_{}", stem, i);
        }
        files.push_back({unique + ".svg", on_its_own(plot, title, notes)});
    };
    add("roofline", roofline_plot(report), "Roofline: all problems and algorithms", {});
    if (before != nullptr) {
        if (const std::vector<Difference> list = differences(report, *before); !list.empty()) {
            add("before_and_now", difference_plot(list), "Time before / now", {"medians; pale where they do not differ (Mann-Whitney, p < 0.05, over 1 %)"});
        }
    }
    for (const ReportGroup &group : report.groups) {
        if (!group.axis.empty()) {
            add("sweep_" + group.axis, line_plot(group, before), fmt::format("Time against {}", axis_words(group.axis)), {"around b4 ic32 i32x32 oc32 f3x3, same padding. " + crossover_text(group)});
            continue;
        }
        for (const ReportItem &item : group.items) {
            const std::string problem = item.problem.to_string(), marks = fmt::format("★ is what auto chose{}", before != nullptr ? "; a line across a bar is where it was before" : "");
            add(item.name, bar_plot(report, item, before), item.name, item.name == problem ? std::vector<std::string>{marks} : std::vector<std::string>{problem, marks});
        }
    }
    return files;
}

}  // namespace fourfold::cli
