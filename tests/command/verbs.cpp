// The other verbs: help, list, explain, bench, compare.
#include <algorithm>
#include <regex>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "fourfold/fourfold.h"

namespace fourfold::test {
namespace {

TEST(Help, OfEveryVerb) {
    const Outcome all = fourfold_command({"--help"});
    ASSERT_TRUE(exits_with(0, all));
    for (const char *verb : {"run", "spectral", "bench", "compare", "explain", "generate", "list", "measure", "report", "search", "tables", "tune"}) {
        EXPECT_TRUE(says(all, verb)) << verb;
        const Outcome one = fourfold_command({verb, "--help"});
        EXPECT_TRUE(exits_with(0, one)) << verb;
        EXPECT_GT(one.out.size(), 100u) << verb;
        EXPECT_TRUE(exits_with(2, fourfold_command({verb, "--abacus"}))) << verb;
    }
    EXPECT_TRUE(says(fourfold_command({"run", "--help"}), "--padding-mode"));
}

TEST(Help, AsAManualPage) {
    const Outcome outcome = fourfold_command({"--man"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_EQ(outcome.out.rfind(".TH FOURFOLD 1", 0), 0u);
    for (const char *word : {".SS fourfold run", ".SS fourfold compare", "\\-\\-padding\\-mode", "\\-\\-workspace\\-max", ".SH EXIT STATUS", "FOURFOLD_TABLE", "gaussian:SIZE"}) {
        EXPECT_TRUE(says(outcome, word)) << word;
    }
    EXPECT_FALSE(says(outcome, "fourfold candidate")) << "an internal verb";
}

TEST(Devices, BenchRunsThereAndOtherVerbsSayNo) {
    EXPECT_TRUE(says(fourfold_command({"list"}), "GPUs:"));
    const Outcome refused = fourfold_command({"bench", "--training", "--problem", "b1 ic2 i8 oc2 f3", "--device", "opencl"});
    EXPECT_TRUE(exits_with(3, refused, {"opencl"}));
    if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    const Outcome outcome = fourfold_command({"bench", "--device", "opencl", "--algorithm", "direct", "--problem", "b1 ic3 i12 oc4 f3 p1", "--json"});
    ASSERT_TRUE(exits_with(0, outcome));
    const nlohmann::json line = nlohmann::json::parse(outcome.out);
    EXPECT_LE(line.at("max_error").get<double>(), 1e-6);
    EXPECT_GT(line.at("transfer_ms").get<double>(), 0.0);
    EXPECT_TRUE(says(outcome, "conv_implicit_opencl"));
}

TEST(Compare, ResultsSayWhichDevice) {
    const TemporaryFolder folder;
    const std::string problem = "b1 ic3 i12 oc4 f3 p1";
    const auto compare = [&](const std::string &device, const std::string &out, const std::vector<std::string> &more = {}) {
        std::vector<std::string> arguments = {"compare", "--device", device, "--problem", problem, "--sweep", "none", "--algorithms", "direct,im2col", "--threads", "1", "--quick", "--out", folder / out};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return fourfold_command(arguments);
    };
    EXPECT_TRUE(exits_with(3, fourfold_command({"compare", "--device", "cuda:77", "--problem", problem, "--sweep", "none", "--out", folder / "none"}), {"cuda"}));
    if (const Result<DeviceInfo> info = device_info(Device::opencl()); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    ASSERT_TRUE(exits_with(0, compare("cpu", "cpu")));
    const Outcome outcome = compare("opencl", "gpu", {"--against", folder / "cpu/results.csv"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_TRUE(says(outcome, "warning: the times before are of " + machine().cpu) && says(outcome, "those now of opencl: ")) << outcome.out;
    const std::string on_cpu = read_bytes(folder / "cpu/results.csv"), on_gpu = read_bytes(folder / "gpu/results.csv");
    EXPECT_NE(on_gpu.find("opencl: "), std::string::npos) << on_gpu;
    EXPECT_EQ(on_cpu.find("opencl: "), std::string::npos) << on_cpu;
    // Read back, the device is still there; and rows of both are not taken for one file.
    ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "gpu/results.csv", "--out", folder / "again"})));
    EXPECT_NE(read_bytes(folder / "again/results.csv").find("opencl: "), std::string::npos);
    EXPECT_NE(read_bytes(folder / "again/index.html").find("opencl: "), std::string::npos);
    write_bytes(folder / "both.csv", on_cpu + on_gpu.substr(on_gpu.find('\n') + 1));
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--results", folder / "both.csv", "--out", folder / "again"}), {"opencl: ", "one device"}));
}

TEST(List, NamesVariantsAlgorithmsAndMachine) {
    const Outcome outcome = fourfold_command({"list"});
    ASSERT_TRUE(exits_with(0, outcome));
    for (const VariantInfo &variant : list_variants()) {
        EXPECT_TRUE(says(outcome, variant.name)) << variant.name;
    }
    for (const char *algorithm : {"naive", "direct", "im2col", "fft"}) {
        EXPECT_TRUE(says(outcome, algorithm)) << algorithm;
    }
    EXPECT_TRUE(says(outcome, machine().isa));
    EXPECT_TRUE(says(outcome, machine().microarchitecture));
}

TEST(List, VerboseHasRegistersAndSharedMemoryOfCuda) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "kernels with sanitizers are other machine code";
#endif
    const Outcome outcome = fourfold_command({"list", "--verbose"});
    ASSERT_TRUE(exits_with(0, outcome));
    const std::vector<std::string> lines = lines_of(outcome.out);
    for (const VariantInfo &v : list_device_variants()) {
        if (v.device != Device::cuda()) {
            continue;
        }
        const auto at = std::find_if(lines.begin(), lines.end(), [&](const std::string &line) { return line.find("    " + v.name + " ") == 0; });
        ASSERT_TRUE(at != lines.end() && at + 1 != lines.end()) << v.name;
        EXPECT_TRUE(std::regex_search(*(at + 1), std::regex("sm_8[06]: [1-9][0-9]* registers, [0-9]+ bytes shared; sm_90: [1-9][0-9]* registers, [0-9]+ bytes shared; [0-9]+ wide loads, [0-9]+ shuffles$")))
            << *at << "\n"
            << *(at + 1) << "\nWhere CUDA's toolkit is, FOURFOLD_WRITE_DOCS=1 test_ptxas writes schedules/cuda/ptxas.csv anew.";
        if (v.stage == "winograd_product") {
            EXPECT_NE((at + 1)->find("; 5 wide loads, 0 shuffles"), std::string::npos) << *(at + 1);
        }
        if (v.parameters == "m=1 l=32") {
            EXPECT_NE((at + 1)->find("; 0 wide loads, 7 shuffles"), std::string::npos) << *(at + 1);
        }
    }
}

TEST(Explain, ShowsEveryCandidate) {
    const Outcome outcome = fourfold_command({"explain", "--problem", "b8 ic64 i56 oc64 f3 p1"});
    ASSERT_TRUE(exits_with(0, outcome));
    for (const char *algorithm : {"direct", "im2col", "fft"}) {
        EXPECT_TRUE(says(outcome, algorithm)) << algorithm;
    }
    const Result<Plan> plan = Plan::create(*Conv2dProblem::parse("b8 ic64 i56 oc64 f3 p1"));
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_TRUE(says(outcome, plan->variant())) << outcome.out;
    EXPECT_TRUE(exits_with(2, fourfold_command({"explain", "--problem", "b8 abacus"}), {"abacus"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"explain", "--problem", "b8 ic3 i4 oc3 f9"}), {"9"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"explain"})));
}

