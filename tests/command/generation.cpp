// The verbs that make kernels: generate (its list; the library is built by the package test) and search.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "content_hash.h"
#include "fourfold/fourfold.h"
#include "records.h"
#include "support/run_plan.h"

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

std::vector<std::string> search_gemm(const TemporaryFolder &folder, const std::vector<std::string> &more) {
    std::vector<std::string> command = {"search", "--stage", "gemm", "--problem", "b1 ic8 i9 oc16 f3", "--hopeless", "1e9", "--build", FOURFOLD_GENERATORS_BUILD, "--cache", folder.path()};
    command.insert(command.end(), more.begin(), more.end());
    return command;
}

/// The only file of this ending below the folder.
std::string file_with(const TemporaryFolder &folder, const std::string &ending) {
    for (const auto &entry : std::filesystem::recursive_directory_iterator(folder.path())) {
        if (entry.is_regular_file() && entry.path().string().ends_with(ending)) {
            return entry.path();
        }
    }
    return "";
}

TEST(Search, CompilesChecksAndTimesACandidate) {
    TemporaryFolder folder;
    const std::vector<std::string> command = search_gemm(folder, {"--where", "m=2", "--where", "n=3", "--curve", folder / "curve.csv"});
    const Outcome first = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, first));
    const std::vector<std::string> curve = lines_of(read_bytes(folder / "curve.csv"));
    ASSERT_EQ(curve.size(), 2u) << "one variant is the best for one problem";
    EXPECT_EQ(curve[0], "stage,target,variants,geomean_loss,worst_loss,within_goal,problems,goal_loss,added");
    EXPECT_EQ(curve[1].rfind("gemm," + machine().isa + ",1,0.0", 0), 0u) << curve[1];
    EXPECT_NE(curve[1].find(",1,1,0.0300,gemm_" + machine().isa), std::string::npos) << curve[1];
    EXPECT_NE(first.out.find("1 candidates, 1 of them to compile"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("1 ok"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("gemm_" + machine().isa + "_m2_n3\n"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("(built in)"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("winners"), std::string::npos) << first.out;
    const Outcome second = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, second));
    EXPECT_NE(second.out.find("1 candidates, 0 of them to compile"), std::string::npos) << second.out;
}

TEST(Search, ACrashCostsItselfOnly) {
    TemporaryFolder folder;
    const std::vector<std::string> command = search_gemm(folder, {"--where", "m=2"});
    ASSERT_TRUE(exits_with(0, fourfold_command(command)));
    // It does well alone, and crashes when it is timed beside the others.
    const std::string name = "gemm_" + machine().isa + "_m2_n3", symbol = "fourfold_" + name + "_argv", library = file_with(folder, "m2_n3.so"), real = folder / "real.o";
    ASSERT_EQ(spawn({"/usr/bin/env", "objcopy", "--redefine-sym", symbol + "=real_candidate", file_with(folder, "m2_n3.o"), real}).exit_code, 0);
    ASSERT_EQ(spawn({"/usr/bin/env", "ld", "-shared", "-Bsymbolic", "--defsym", symbol + "=crash_later", "-o", library, FOURFOLD_CRASH_LATER, real, std::string(FOURFOLD_GENERATORS_BUILD) + "/kernels/candidate_runtime.o"}).exit_code, 0);
    const Outcome outcome = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_NE(outcome.out.find(name + ": crash, signal 6"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("  1 crash\n"), std::string::npos) << outcome.out;
    EXPECT_EQ(outcome.out.find(name + "\n"), std::string::npos) << "it has a time\n"
                                                                << outcome.out;
    for (const char *other : {"_m2_n1", "_m2_n2", "_m2_n4"}) {
        EXPECT_NE(outcome.out.find("gemm_" + machine().isa + other + "\n"), std::string::npos) << other << "\n"
                                                                                               << outcome.out;
    }
    EXPECT_NE(read_bytes(file_with(folder, "/journal")).find("\"failure\":\"crash\""), std::string::npos);
}

TEST(Search, ResumesWhereItWas) {
    TemporaryFolder folder;
    ASSERT_TRUE(exits_with(0, fourfold_command(search_gemm(folder, {"--where", "m=2"}))));
    const std::string journal = file_with(folder, "/journal"), name = "gemm_" + machine().isa + "_m2_n3";
    const auto lines_of = [](const std::string &text, const std::string &choice) {
        int count = 0;
        for (size_t at = text.find(choice + "\""); at != std::string::npos; at = text.find(choice + "\"", at + 1)) {
            ++count;
        }
        return count;
    };
    // What the journal says of a candidate stands, and is not asked again.
    const std::string before = read_bytes(journal);
    ASSERT_GE(lines_of(before, name), 3);
    const Outcome resumed = fourfold_command(search_gemm(folder, {"--where", "m=2", "--resume"}));
    ASSERT_TRUE(exits_with(0, resumed));
    const std::string after = read_bytes(journal);
    EXPECT_EQ(after.substr(0, before.size()), before);
    // Those that may win meet again in fresh processes, as often as they disagree; this one is far too slow for that.
    const std::string slow = "gemm_" + machine().isa + "_m2_n1";
    ASSERT_GE(lines_of(before, slow), 1);
    EXPECT_LE(lines_of(after, slow), lines_of(before, slow) + lines_of(before, slow) / 2);
    // A failure too.
    const size_t at = before.find("{\"key\""), end = before.find('\n', at);
    std::string failed = before.substr(at, end - at);
    const nlohmann::json line = nlohmann::json::parse(failed);
    nlohmann::json wrong = line;
    wrong["failure"] = "wrong";
    wrong.erase("s");
    std::ofstream(journal, std::ios::app) << wrong.dump() << "\n";
    const Outcome again = fourfold_command(search_gemm(folder, {"--where", "m=2", "--resume"}));
    ASSERT_TRUE(exits_with(0, again));
    EXPECT_NE(again.out.find("wrong, in an earlier run"), std::string::npos) << again.out;
    // Without --resume all is new.
    const Outcome fresh = fourfold_command(search_gemm(folder, {"--where", "m=2"}));
    ASSERT_TRUE(exits_with(0, fresh));
    EXPECT_EQ(fresh.out.find("earlier run"), std::string::npos) << fresh.out;
}

TEST(Search, TriesTheLikeliestWithinTrialsAndBudget) {
    TemporaryFolder folder;
    const Outcome few = fourfold_command(search_gemm(folder, {"--trials", "2", "--where", "m=2"}));
    ASSERT_TRUE(exits_with(0, few));
    EXPECT_NE(few.out.find(" built in, 2 candidates, 2 of them to compile; "), std::string::npos) << few.out;
    EXPECT_NE(few.out.find("  2 ok\n"), std::string::npos) << few.out;
    // No time: nothing is compiled and nothing timed, and it says so.
    const Outcome none = fourfold_command(search_gemm(folder, {"--budget", "0.000001s", "--where", "m=3"}));
    ASSERT_TRUE(exits_with(0, none));
    EXPECT_NE(none.out.find("the budget is spent: 0 of 1 problems"), std::string::npos) << none.out;
    EXPECT_EQ(file_with(folder, "m3_n2.so"), "");
    EXPECT_TRUE(exits_with(2, fourfold_command(search_gemm(folder, {"--budget", "soon"})), {"--budget"}));
}

/// A build whose generator does this first; and the search there.
std::vector<std::string> search_with_generator(const TemporaryFolder &folder, const TemporaryFolder &build, const std::string &first) {
    std::filesystem::create_directories(build / "kernels");
    for (const char *file : {"kernels/search.json", "kernels/candidate_runtime.o"}) {
        std::filesystem::create_symlink(std::string(FOURFOLD_GENERATORS_BUILD) + "/" + file, build / file);
    }
    write_bytes(build / "generate_gemm", "#!/bin/sh\n" + first + "\nexec " + FOURFOLD_GENERATORS_BUILD + "/generate_gemm \"$@\"\n");
    std::filesystem::permissions(build / "generate_gemm", std::filesystem::perms::owner_all);
    std::vector<std::string> command = search_gemm(folder, {"--where", "m=2", "--jobs", "1"});
    *(std::find(command.begin(), command.end(), "--build") + 1) = build.path();
    return command;
}

/// The same search continued, by a generator that does nothing else first.
Outcome resumed_search(const TemporaryFolder &folder, const TemporaryFolder &build) {
    std::filesystem::remove_all(build / "kernels");
    std::vector<std::string> command = search_with_generator(folder, build, "");
    command.push_back("--resume");
    return fourfold_command(command);
}

/// The number before these words; -1 without them.
int number_before(const std::string &text, const std::string &words) {
    const size_t end = text.find(words), begin = text.find_last_of(" \n", end - 1) + 1;
    return end == std::string::npos ? -1 : std::stoi(text.substr(begin, end - begin));
}

TEST(Search, AnInterruptionEndsItCleanly) {
    TemporaryFolder folder, build;
    // Ctrl-C while the first candidate compiles: to the search, which is the parent of the generator's parent.
    const std::vector<std::string> command = search_with_generator(folder, build, "kill -INT \"$(cut -d' ' -f4 /proc/$PPID/stat)\"");
    const Outcome outcome = fourfold_command(command);
    ASSERT_TRUE(exits_with(1, outcome, {"interrupted; continue with --resume"}));
    const int candidates = number_before(outcome.out, " of them to compile");
    EXPECT_GE(candidates, 2) << outcome.out;
    EXPECT_NE(outcome.out.find("winners"), std::string::npos) << outcome.out;
    EXPECT_EQ(file_with(folder, ".log"), "") << "what was compiling is no failure";
    // What was compiling is finished, and there for the next run.
    const Outcome resumed = resumed_search(folder, build);
    ASSERT_TRUE(exits_with(0, resumed));
    EXPECT_EQ(number_before(resumed.out, " of them to compile"), candidates - 1) << resumed.out;
    EXPECT_EQ(number_before(resumed.out, " ok\n"), candidates) << resumed.out;
}

TEST(Search, KilledItLeavesNobodyBehind) {
    TemporaryFolder folder, build;
    // The search is the parent of the stage's process, which is the parent of the generator's parent.
    const std::vector<std::string> command = search_with_generator(folder, build, "kill -KILL \"$(cut -d' ' -f4 /proc/$(cut -d' ' -f4 /proc/$PPID/stat)/stat)\"");
    EXPECT_EQ(fourfold_command(command).exit_code, 128 + SIGKILL);
    // The stage's process ends with the first candidate, and lets go of the cache.
    for (int i = 0; i < 600 && file_with(folder, "lock") != ""; i++) {
        usleep(100000);
    }
    EXPECT_EQ(file_with(folder, "lock"), "");
    EXPECT_EQ(file_with(folder, ".log"), "") << "what was compiling is no failure";
    const Outcome resumed = resumed_search(folder, build);
    ASSERT_TRUE(exits_with(0, resumed));
    EXPECT_EQ(number_before(resumed.out, " of them to compile") + 1, number_before(resumed.out, " ok\n")) << resumed.out;
}

TEST(Search, AGeneratorThatFailsIsOneOfTheFailures) {
    TemporaryFolder folder, build;
    std::vector<std::string> command = search_with_generator(folder, build, "case \"$*\" in *n=3*) echo no such schedule >&2; exit 1;; esac");
    const Outcome outcome = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, outcome));
    EXPECT_NE(outcome.out.find("gemm_" + machine().isa + "_m2_n3: compile, no such schedule\n"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("  1 compile\n"), std::string::npos) << outcome.out;
    EXPECT_NE(outcome.out.find("gemm_" + machine().isa + "_m2_n2\n"), std::string::npos) << outcome.out;
    command.push_back("--resume");
    const Outcome resumed = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, resumed));
    EXPECT_NE(resumed.out.find(", 0 of them to compile"), std::string::npos) << resumed.out;
    EXPECT_NE(resumed.out.find("  1 compile\n"), std::string::npos) << resumed.out;
}

