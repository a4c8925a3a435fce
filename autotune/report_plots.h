// The plots of a report, as SVG: on the page, where colours follow the reader's light or dark theme, and as files of their own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "report.h"

namespace fourfold::cli {

/// What `&`, `<`, `>` and `"` have to be in HTML and SVG.
std::string escaped(const std::string &text);
/// About three digits, never an exponent for large values.
std::string short_number(double value);
/// "231 µs", "1.4 ms", "2.1 s".
std::string time_text(double seconds);
/// A colour of the page by its name: "var(--direct)".
std::string colour(Algorithm algorithm);
double gflops(const ReportItem &item, const Entry &e);
/// That report's entry of the same problem and algorithm, if it was timed.
const Entry *timed_entry(const Report &report, const Conv2dProblem &problem, Algorithm algorithm);

/// The variables that the plots' colours are, for the page's style: light ones, then those of the dark theme.
std::string light_colours();
std::string dark_colours();
/// The rules that a plot's classes need.
extern const char *const kPlotStyle;

/// One problem: a bar per algorithm, longer is faster, auto's choice marked, and its numbers in columns. A line across a bar is
/// where `before` was.
std::string bar_plot(const Report &report, const ReportItem &item, const Report *before);
/// Throughput against operations a byte, below what the machine's arithmetic and memory allow.
std::string roofline_plot(const Report &report);
/// One sweep: time against the axis, a line per algorithm, a ring around auto's choice, a mark where the fastest changes.
/// Empty when nothing was timed.
std::string line_plot(const ReportGroup &group);
/// How much faster, or slower, each time became.
std::string difference_plot(const std::vector<Difference> &list);

/// Where one algorithm takes over from another along a sweep: "direct to 4, fft_tiled from about 6".
std::string crossover_text(const ReportGroup &group);

}  // namespace fourfold::cli
