// What `fourfold compare` found, as CSV, as one HTML page, and its plots as SVG files.
#pragma once

#include <string>
#include <vector>

#include "contest.h"
#include "machine_limits.h"

namespace fourfold::cli {

struct ReportItem {
    std::string name;
    int64_t value = 0;  ///< of the group's axis
    Conv2dProblem problem;
    std::vector<Entry> entries;
};

/// The problems of one file, or, when axis is set, the points of one sweep.
struct ReportGroup {
    std::string title;
    std::string axis;
    std::vector<ReportItem> items;
};

struct Report {
    MachineLimits limits;
    std::string device;  ///< "cuda: NVIDIA H200, CUDA 13.0", whose peaks are not measured; empty: the CPU
    std::string cpu, microarchitecture, isa, version;  ///< of the machine and library that measured
    std::string made_with;  ///< Halide, compiler and FFT libraries of that library; empty in results of older versions
    std::string commit;  ///< `git describe` of that program's source; empty where it is not known
    std::string date;  ///< ISO 8601, UTC
    double seconds = 0.0;
    std::vector<ReportGroup> groups;

    /// What times depend on besides the problem, in words: device, machine, ISA level, threads.
    std::string origin() const;
    /// The same with what was measured of the machine: "... 2 threads: measured FMA peak 250 GFLOP/s (avx512), memory 30 GB/s".
    std::string machine_text() const;
    /// "fourfold 0.1.0, commit 1a2b3c4 (Halide 21.0.0, ...)", as far as it is known.
    std::string library_text() const;
};

/// How good auto's choices were: over problems where the choice and at least one more algorithm were timed.
struct ChoiceSummary {
    int problems = 0;
    int fastest = 0;            ///< the choice was the fastest, or within 2%
    double mean_ratio = 1.0;    ///< geometric mean of the choice's time over the best time
    double worst_ratio = 1.0;
    std::string worst_name;
};
ChoiceSummary summarize_choices(const Report &report);

/// Halide, compiler and FFT libraries of this program.
std::string made_with();

/// One row per problem and algorithm.
std::string to_csv(const Report &report);
/// What to_csv wrote, by this version or an earlier one. Errors: kInvalidArgument (unreadable, no such table, no
/// times, rows of several origins).
Result<Report> read_report(const std::string &path);

/// One problem and algorithm that two reports have timed.
struct Difference {
    std::string group, name;
    Algorithm algorithm = Algorithm::kAuto;
    double before = 0.0, now = 0.0;  ///< medians in seconds
    double p = 1.0;                  ///< of the Mann-Whitney test that both are alike
    bool differs = false;            ///< p under 0.05, and over 1 % apart
    bool chosen = false;             ///< auto's choice now
};
std::vector<Difference> differences(const Report &now, const Report &before);

/// Self-contained: no script, no font, nothing from the network; light and dark. With `before`, its times stand beside.
std::string to_html(const Report &report, const Report *before = nullptr);

/// A plot on its own, for papers: light, with literal colours, so that any program shows it.
struct PlotFile {
    std::string name;  ///< "roofline.svg"
    std::string svg;
};
/// Each with a title, and with the machine, the library and the date of the measurement.
std::vector<PlotFile> to_svg_files(const Report &report, const Report *before = nullptr);

}  // namespace fourfold::cli