TEST(Search, ACandidateHasTheHashThatTheBuildWouldGiveIt) {
    if (kSanitized) {
        GTEST_SKIP() << "built-in variants are instrumented, candidates are not";
    }
    TemporaryFolder folder;
    const Outcome outcome = fourfold_command(search_gemm(folder, {"--where", "m=2", "--where", "n=3"}));
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
    EXPECT_NE(outcome.out.find(hash + "  gemm_" + isa + "_m2_n3\n"), std::string::npos) << hash << "\n"
                                                                                        << outcome.out;
    const std::vector<VariantInfo> variants = list_variants();
    const auto built_in = std::find_if(variants.begin(), variants.end(), [&](const VariantInfo &v) { return v.stage == "gemm" && v.isa == isa; });
    ASSERT_NE(built_in, variants.end());
    const size_t blank = built_in->parameters.find(' ');
    EXPECT_EQ(hash_text(generated(built_in->name, {built_in->parameters.substr(0, blank), built_in->parameters.substr(blank + 1)})), built_in->hash);
}

/// The lines of what was printed that name a winner, `"m=2 n=3"   0.950 on ...`, by the stage that they stand under.
std::map<std::string, std::set<std::string>> printed_winners(const std::string &out) {
    std::map<std::string, std::set<std::string>> winners;
    std::string stage;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);) {
        const std::string head = "winners, for \"";
        if (line.rfind(head, 0) == 0) {
            stage = line.substr(head.size(), line.find('"', head.size()) - head.size());
            winners[stage];
        } else if (line.rfind("\"", 0) == 0) {
            winners[stage].insert(line.substr(1, line.find('"', 1) - 1));
        }
    }
    return winners;
}

