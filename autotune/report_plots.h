// The plots of a report, as SVG: on the page, where colours follow the reader's light or dark theme, and as files of their own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report.h"

namespace fourfold::cli {

/// What `&`, `<`, `>` and `"` have to be in HTML and SVG; control characters, which XML has none of, become blanks.
std::string escaped(const std::string &text);
/// About three digits, never an exponent for large values.
std::string short_number(double value);
/// "231 µs", "1.4 ms", "2.1 s".
std::string time_text(double seconds);
/// A colour of the page by its name: "var(--direct)".
std::string colour(Algorithm algorithm);
/// "input channels ic", for the axis of a sweep.
std::string axis_words(const std::string &axis);
double gflops(const ReportItem &item, const Entry &e);
/// That report's entry of the same problem and algorithm, if it was timed.
const Entry *timed_entry(const Report &report, const Conv2dProblem &problem, Algorithm algorithm);

/// The variables that the plots' colours are, for the page's style: light ones, then those of the dark theme.
std::string light_colours();
std::string dark_colours();
/// The rules that a plot's classes need.
extern const char *const kPlotStyle;

/// A drawing without its frame. No body: there was nothing to draw.
struct Plot {
    double width = 0.0, height = 0.0;  ///< in units in which text is 12 high
    std::string label;                 ///< what it shows, for those who do not see it
    std::string body;
};
/// On the page, where it fills its card; in a narrow window it scrolls rather than shrink its text.
std::string on_page(const Plot &plot);

/// One problem: a bar per algorithm, longer is faster, auto's choice marked, and its numbers in columns. A line across a bar is
/// where `before` was.
Plot bar_plot(const Report &report, const ReportItem &item, const Report *before);
/// Throughput against operations a byte, below what the machine's arithmetic and memory allow. Auto's choices have numbers, and the
/// problems' names stand below.
Plot roofline_plot(const Report &report);
/// One sweep: time against the axis, a line per algorithm, a ring around auto's choice, a mark where the fastest changes, and faint
/// dashed lines where `before` was.
Plot line_plot(const ReportGroup &group, const Report *before);
/// How much faster, or slower, each time became.
Plot difference_plot(const std::vector<Difference> &list);

/// Where one algorithm takes over from another along a sweep: "Fastest: direct, fft_tiled from f = 6."
std::string crossover_text(const ReportGroup &group);

}  // namespace fourfold::cli