TEST(Bench, AllVariantsAreThoseThatCanRunTheProblem) {
    const Outcome outcome = fourfold_command({"bench", "--problem", "b1 ic8 i8 oc16 f3 p1", "--algorithm", "direct", "--all-variants", "--threads", "1", "--min-time", "0", "--json"});
    ASSERT_TRUE(exits_with(0, outcome));
    std::set<std::string> variants;
    for (const std::string &line : lines_of(outcome.out)) {
        const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
        ASSERT_TRUE(entry.is_object() && entry["ms_min"].is_number()) << line;
        variants.insert(entry["variant"].get<std::string>());
    }
    EXPECT_GE(variants.size(), 2u);
}

TEST(Bench, JsonHasItsFields) {
    const Outcome outcome = fourfold_command({"bench", "--problem", "b1 ic8 i20 oc16 f3 p1", "--algorithm", "all", "--threads", "1", "--json"});
    ASSERT_TRUE(exits_with(0, outcome));
    std::set<std::string> algorithms;
    for (const std::string &line : lines_of(outcome.out)) {
        const nlohmann::json entry = nlohmann::json::parse(line, nullptr, false);
        ASSERT_TRUE(entry.is_object()) << "not one object a line: " << line;
        for (const char *text : {"name", "problem", "algorithm", "variant"}) {
            ASSERT_TRUE(entry.contains(text) && entry[text].is_string()) << text << ": " << line;
        }
        for (const char *number : {"threads", "ms_min", "ms_median", "gflops", "workspace_bytes", "packed_filter_bytes", "max_error"}) {
            ASSERT_TRUE(entry.contains(number) && entry[number].is_number()) << number << ": " << line;
        }
        algorithms.insert(entry["algorithm"].get<std::string>());
        EXPECT_EQ(entry["threads"], 1);
        EXPECT_GT(entry["ms_min"].get<double>(), 0.0);
        EXPECT_LE(entry["ms_min"].get<double>(), entry["ms_median"].get<double>());
        EXPECT_LE(entry["max_error"].get<double>(), 2e-6);
        EXPECT_GE(entry["max_error"].get<double>(), 0.0);
        // gflops counts the direct algorithm's operations, whatever ran.
        const double flops = 2.0 * 16 * 20 * 20 * 8 * 9;
        const double from_time = flops / (entry["ms_min"].get<double>() * 1e6);
        EXPECT_NEAR(entry["gflops"].get<double>() / from_time, 1.0, 0.02) << line;
        const Result<Conv2dProblem> problem = Conv2dProblem::parse(entry["problem"].get<std::string>());
        ASSERT_TRUE(problem.ok()) << line;
        EXPECT_TRUE(*problem == *Conv2dProblem::parse("b1 ic8 i20 oc16 f3 p1"));
    }
    for (const char *algorithm : {"direct", "im2col", "fft"}) {
        EXPECT_TRUE(algorithms.count(algorithm)) << algorithm;
    }
}