TEST(Search, WritesTheWinnersOfAllStagesIntoAList) {
    if (kSanitized) {
        GTEST_SKIP() << "variants of the list are left out";
    }
    TemporaryFolder folder;
    const Outcome outcome = fourfold_command({"search", "--problem", "b1 ic8 i9 oc16 f3", "--hopeless", "1e9", "--trials", "1", "--margin", "0", "--build", FOURFOLD_GENERATORS_BUILD, "--cache", folder.path(), "--write", folder / "list.json"});
    ASSERT_TRUE(exits_with(0, outcome));
    const std::map<std::string, std::set<std::string>> winners = printed_winners(outcome.out);
    for (const char *stage : {"gemm", "conv_direct", "tile_product"}) {
        EXPECT_EQ(winners.count(stage), 1u) << stage << "\n"
                                            << outcome.out;
    }
    using Json = nlohmann::ordered_json;
    Json list = Json::parse(read_bytes(folder / "list.json"));
    Json before = Json::parse(read_bytes(std::string(FOURFOLD_GENERATORS_BUILD) + "/kernels/search.json"))["list"];
    size_t added = 0;
    for (const auto &[stage, found] : winners) {
        for (const std::string &parameters : found) {
            const Json &built = before["stages"][stage][machine().isa];
            EXPECT_EQ(std::find(built.begin(), built.end(), parameters), built.end()) << stage << " " << parameters;
            before["stages"][stage][machine().isa].push_back(parameters);
            ++added;
        }
    }
    EXPECT_EQ(list, before) << "the build's list and the winners, nothing else";
    EXPECT_NE(outcome.out.find("list.json: " + std::to_string(added) + " variants added"), std::string::npos) << outcome.out;
    // Stages that are named are searched, and no others.
    const Outcome two = fourfold_command({"search", "--stage", "gemm", "--stage", "conv_direct", "--where", "m=2", "--trials", "1", "--problem", "b1 ic8 i9 oc16 f3", "--hopeless", "1e9", "--build", FOURFOLD_GENERATORS_BUILD, "--cache", folder.path()});
    ASSERT_TRUE(exits_with(0, two));
    EXPECT_EQ(printed_winners(two.out).size(), 2u) << two.out;
}

