// `fourfold compare`: what it keeps when it is interrupted or cannot write, and what its page and its plots say.
#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "command/command.h"
#include "fourfold/fourfold.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

bool has(const std::string &text, const std::string &word) {
    return text.find(word) != std::string::npos;
}

TEST(Compare, NeedsAProblem) {
    const TemporaryFolder folder;
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--sweep", "none", "--out", folder / "out"}), {"--sweep none leaves no problem"}));
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Compare, OneAlgorithmIsNoContest) {
    const TemporaryFolder folder;
    // Named twice, it is one.
    const Outcome outcome = fourfold_command({"compare", "--problem", "b1 ic2 i6 oc2 f3", "--sweep", "none", "--algorithms", "direct,direct", "--threads", "1", "--quick", "--out", folder / "out"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_EQ(lines_of(read_bytes(folder / "out/results.csv")).size(), 2u) << "a line of names, and one algorithm";
    EXPECT_TRUE(says(outcome, "* is what auto chose; no problem has two algorithms")) << outcome.out;
    EXPECT_FALSE(says(outcome, "the best time on average")) << outcome.out;
}

TEST(Compare, AnInterruptKeepsWhatWasMeasured) {
    const TemporaryFolder folder;
    const std::string results = folder / "out/results.csv";
    // The second problem is timed for as long as an interrupt may need.
    write_bytes(folder / "shapes.csv", "short,b1 ic2 i6 oc2 f3\nlong,b1 ic4 i12 oc8 f3 p1\nnever,b1 ic4 i13 oc8 f3 p1\n");
    Arguments compare = {"compare", "--shapes", folder / "shapes.csv", "--sweep", "none", "--algorithms", "direct,im2col", "--threads", "1", "--min-time", "1", "--out", folder / "out"};
    for (const int signal : {SIGINT, SIGTERM}) {
        std::filesystem::remove_all(folder / "out");
        const Outcome outcome = signalled(compare, signal, [&](const std::string &) { return has(read_bytes(results), "short"); });
        ASSERT_TRUE(exits_with(1, outcome, {"interrupted; 1 of 3 problems", results}));
        EXPECT_EQ(lines_of(read_bytes(results)).size(), 3u) << "a line of names, and two algorithms";
        EXPECT_TRUE(has(read_bytes(folder / "out/index.html"), "short"));
        EXPECT_FALSE(has(read_bytes(folder / "out/index.html"), "never"));
        EXPECT_TRUE(says(outcome, "1 problems in")) << outcome.out;
        EXPECT_TRUE(exits_with(0, fourfold_command({"compare", "--results", results, "--out", folder / "again"})));
    }
    std::filesystem::remove_all(folder / "out");
    const Outcome early = signalled(compare, SIGINT, [&](const std::string &out) { return has(out, "\n"); });
    ASSERT_TRUE(exits_with(1, early, {"interrupted before the first problem was measured"}));
    EXPECT_FALSE(std::filesystem::exists(results));
}

TEST(Compare, CopiesToAGpuStandApart) {
    if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    const TemporaryFolder folder;
    const Outcome outcome = fourfold_command({"compare", "--device", "opencl", "--problem", "b2 ic3 i12 oc4 f3 p1 residual", "--problem", "bwd-filters b2 ic3 i12 oc4 f3 p1", "--sweep", "none", "--quick", "--out", folder / "out"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_TRUE(says(outcome, "copies ms")) << outcome.out;
    const std::string results = read_bytes(folder / "out/results.csv");
    EXPECT_TRUE(has(results, ",transfer_ms,"));
    EXPECT_TRUE(has(read_bytes(folder / "out/index.html"), "<th>copies ms</th>"));
    // Kept where the page is made again.
    ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "out/results.csv", "--out", folder / "again"})));
    const auto copies = [](const std::string &text) {
        std::vector<std::string> cells;
        for (const std::string &line : lines_of(text)) {
            if (const size_t end = line.find(",\"opencl: "); has(line, ",timed,")) {
                const size_t begin = line.rfind(',', end - 1) + 1;
                cells.push_back(line.substr(begin, end - begin));
                EXPECT_GT(std::atof(cells.back().c_str()), 0.0) << line;
            }
        }
        return cells;
    };
    EXPECT_GE(copies(results).size(), 4u);
    EXPECT_EQ(copies(read_bytes(folder / "again/results.csv")), copies(results));
    EXPECT_TRUE(exits_with(0, fourfold_command({"bench", "--device", "opencl", "--algorithm", "all", "--include-packing", "--problem", "b2 ic3 i12 oc4 f3 p1"})));
}