TEST(Bench, RankOneFiltersAsTwoPasses) {
    const Outcome outcome = fourfold_command({"bench", "--rank-one", "--problem", "b1 ic1 i200 oc1 f15", "--algorithm", "direct", "--threads", "1", "--min-time", "0.01", "--json"});
    ASSERT_TRUE(exits_with(0, outcome));
    const std::vector<std::string> lines = lines_of(outcome.out);
    ASSERT_EQ(lines.size(), 2u) << outcome.out;
    const nlohmann::json entry = nlohmann::json::parse(lines[1], nullptr, false);
    EXPECT_EQ(entry["variant"], "two_passes");
    EXPECT_LE(entry["max_error"].get<double>(), 1e-6);
}

TEST(Bench, ReadsShapesOfBothForms) {
    const TemporaryFolder folder;
    write_bytes(folder / "sizes.csv", "# name,b,ic,i0,i1,oc,f0,f1,stride,pad,dilation,groups\nby_sizes,1,4,12,13,8,3,3,2,1,1,2\n");
    write_bytes(folder / "lines.csv", "# name,problem\nby_problem,b1 ic4 i12 oc4 f3 p1 reflect\n");
    for (const auto &[file, name, problem] : {std::tuple("sizes.csv", "by_sizes", "b1 ic4 i12x13 oc8 f3 s2 p1 g2"), std::tuple("lines.csv", "by_problem", "b1 ic4 i12 oc4 f3 p1 reflect")}) {
        const Outcome outcome = fourfold_command({"bench", "--shapes", folder / file, "--threads", "1", "--json"});
        ASSERT_TRUE(exits_with(0, outcome)) << file;
        const std::vector<std::string> lines = lines_of(outcome.out);
        ASSERT_EQ(lines.size(), 1u) << outcome.out;
        const nlohmann::json entry = nlohmann::json::parse(lines[0], nullptr, false);
        ASSERT_TRUE(entry.is_object()) << lines[0];
        EXPECT_EQ(entry["name"], name);
        EXPECT_TRUE(*Conv2dProblem::parse(entry["problem"].get<std::string>()) == *Conv2dProblem::parse(problem)) << lines[0];
    }
    write_bytes(folder / "bad.csv", "short,1,4\n");
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench", "--shapes", folder / "bad.csv"}), {"bad.csv"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench", "--shapes", folder / "absent.csv"}), {"absent.csv"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench"})));
}