TEST(Search, SearchesAPairWithWhatGoesWithIt) {
    if (kSanitized) {
        GTEST_SKIP() << "variants of the list are left out";
    }
    TemporaryFolder folder;
    const std::string isa = machine().isa;
    const std::vector<std::string> command = {"search", "--stage", "tile_forward+tile_product", "--problem", "b1 ic16 i20 oc16 f5 p2", "--where", "t=10", "--where", "by=null", "--where", "r=2", "--where", "v=1", "--where", "mults=3", "--hopeless", "20", "--build", FOURFOLD_GENERATORS_BUILD,
                                              "--cache", folder.path()};
    const Outcome outcome = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, outcome));
    // The new size needs its inverse. Which pairs are timed is the search's choice: of each size the likeliest, of the best one all.
    EXPECT_NE(outcome.out.find(", 2 candidates, 3 of them to compile"), std::string::npos) << outcome.out;
    const std::string forward = "tile_forward_" + isa + "_t10", product = "tile_product_" + isa + "_r2_v1_mults3";
    bool new_size = false, new_product = false, built_in = false;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
        const bool has_forward = line.find(forward + " ") != std::string::npos, has_product = line.find(product) != std::string::npos, has_pair = line.find("tile_forward_" + isa) != std::string::npos && line.find("tile_product_" + isa) != std::string::npos;
        EXPECT_EQ(line.find("refused"), std::string::npos) << line;
        new_size = new_size || (has_forward && has_pair);
        new_product = new_product || (has_product && has_pair);
        built_in = built_in || (has_pair && !has_forward && !has_product && line.find("(built in)") != std::string::npos);
    }
    EXPECT_TRUE(new_size && new_product && built_in) << new_size << new_product << built_in << "\n"
                                                     << outcome.out;
    EXPECT_EQ(printed_winners(outcome.out).count("tile_forward") + printed_winners(outcome.out).count("tile_product"), 2u) << outcome.out;
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm+gemm", "--problem", "b1 ic8 i9 oc16 f3"}), {"gemm+gemm"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm+gem", "--problem", "b1 ic8 i9 oc16 f3"}), {"'gem'"}));
}

TEST(Search, RefusesBadInput) {
    EXPECT_TRUE(exits_with(1, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--problem", "b1 ic8 i9 oc16 f3", "--write", "/proc/none/list.json"}), {"/proc/none"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--problem", "b1 ic8 i9 oc16 f3", "--where", "m=99"}), {"--where"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gem", "--problem", "b1 ic8 i9 oc16 f3"}), {"gem"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm"}), {"--problem"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm", "--where", "m=5", "--problem", "b1 ic8 i9 oc16 f3"}), {"--where"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--build", FOURFOLD_GENERATORS_BUILD, "--stage", "gemm", "--problem", "b1 ic8 i9 oc16 f99"}), {"99x99"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"search", "--stage", "gemm", "--build", "/none", "--problem", "b1 ic8 i9 oc16 f3"}), {"/none", "--build"}));
}

}  // namespace
}  // namespace fourfold::test