TEST(Compare, APlotThatCannotBeWrittenCostsNothingElse) {
    const TemporaryFolder folder;
    std::filesystem::create_directories(folder / "out/svg/roofline.svg");
    const Outcome outcome = fourfold_command({"compare", "--problem", "b1 ic2 i6 oc2 f3", "--sweep", "b=1:2", "--algorithms", "direct", "--threads", "1", "--quick", "--out", folder / "out"});
    ASSERT_TRUE(exits_with(1, outcome, {"roofline.svg", "directory"}));
    EXPECT_TRUE(has(read_bytes(folder / "out/results.csv"), "i6x6"));
    EXPECT_TRUE(has(read_bytes(folder / "out/index.html"), "</html>"));
    EXPECT_TRUE(has(read_bytes(folder / "out/svg/sweep_b.svg"), "</svg>"));
    EXPECT_TRUE(says(outcome, "results.csv")) << outcome.out;
}

/// A results.csv of one machine, written by hand.
class Results {
public:
    explicit Results(const std::string &commit)
        : commit_(commit) {
    }
    void add(const std::string &group, const std::string &name, const std::string &axis, const std::string &problem, const std::string &algorithm, double ms, bool chosen = false) {
        const std::string value = axis.empty() ? "" : name.substr(axis.size());
        rows_ += group + "," + name + ",\"" + problem + "\"," + axis + "," + value + "," + algorithm + "," + (chosen ? "1" : "0");
        const std::string time = std::to_string(ms);
        rows_ += ms > 0 ? ",timed,," : ",skipped,9 GFLOP is over the limit,";
        rows_ += ",Some Processor,zen9,avx512,1,100,10,2026-01-02T03:04:05Z,0.1.0,Halide 21," + commit_ + ",";
        rows_ += ms > 0 ? time + " " + time + " " + time + " " + time + " " + time + " " + time + "\n" : "\n";
    }
    std::string text() const {
        return "group,name,problem,axis,value,algorithm,chosen,outcome,reason,ms_min,machine,microarchitecture,isa,threads,peak_gflops,memory_gb_s,date,version,made_with,commit,samples_ms\n" + rows_;
    }

private:
    std::string commit_, rows_;
};

constexpr const char *kLongName = "a_layer_whose_name_is_longer_than_its_column";

/// fft overtakes direct halfway between i = 4 and 8; `factor` times as slow as that.
Results example(const std::string &commit, double factor) {
    const std::string small = "b4 ic32 i4 oc32 f3 p1", large = "b4 ic32 i8 oc32 f3 p1";
    Results results(commit);
    results.add("layers", kLongName, "", "b1 ic4 i12 oc8 f3 p1", "direct", factor, true);
    results.add("layers", kLongName, "", "b1 ic4 i12 oc8 f3 p1", "naive", 0);
    results.add("sweep of i", "i4", "i", small, "direct", factor, true);
    results.add("sweep of i", "i4", "i", small, "fft", 2 * factor);
    results.add("sweep of i", "i8", "i", large, "direct", 4 * factor, true);
    results.add("sweep of i", "i8", "i", large, "fft", 2 * factor);
    results.add("sweep of i", "i8", "i", large, "naive", 0);
    return results;
}

size_t count(const std::string &text, const std::string &word) {
    size_t found = 0;
    for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
        ++found;
    }
    return found;
}

TEST(Compare, TwoResultsSideBySide) {
    const TemporaryFolder folder;
    write_bytes(folder / "now.csv", example("1a2b3c4-dirty", 1).text());
    write_bytes(folder / "before.csv", example("v9.8-7-g6f5e4d3", 8).text());
    ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "now.csv", "--out", folder / "alone"})));
    const Outcome outcome = fourfold_command({"compare", "--results", folder / "now.csv", "--against", folder / "before.csv", "--out", folder / "both"});
    ASSERT_TRUE(exits_with(0, outcome));
    // In columns, however long a name is.
    size_t column = std::string::npos, rows = 0;
    for (const std::string &line : lines_of(outcome.out)) {
        if (has(line, "algorithm  ms before")) {
            column = line.find("algorithm  ms before");
        } else if (line.ends_with(" better")) {
            rows++;
            const std::string cells = line.substr(std::min(column, line.size()));
            EXPECT_TRUE(cells.starts_with("direct ") || cells.starts_with("fft ")) << outcome.out;
        }
    }
    EXPECT_EQ(rows, 5u) << outcome.out;
    const std::string alone = read_bytes(folder / "alone/index.html"), both = read_bytes(folder / "both/index.html");
    // The sweep: a faint line for each algorithm, and one in the legend.
    EXPECT_EQ(count(alone, "<path class=\"faint\""), 0u);
    EXPECT_EQ(count(both, "<path class=\"faint\""), 3u);
    EXPECT_EQ(count(read_bytes(folder / "both/svg/sweep_i.svg"), "<path class=\"faint\""), 3u);
    EXPECT_TRUE(has(both, "i = 8, direct before: 32 ms"));
    // The tables of all numbers.
    EXPECT_FALSE(has(alone, "median before"));
    EXPECT_TRUE(has(both, "<td>32.00</td><td>8.00</td>"));
    // Which source each was made from; the results that this writes have it as well.
    EXPECT_TRUE(has(alone, "fourfold 0.1.0, commit 1a2b3c4-dirty (Halide 21)"));
    EXPECT_TRUE(has(both, "<td class=\"l\">v9.8-7-g6f5e4d3</td><td class=\"l\">1a2b3c4-dirty</td>"));
    EXPECT_TRUE(has(both, "<td class=\"l\">Halide 21</td><td class=\"l\">Halide 21</td>"));
    EXPECT_TRUE(has(read_bytes(folder / "both/results.csv"), ",Halide 21,1a2b3c4-dirty,"));
    // Ticks at powers of two.
    const std::string difference = read_bytes(folder / "both/svg/before_and_now.svg");
    for (const char *tick : {">1/8<", ">1/4<", ">1/2<", ">1<", ">2<", ">4<", ">8<"}) {
        EXPECT_EQ(count(difference, tick), 1u) << tick;
    }
    // What is cut is whole under the pointer.
    EXPECT_TRUE(has(difference, std::string("…<title>") + kLongName + "</title>"));

    // Results that do not say where they are from.
    std::string older = example("", 8).text();
    older.replace(older.find("commit"), 6, "nothing");
    write_bytes(folder / "older.csv", older);
    ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "now.csv", "--against", folder / "older.csv", "--out", folder / "both"})));
    EXPECT_TRUE(has(read_bytes(folder / "both/index.html"), "<td class=\"l\">not recorded</td><td class=\"l\">1a2b3c4-dirty</td>"));
}