TEST(Bench, TrainingSteps) {
    const Outcome outcome = fourfold_command({"bench", "--training", "--problem", "b2 ic4 i12 oc6 f5 p2", "b1 ic6 i9 oc6 f3 s2 p1 g3 nhwc", "--threads", "1", "--min-time", "0", "--json"});
    ASSERT_TRUE(exits_with(0, outcome));
    const std::vector<std::string> lines = lines_of(outcome.out);
    ASSERT_EQ(lines.size(), 2u) << outcome.out;
    for (const std::string &text : lines) {
        const nlohmann::json line = nlohmann::json::parse(text, nullptr, false);
        ASSERT_TRUE(line.is_object()) << text;
        for (const char *time : {"shared_ms", "auto_ms", "fft_ms"}) {
            EXPECT_GT(line[time].get<double>(), 0.0) << text;
        }
        EXPECT_LE(line["difference"].get<double>(), 1e-5) << text;
        EXPECT_GT(line["spectra_bytes"].get<int64_t>(), 0) << text;
    }
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench", "--training", "--problem", "b1 ic4 i9 oc4 f3", "--algorithm", "fft"}), {"--training takes none"}));
    EXPECT_TRUE(exits_with(3, fourfold_command({"bench", "--training", "--problem", "b1 ic4 i9 oc4 f3 relu"}), {"post-op"}));
}

