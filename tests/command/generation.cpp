// The verbs that make kernels: generate (its list; the library is built by the package test) and search.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "content_hash.h"
#include "fourfold/fourfold.h"
#include "records.h"

namespace fourfold::test {
namespace {

TEST(Generate, ListsWhatTheProblemsNeed) {
    TemporaryFolder folder;
    write_bytes(folder / "net.csv", "name,problem\na,b1 ic16 i14 oc32 f3 p1\nb,bwd-filters b1 ic16 i9 oc16 f3\nagain,b1 ic16 i14 oc32 f3 p1\nc,bwd-data b1 ic8 i9 oc24 f3 s2\n");
    ASSERT_TRUE(exits_with(0, fourfold_command({"generate", "--list-only", "--shapes", folder / "net.csv", "--out", folder / "out", "--threads", "1,2"})));
    const nlohmann::json list = nlohmann::json::parse(read_bytes(folder / "out/library.json"));
    EXPECT_EQ(list["isa"], machine().isa);
    ASSERT_EQ(list["problems"].size(), 3u) << "a problem that is listed twice is one";
    std::set<std::string> names;
    for (const VariantInfo &variant : list_variants()) {
        const nlohmann::json &stages = list["stages"];
        if (stages.contains(variant.stage) && stages[variant.stage].contains(variant.isa)) {
            const nlohmann::json &parameters = stages[variant.stage][variant.isa];
            if (std::find(parameters.begin(), parameters.end(), variant.parameters) != parameters.end()) {
                names.insert(variant.name);
            }
        }
    }
    EXPECT_GE(names.size(), 3u);
    EXPECT_LT(names.size(), 30u) << "only what is needed";
    for (const nlohmann::json &entry : list["problems"]) {
        const Conv2dProblem problem = *Conv2dProblem::parse(entry["problem"].get<std::string>());
        const Result<Plan> plan = Plan::create(problem);
        ASSERT_TRUE(plan.ok());
        EXPECT_EQ(entry["algorithm"], to_string(plan->algorithm()));
        EXPECT_TRUE(names.count(plan->variant())) << plan->variant();
        if (problem.operation != Operation::kBackwardData) {
            EXPECT_EQ(entry["choice"], plan->choice());
        }
    }
    ASSERT_FALSE(list["sized"].empty());
    for (const auto &[variant, sizes] : list["sized"].items()) {
        EXPECT_TRUE(names.count(variant)) << variant;
        EXPECT_FALSE(sizes.empty()) << variant;
    }
}

/// A table's line that makes this algorithm's plan the winner for so many threads.
std::string winner(const Conv2dProblem &problem, Algorithm algorithm, int threads) {
    PlanOptions options;
    options.algorithm = algorithm;
    options.threads = threads;
    Record record = cli::make_record(problem, options, Plan::create(problem, options)->choice());
    record.winner = true;
    record.seconds_min = record.seconds_median = record.seconds_predicted = 1e-3;
    record.samples = 10;
    return cli::record_line(record);
}

TEST(Generate, TakesTheChoicesOfATable) {
    TemporaryFolder folder;
    for (const char *text : {"b1 ic16 i14 oc32 f3 p1", "bwd-data b1 ic16 i14 oc32 f3 p1 s2"}) {
        const Conv2dProblem problem = *Conv2dProblem::parse(text);
        write_bytes(folder / "net.csv", std::string("name,problem\na,") + text + "\n");
        for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col}) {
            write_bytes(folder / "table.json", cli::header_line() + winner(problem, algorithm, 1));
            ASSERT_TRUE(exits_with(0, fourfold_command({"generate", "--list-only", "--shapes", folder / "net.csv", "--table", folder / "table.json", "--out", folder / "out"})));
            const nlohmann::json entry = nlohmann::json::parse(read_bytes(folder / "out/library.json"))["problems"][0];
            EXPECT_EQ(entry["algorithm"], to_string(algorithm));
            PlanOptions options;
            options.algorithm = algorithm;
            EXPECT_EQ(entry["choice"], Plan::create(problem, options)->choice());
        }
    }
    EXPECT_TRUE(exits_with(2, fourfold_command({"generate", "--list-only", "--shapes", folder / "net.csv", "--table", folder / "none.json", "--out", folder / "out"}), {"none.json"}));
}