TEST(Compare, PlotsSayWhatTheyShow) {
    const TemporaryFolder folder;
    write_bytes(folder / "now.csv", example("1a2b3c4", 1).text());
    ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "now.csv", "--out", folder / "out"})));
    const auto plot = [&](const std::string &name) { return read_bytes(folder / "out/svg/" + name + ".svg"); };
    for (const auto &[name, title] : {std::pair(kLongName, kLongName), std::pair("sweep_i", "Time against image size i"), std::pair("roofline", "Roofline")}) {
        const std::string svg = std::regex_replace(plot(name), std::regex("</text>\\s*<text[^>]*>"), " ");  // lines that were wrapped
        EXPECT_TRUE(has(svg, std::string("<title>") + title)) << name;
        EXPECT_TRUE(has(svg, std::string("class=\"title\" x=\"16\" y=\"28\">") + title)) << name;
        for (const char *origin : {"Some Processor (zen9, avx512), 1 thread: measured FMA peak 100", "commit 1a2b3c4", "2026-01-02T03:04:05Z"}) {
            EXPECT_TRUE(has(svg, origin)) << name << ": " << origin;
        }
    }
    EXPECT_TRUE(has(plot(kLongName), "fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1"));
    for (const char *word : {">image size i<", ">time, ms<", ">fft fastest from 6<", "Fastest: direct, fft from i = 6."}) {
        EXPECT_TRUE(has(plot("sweep_i"), word)) << word;
    }
    for (const char *word : {">throughput, GFLOP/s of the direct algorithm's operations<", "operations a byte", kLongName}) {
        EXPECT_TRUE(has(plot("roofline"), word)) << word;
    }
    // A plot on the page keeps the size of its text, and a shape says why it has no naive.
    const std::string page = read_bytes(folder / "out/index.html");
    EXPECT_EQ(count(page, "<svg"), count(page, "<div class=\"scroll\"><svg"));
    EXPECT_EQ(count(page, "<svg"), count(page, "style=\"min-width:"));
    EXPECT_TRUE(has(page, "skipped: 9 GFLOP is over the limit, so no x naive here"));
    EXPECT_TRUE(has(page, "naive is skipped from i = 8 on: 9 GFLOP is over the limit."));
}

/// What the build writes into the command.
TEST(Compare, TheCommitIsThatOfTheTree) {
    const TemporaryFolder folder;
    const std::string tree = folder / "tree", source = folder / "commit.cpp";
    std::filesystem::create_directory(tree);
    write_bytes(tree + "/file", "one");
    const auto written = [&] {
        EXPECT_TRUE(exits_with(0, spawn({FOURFOLD_CMAKE, "-DSOURCE=" + tree, "-DOUTPUT=" + source, "-P", FOURFOLD_COMMIT_SCRIPT})));
        return read_bytes(source);
    };
    EXPECT_TRUE(has(written(), "R\"commit()commit\"")) << "no git tree";
    const std::string git = "cd '" + tree + "' && git init -q . && git add file && git -c user.name=a -c user.email=a@b commit -q -m one";
    if (spawn({"/bin/sh", "-c", git}).exit_code != 0) {
        GTEST_SKIP() << "git is not installed";
    }
    const std::string clean = written();
    EXPECT_TRUE(std::regex_search(clean, std::regex("R\"commit\\([0-9a-f]{7,}\\)commit\""))) << clean;
    const auto time = std::filesystem::last_write_time(source);
    EXPECT_EQ(written(), clean);
    EXPECT_EQ(std::filesystem::last_write_time(source), time) << "nothing to build anew";
    write_bytes(tree + "/file", "another");
    EXPECT_TRUE(std::regex_search(written(), std::regex("R\"commit\\([0-9a-f]{7,}-dirty\\)commit\"")));
}

}  // namespace
}  // namespace fourfold::test