TEST(Compare, WritesTableCsvAndPage) {
    const TemporaryFolder folder;
    write_bytes(folder / "shapes.csv", "first,1,4,20,20,8,3,3,1,1,1,1\nsecond,1,1,40,40,1,9,9,1,0,1,1\n");
    const Outcome outcome = fourfold_command({"compare", "--shapes", folder / "shapes.csv", "--sweep", "b=1:4", "--sweep", "f=1:5", "--quick", "--threads", "1", "--out", folder / "new/out"});
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_TRUE(says(outcome, "first") && says(outcome, "second")) << outcome.out;
    const std::string results = read_bytes(folder / "new/out/results.csv"), page = read_bytes(folder / "new/out/index.html");
    for (const char *word : {"first", "second", "direct", "im2col", "fft"}) {
        EXPECT_NE(results.find(word), std::string::npos) << word << " is not in results.csv";
    }
    for (const char *word : {"<html", "</html>", "first", "direct", "<svg"}) {
        EXPECT_NE(page.find(word), std::string::npos) << word << " is not in index.html";
    }
    ASSERT_GE(lines_of(results).size(), 3u);
    // The page is complete by itself: nothing is fetched when it is opened.
    for (const char *remote : {"src=\"http", "href=\"http", "@import", "url(http"}) {
        EXPECT_EQ(page.find(remote), std::string::npos) << remote;
    }
    for (const char *word : {"Roofline", "of peak", "x naive", "workspace", "max error", "Fastest", "prefers-color-scheme: dark"}) {
        EXPECT_NE(page.find(word), std::string::npos) << word << " is not in index.html";
    }
    EXPECT_EQ(page.find("<script"), std::string::npos);
    // Plots for papers, in literal colours.
    for (const char *plot : {"roofline", "first", "second", "sweep_b", "sweep_f"}) {
        const std::string svg = read_bytes(folder / "new/out/svg/" + plot + ".svg");
        EXPECT_EQ(svg.rfind("<?xml", 0), 0u) << plot;
        EXPECT_EQ(svg.find("var("), std::string::npos) << plot;
        EXPECT_NE(svg.find("</svg>"), std::string::npos) << plot;
    }
    // The same again from the results alone, and beside themselves.
    const Outcome again = fourfold_command({"compare", "--results", folder / "new/out/results.csv", "--against", folder / "new/out/results.csv", "--out", folder / "again"});
    ASSERT_TRUE(exits_with(0, again));
    EXPECT_EQ(lines_of(read_bytes(folder / "again/results.csv")).size(), lines_of(results).size());
    EXPECT_NE(read_bytes(folder / "again/index.html").find("Before and now"), std::string::npos);
    EXPECT_NE(read_bytes(folder / "again/svg/before_and_now.svg").find("</svg>"), std::string::npos);
    EXPECT_FALSE(says(again, "warning"));
    // The page says what the measured program was made with, not the one that writes it; nothing where older results do not say.
    EXPECT_NE(page.find("(Halide "), std::string::npos);
    for (const bool recorded : {true, false}) {
        std::string other = results;
        for (size_t at; (at = other.find("Halide ")) != std::string::npos;) {
            other.replace(at, 7, recorded ? "Other " : "");
        }
        if (!recorded) {
            other.replace(other.find("made_with"), 9, "something");
        }
        write_bytes(folder / "made.csv", other);
        ASSERT_TRUE(exits_with(0, fourfold_command({"compare", "--results", folder / "made.csv", "--out", folder / "made"})));
        const std::string made = read_bytes(folder / "made/index.html");
        EXPECT_EQ(made.find("Halide "), std::string::npos);
        EXPECT_EQ(made.find("(Other ") != std::string::npos, recorded);
        EXPECT_EQ(made.find("FFT by") != std::string::npos, recorded);
    }
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--results", folder / "absent.csv", "--out", folder / "again"}), {"absent.csv"}));

    // Beside times of another machine with a warning; not beside those of other threads, nor of both in one file.
    const std::string here = "," + machine().microarchitecture + "," + machine().isa + ",1,";
    const auto elsewhere = [&](const std::string &there, bool first_only) {
        std::string text = results;
        for (size_t at = text.find(here); at != std::string::npos; at = first_only ? std::string::npos : text.find(here, at + there.size())) {
            text.replace(at, here.size(), there);
        }
        write_bytes(folder / "elsewhere.csv", text);
        return fourfold_command({"compare", "--results", folder / "new/out/results.csv", "--against", folder / "elsewhere.csv", "--out", folder / "other"});
    };
    for (const std::string &there : {",pentium," + machine().isa + ",1,", "," + machine().microarchitecture + ",mmx,1,"}) {
        const Outcome other = elsewhere(there, false);
        ASSERT_TRUE(exits_with(0, other));
        EXPECT_TRUE(says(other, "warning: the times before are of") && says(other, there.find("mmx") != std::string::npos ? "mmx" : "pentium")) << other.out;
        EXPECT_TRUE(says(other, "better, ")) << other.out;
    }
    const std::string more_threads = "," + machine().microarchitecture + "," + machine().isa + ",7,";
    EXPECT_TRUE(exits_with(2, elsewhere(more_threads, false), {"elsewhere.csv", "7 threads", "1 thread;"}));
    EXPECT_TRUE(exits_with(2, elsewhere(more_threads, true), {"elsewhere.csv", "its rows are of"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--problem", "b1 ic1 i5 oc1 f3", "--sweep", "none", "--quick", "--threads", "7", "--against", folder / "new/out/results.csv", "--out", folder / "other"}), {"7 threads"}));

    write_bytes(folder / "file", "");
    EXPECT_TRUE(exits_with(1, fourfold_command({"compare", "--shapes", folder / "shapes.csv", "--quick", "--out", folder / "file/out"}), {"file"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"compare", "--shapes", folder / "absent.csv", "--quick", "--out", folder / "x"}), {"absent.csv"}));
}

}  // namespace
}  // namespace fourfold::test