TEST(Generate, HoldsTheChoiceOfEachNumberOfThreads) {
    TemporaryFolder folder;
    const char *text = "b1 ic16 i14 oc32 f3 p1";
    const Conv2dProblem problem = *Conv2dProblem::parse(text);
    write_bytes(folder / "net.csv", std::string("name,problem\na,") + text + "\n");
    write_bytes(folder / "table.json", cli::header_line() + winner(problem, Algorithm::kDirect, 1) + winner(problem, Algorithm::kIm2col, 2) + winner(problem, Algorithm::kDirect, 4));
    for (const char *threads : {"1,2,4", "4,2,1", "2"}) {
        ASSERT_TRUE(exits_with(0, fourfold_command({"generate", "--list-only", "--shapes", folder / "net.csv", "--table", folder / "table.json", "--threads", threads, "--out", folder / "out"})));
        const nlohmann::json list = nlohmann::json::parse(read_bytes(folder / "out/library.json"));
        ASSERT_EQ(list["problems"].size(), 2u) << list["problems"];
        EXPECT_EQ(list["problems"][0]["algorithm"], "direct");
        EXPECT_FALSE(list["problems"][0].contains("threads"));
        EXPECT_EQ(list["problems"][1]["algorithm"], "im2col");
        EXPECT_EQ(list["problems"][1]["threads"], 2);
        EXPECT_TRUE(list["stages"].contains("gemm"));
    }
}

TEST(Generate, ReadsNoChoiceFromTheEnvironment) {
    TemporaryFolder folder;
    write_bytes(folder / "net.csv", "name,problem\na,b1 ic16 i14 oc32 f3 p1\n");
    const auto list = [&](const std::vector<std::string> &environment) {
        std::vector<std::string> command = {"/usr/bin/env"};
        command.insert(command.end(), environment.begin(), environment.end());
        command.insert(command.end(), {FOURFOLD_COMMAND, "generate", "--list-only", "--shapes", folder / "net.csv", "--out", folder / "out"});
        EXPECT_TRUE(exits_with(0, spawn(command)));
        return nlohmann::json::parse(read_bytes(folder / "out/library.json"))["problems"];
    };
    const nlohmann::json usual = list({"-u", "FOURFOLD_CHOICE"});
    for (const char *algorithm : {"direct", "im2col", "winograd"}) {
        EXPECT_EQ(list({std::string("FOURFOLD_CHOICE=") + algorithm}), usual) << algorithm;
        EXPECT_EQ(list({std::string("FOURFOLD_BLOCK=") + algorithm}), usual) << algorithm;
    }
    list({"FOURFOLD_CAPTURE=" + (folder / "captured.csv")});
    EXPECT_FALSE(std::filesystem::exists(folder / "captured.csv"));
}

TEST(Generate, RefusesBadInput) {
    TemporaryFolder folder;
    write_bytes(folder / "bad.csv", "name,problem\na,b1 ic16 i14 oc32 f99\n");
    write_bytes(folder / "empty.csv", "name,problem\n");
    write_bytes(folder / "good.csv", "a,b1 ic1 i5 oc1 f3\n");
    EXPECT_TRUE(exits_with(2, fourfold_command({"generate", "--shapes", folder / "none.csv", "--out", folder / "o"}), {"none.csv"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"generate", "--shapes", folder / "bad.csv", "--out", folder / "o"}), {"bad.csv", "2"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"generate", "--shapes", folder / "empty.csv", "--out", folder / "o"}), {"empty.csv"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"generate", "--shapes", folder / "good.csv", "--out", folder / "o", "--name", "a b"}), {"a b"}));
    EXPECT_TRUE(exits_with(1, fourfold_command({"generate", "--list-only", "--shapes", folder / "good.csv", "--out", "/proc/none"}), {"/proc/none"}));
}

TEST(Search, CompilesChecksAndTimesACandidate) {
    TemporaryFolder folder;
    const std::vector<std::string> command = {"search", "--stage", "gemm", "--where", "m=2", "--where", "n=3", "--problem", "b1 ic8 i9 oc16 f3",
                                              "--build", FOURFOLD_GENERATORS_BUILD, "--cache", folder.path()};
    const Outcome first = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, first));
    EXPECT_NE(first.out.find("1 candidates, 1 of them to compile"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("1 ok"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("gemm_" + machine().isa + "_m2_n3\n"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("(built in)"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("winners"), std::string::npos) << first.out;
    const Outcome second = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, second));
    EXPECT_NE(second.out.find("1 candidates, 0 of them to compile"), std::string::npos) << second.out;

    // A compiled candidate that crashes takes nothing with it.
    for (const auto &entry : std::filesystem::recursive_directory_iterator(folder.path())) {
        if (entry.path().extension() == ".so") {
            std::ofstream(entry.path(), std::ios::binary) << "no library";
        }
    }
    const Outcome broken = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, broken));
    EXPECT_NE(broken.out.find("1 crash"), std::string::npos) << broken.out;
}

TEST(Search, ACandidateHasTheHashThatTheBuildWouldGiveIt) {
    TemporaryFolder folder;
    const Outcome outcome = fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm", "--where", "m=2", "--where", "n=3", "--problem", "b1 ic8 i9 oc16 f3", "--cache", folder.path()});
    ASSERT_TRUE(exits_with(0, outcome));
    // The generator again, as the build calls it, in another folder.
    const std::string build = FOURFOLD_GENERATORS_BUILD, isa = machine().isa;
    const nlohmann::json search = nlohmann::json::parse(read_bytes(build + "/kernels/search.json"));
    const auto generated = [&](const std::string &name, const std::vector<std::string> &parameters) {
        const std::string symbol = "fourfold_" + name;
        std::vector<std::string> command = {build + "/generate_gemm", "-g", "gemm", "-f", symbol, "-n", symbol, "-e", "object", "-o", folder.path(), "target=" + search["list"]["targets"][isa].get<std::string>() + "-no_runtime-user_context"};
        command.insert(command.end(), parameters.begin(), parameters.end());
        EXPECT_EQ(spawn(command).exit_code, 0);
        return read_bytes(folder / symbol + ".o");
    };
    const std::string hash = hash_text(generated("gemm_" + isa + "_m2_n3", {"m=2", "n=3"}));
    EXPECT_NE(outcome.out.find(hash + "  gemm_" + isa + "_m2_n3\n"), std::string::npos) << hash << "\n" << outcome.out;
    const std::vector<VariantInfo> variants = list_variants();
    const auto built_in = std::find_if(variants.begin(), variants.end(), [&](const VariantInfo &v) { return v.stage == "gemm" && v.isa == isa; });
    ASSERT_NE(built_in, variants.end());
    const size_t blank = built_in->parameters.find(' ');
    EXPECT_EQ(hash_text(generated(built_in->name, {built_in->parameters.substr(0, blank), built_in->parameters.substr(blank + 1)})), built_in->hash);
}

TEST(Search, RefusesBadInput) {
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gem", "--problem", "b1 ic8 i9 oc16 f3"}), {"gem"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm"}), {"--problem"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm", "--where", "m=5", "--problem", "b1 ic8 i9 oc16 f3"}), {"--where"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm", "--problem", "b1 ic8 i9 oc16 f99"}), {"99x99"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--stage", "gemm", "--build", "/none", "--problem", "b1 ic8 i9 oc16 f3"}), {"/none", "--build"}));
}

}  // namespace
}  // namespace fourfold::test
