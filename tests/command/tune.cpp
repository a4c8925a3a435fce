// `fourfold tune`, `tables`, `report`, `compare --against`, FOURFOLD_CAPTURE and the other variables: as a user has them.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "fourfold/fourfold.h"
#include "records.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

std::vector<std::string> lines_of(const std::string &text) {
    std::vector<std::string> lines;
    std::stringstream stream(text);
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

bool says(const Outcome &outcome, const std::string &word) {
    return outcome.out.find(word) != std::string::npos;
}

/// An environment variable for the commands of one scope.
class Environment {
public:
    Environment(const char *name, const std::string &value)
        : name_(name) {
        setenv(name, value.c_str(), 1);
    }
    ~Environment() {
        unsetenv(name_);
    }
    Environment(const Environment &) = delete;
    Environment &operator=(const Environment &) = delete;

private:
    const char *const name_;
};

/// Starts the command and sends it a signal after so many milliseconds, or lets it end. Its exit code, or 128 + signal.
int end_after(const Arguments &arguments, int milliseconds, int signal) {
    std::vector<std::string> command = {FOURFOLD_COMMAND};
    command.insert(command.end(), arguments.begin(), arguments.end());
    std::vector<char *> argv;
    for (std::string &argument : command) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        const int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execv(argv[0], argv.data());
        _exit(127);
    }
    int status = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (std::chrono::steady_clock::now() < end) {
        if (waitpid(child, &status, WNOHANG) == child) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    kill(child, signal);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

constexpr const char *kShapes = "one,b1 ic4 i12 oc8 f3 p1\ntwo,b1 ic1 i40 oc1 f7\nthree,b2 ic8 i10 oc8 f1\nthree_again,b2 ic8 i10 oc8 f1 relu\nfour,b1 ic6 i9 oc6 f3 p1 g6\n";
const std::set<std::string> kProblems = {"fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1", "fwd b1 ic1 i40x40 oc1 f7x7", "fwd b2 ic8 i10x10 oc8 f1x1", "fwd b1 ic6 i9x9 oc6 f3x3 p1,1,1,1 g6"};

/// Problems with a winner. Every whole line must be JSON.
std::multiset<std::string> tuned(const std::string &path) {
    std::multiset<std::string> problems;
    std::string text = read_bytes(path);
    text.erase(text.rfind('\n') + 1);
    for (const std::string &line : lines_of(text)) {
        const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
        EXPECT_TRUE(object.is_object()) << line;
        if (object.is_object() && object.value("role", "") == "winner") {
            problems.insert(object["problem"].get<std::string>());
        }
    }
    return problems;
}

std::multiset<std::string> all_of(const std::set<std::string> &problems) {
    return {problems.begin(), problems.end()};
}

class Tuned : public ::testing::Test {
protected:
    void SetUp() override {
        write_bytes(folder / "shapes.csv", kShapes);
    }
    void TearDown() override {
        unload_tables(true);  // other tests compare with the commands, which have the shipped tables
    }
    Arguments tune(const Arguments &more = {}) const {
        Arguments arguments = {"tune", "--shapes", folder / "shapes.csv", "--out", folder / "t.json", "--trials", "4"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return arguments;
    }
    const TemporaryFolder folder;
};

TEST_F(Tuned, MakesATableThatPlansFollow) {
    const Outcome outcome = fourfold_command(tune());
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    EXPECT_TRUE(says(outcome, "4 problems to tune")) << outcome.out;
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems));
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"})) << "no journal is left";
    for (const std::string &line : lines_of(read_bytes(folder / "t.json"))) {
        const nlohmann::json r = nlohmann::json::parse(line);
        if (!r.contains("choice")) {
            EXPECT_EQ(r["format"], "fourfold-records");
            continue;
        }
        for (const char *key : {"problem", "accuracy", "microarchitecture", "isa", "threads", "cache", "role", "variants", "machine", "library", "date"}) {
            EXPECT_TRUE(r.contains(key)) << key;
        }
    }
    // Followed through the environment, and said so.
    const Environment table("FOURFOLD_TABLE", folder / "t.json"), verbose("FOURFOLD_VERBOSE", "1");
    const Outcome explained = fourfold_command({"explain", "--problem", "b1 ic4 i12 oc8 f3 p1"});
    EXPECT_TRUE(says(explained, "record in")) << explained.out;
    EXPECT_NE(explained.err.find("(record: record in"), std::string::npos) << explained.err;
    const Outcome shown = fourfold_command({"tables", "show", folder / "t.json"});
    EXPECT_TRUE(exits_with(0, shown));
    EXPECT_TRUE(says(shown, "4 problems"));
    const Outcome verified = fourfold_command(tune({"--verify-only"}));
    EXPECT_TRUE(says(verified, "4 records verified")) << verified.out << verified.err;
    const Outcome reported = fourfold_command({"report", "--table", folder / "t.json", "--shapes", folder / "shapes.csv", "--per-shape"});
    EXPECT_TRUE(exits_with(0, reported)) << reported.err;
    for (const char *word : {"A/A floor of 4 problems", "geomean", "p5", "worst", "time-weighted", "held out by family", "fixed order", "single best", "three"}) {
        EXPECT_TRUE(says(reported, word)) << word;
    }
}

TEST_F(Tuned, ResumeDoesNothingTwice) {
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    const std::string before = read_bytes(folder / "t.json");
    const Outcome again = fourfold_command(tune({"--resume"}));
    ASSERT_TRUE(exits_with(0, again));
    EXPECT_TRUE(says(again, "0 problems to tune, 4 tuned already")) << again.out;
    EXPECT_EQ(read_bytes(folder / "t.json"), before);
    // A torn tail is closed, and costs its line only.
    write_bytes(folder / "t.json", before.substr(0, before.size() - 20));
    const Outcome torn = fourfold_command(tune({"--resume"}));
    ASSERT_TRUE(exits_with(0, torn)) << torn.err;
    unload_tables(false);
    const Result<TableInfo> info = load_table(folder / "t.json");
    ASSERT_TRUE(info.ok());
    EXPECT_LE(info->unreadable, 1);
}

/// Samples and failures that the journal holds, and candidates that the table does.
size_t kept(const TemporaryFolder &folder) {
    size_t count = 0;
    for (const char *name : {"t.json", "t.json.journal"}) {
        const std::string text = read_bytes(folder / name);
        count += static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    }
    return count;
}

TEST_F(Tuned, KilledTwentyTimesItLosesNothingButWhatWasUnderWay) {
    Random random(test_seed());
    size_t before = 0;
    int kills = 0;
    for (int i = 0; i < 20; i++) {
        const int code = end_after(tune({"--resume"}), static_cast<int>(random.between(20, 400)), SIGKILL);
        kills += code == 128 + SIGKILL;
        ASSERT_TRUE(code == 0 || code == 128 + SIGKILL) << code;
        const size_t now = kept(folder);
        if (std::filesystem::exists(folder / "t.json.journal")) {
            EXPECT_GE(now, before) << "nothing that was written goes";
            before = now;
        }
        if (std::filesystem::exists(folder / "t.json") && std::filesystem::file_size(folder / "t.json") > 60) {
            unload_tables(false);
            const Result<TableInfo> info = load_table(folder / "t.json");
            ASSERT_TRUE(info.ok()) << info.status().message();
            EXPECT_EQ(info->unreadable, 0);
        }
        if (code == 0) {
            std::filesystem::remove(folder / "t.json");
            before = 0;
        }
    }
    EXPECT_GE(kills, 10) << seed_note(test_seed());
    ASSERT_TRUE(exits_with(0, fourfold_command(tune({"--resume"}))));
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems)) << "each problem once: none lost, none done twice";
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"}));
}

TEST_F(Tuned, AnInterruptEndsItCleanly) {
    const int code = end_after(tune(), 300, SIGINT);
    ASSERT_TRUE(code == 1 || code == 0) << code;
    EXPECT_TRUE(exits_with(0, fourfold_command(tune({"--resume"}))));
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems));
}

TEST_F(Tuned, ABudgetIsKept) {
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = fourfold_command(tune({"--budget", "1s"}));
    EXPECT_TRUE(exits_with(0, outcome)) << outcome.err;
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
    EXPECT_TRUE(exits_with(2, fourfold_command(tune({"--budget", "soon"})), {"soon"}));
}

TEST_F(Tuned, BadArgumentsAndFiles) {
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--out", folder / "t.json"}), {"--shapes"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--shapes", folder / "absent.csv", "--out", folder / "t.json"}), {"absent.csv"}));
    EXPECT_TRUE(exits_with(1, fourfold_command({"tune", "--shapes", folder / "shapes.csv", "--out", folder / "no/such/t.json"}), {"no/such"}));
    write_bytes(folder / "t.json", "hello\n");
    EXPECT_TRUE(exits_with(2, fourfold_command(tune()), {"t.json"})) << "a file that is no table is not appended to";
    EXPECT_EQ(read_bytes(folder / "t.json"), "hello\n");
    EXPECT_TRUE(exits_with(2, fourfold_command(tune({"--verify-only"})), {"t.json"}));
    for (const char *verb : {"show", "merge", "diff"}) {
        EXPECT_TRUE(exits_with(2, fourfold_command({"tables", verb}))) << verb;
    }
    EXPECT_TRUE(exits_with(2, fourfold_command({"tables", "show", folder / "t.json"}), {"t.json"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", folder / "t.json"}), {"t.json"}));
    const Environment table("FOURFOLD_TABLE", folder / "t.json");
    const Outcome explained = fourfold_command({"explain", "--problem", "b1 ic4 i12 oc8 f3 p1"});
    EXPECT_TRUE(exits_with(0, explained)) << "a bad table is said, and left out";
    EXPECT_NE(explained.err.find("t.json"), std::string::npos);
}

TEST_F(Tuned, TablesMergeAndDiffer) {
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    ASSERT_TRUE(exits_with(0, fourfold_command({"tune", "--problem", "b1 ic3 i11 oc5 f3", "--out", folder / "u.json", "--trials", "2"})));
    ASSERT_TRUE(exits_with(0, fourfold_command({"tables", "merge", folder / "t.json", folder / "u.json", "--out", folder / "m.json"})));
    std::set<std::string> all = kProblems;
    all.insert("fwd b1 ic3 i11x11 oc5 f3x3");
    EXPECT_EQ(tuned(folder / "m.json"), all_of(all));
    const Outcome diff = fourfold_command({"tables", "diff", folder / "t.json", folder / "m.json"});
    ASSERT_TRUE(exits_with(0, diff));
    EXPECT_TRUE(says(diff, "4 problems in both: 4 same") && says(diff, "1 added, 0 removed")) << diff.out;
}

TEST_F(Tuned, OperationsLayoutsThreadsAndColdCachesHaveRecordsOfTheirOwn) {
    const std::string out = folder / "t.json";
    const Arguments problem = {"tune", "--problem", "b1 ic8 i9 oc16 f3 p1", "--out", out, "--trials", "3"};
    const auto with = [&](const Arguments &more) {
        Arguments arguments = problem;
        arguments.insert(arguments.end(), more.begin(), more.end());
        return arguments;
    };
    const Outcome varied = fourfold_command(with({"--operation", "fwd,bwd-data,bwd-filters", "--layout", "nchw,nhwc"}));
    ASSERT_TRUE(exits_with(0, varied)) << varied.err;
    EXPECT_TRUE(says(varied, "6 problems to tune")) << varied.out;
    ASSERT_TRUE(exits_with(0, fourfold_command(with({"--threads", "2"}))));
    ASSERT_TRUE(exits_with(0, fourfold_command(with({"--cold"}))));
    EXPECT_TRUE(exits_with(2, fourfold_command(with({"--operation", "sideways"})), {"sideways"}));
    EXPECT_TRUE(exits_with(2, fourfold_command(with({"--layout", "chwn"})), {"chwn"}));
    const std::multiset<std::string> expected = {"fwd b1 ic8 i9x9 oc16 f3x3 p1,1,1,1", "fwd b1 ic8 i9x9 oc16 f3x3 p1,1,1,1", "fwd b1 ic8 i9x9 oc16 f3x3 p1,1,1,1", "fwd b1 ic8 i9x9 oc16 f3x3 p1,1,1,1 nhwc", "bwd-data b1 ic8 i9x9 oc16 f3x3 p1,1,1,1",
                                                 "bwd-data b1 ic8 i9x9 oc16 f3x3 p1,1,1,1 nhwc", "bwd-filters b1 ic8 i9x9 oc16 f3x3 p1,1,1,1", "bwd-filters b1 ic8 i9x9 oc16 f3x3 p1,1,1,1 nhwc"};
    EXPECT_EQ(tuned(out), expected);
    // Every one is found by its key.
    unload_tables(false);
    ASSERT_TRUE(load_table(out).ok());
    for (const char *operation : {"fwd", "bwd-data", "bwd-filters"}) {
        for (const char *layout : {"", " nhwc"}) {
            const Result<Plan> plan = Plan::create(*Conv2dProblem::parse(std::string(operation) + " b1 ic8 i9 oc16 f3 p1" + layout));
            ASSERT_TRUE(plan.ok());
            EXPECT_EQ(plan->tier(), Tier::kRecord) << operation << layout;
        }
    }
    std::set<std::string> keys;
    for (const std::string &line : lines_of(read_bytes(out))) {
        const nlohmann::json r = nlohmann::json::parse(line);
        if (r.value("role", "") == "winner" && r["problem"] == "fwd b1 ic8 i9x9 oc16 f3x3 p1,1,1,1") {
            keys.insert(r["cache"].get<std::string>() + std::to_string(r["threads"].get<int>()));
        }
    }
    EXPECT_EQ(keys, (std::set<std::string>{"warm1", "warm2", "cold1"}));
    for (const Arguments &flags : {Arguments{}, Arguments{"--threads", "2"}, Arguments{"--cold"}}) {
        Arguments report = {"report", "--table", out};
        report.insert(report.end(), flags.begin(), flags.end());
        const Outcome reported = fourfold_command(report);
        ASSERT_TRUE(exits_with(0, reported)) << reported.err;
        EXPECT_TRUE(says(reported, flags.empty() ? ": 6 problems" : ": 1 problems")) << reported.out;
    }
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", out, "--threads", "3"}), {"no records"}));
}

TEST_F(Tuned, ReportJudgesByHalvesAndByAnotherTune) {
    // Two choices that this build really has.
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic8 i9 oc16 f3 p1");
    PlanOptions direct, im2col;
    direct.algorithm = Algorithm::kDirect;
    im2col.algorithm = Algorithm::kIm2col;
    const Plan first = *Plan::create(p, direct), second = *Plan::create(p, im2col);
    const std::string header = cli::header_line();
    PlanOptions one_thread;
    one_thread.threads = 1;
    const auto line = [&](const Plan &plan, bool winner, double a, double b) {
        Record r = cli::make_record(p, one_thread, plan.choice());
        r.winner = winner;
        r.seconds_min = std::min(a, b) * 1e-3;
        r.seconds_median = a * 1e-3;
        r.seconds_predicted = 1e-3;
        r.halves = {a * 1e-3, b * 1e-3};
        r.samples = 10;
        return cli::record_line(r);
    };
    const auto table = [&](double a, double b, double c, double d) {
        return header + line(first, true, a, b) + line(second, false, c, d);
    };
    // The winner was lucky in one half.
    write_bytes(folder / "one.json", table(1.00, 1.20, 1.10, 1.10));
    const Outcome one = fourfold_command({"report", "--table", folder / "one.json"});
    ASSERT_TRUE(exits_with(0, one)) << one.err;
    // Half one picks the winner, half two the other: sqrt(1.20/1.20 * 1.10/1.00) = 1.049.
    EXPECT_TRUE(says(one, "  1.049")) << one.out;
    // The winner's halves: 1.00/1.20 = 0.833. Picking again: sqrt(1.00/1.10 * 1.10/1.20) = 0.913.
    EXPECT_TRUE(says(one, "against each other 0.833")) << one.out;
    EXPECT_TRUE(says(one, "judged by the other 0.913")) << one.out;
    // Another tune says that the choice takes twice the best.
    write_bytes(folder / "two.json", table(2.00, 2.00, 1.00, 1.00));
    const Outcome two = fourfold_command({"report", "--table", folder / "one.json", "--times", folder / "two.json"});
    ASSERT_TRUE(exits_with(0, two)) << two.err;
    EXPECT_TRUE(says(two, "  0.500")) << two.out;
    // Tables differ by more than their noise; as fast within the noise is a tie.
    write_bytes(folder / "three.json", header + line(first, false, 1.03, 1.08) + line(second, true, 1.00, 1.00));
    EXPECT_TRUE(says(fourfold_command({"tables", "diff", folder / "one.json", folder / "three.json"}), "1 within the tie band"));
    write_bytes(folder / "four.json", header + line(first, false, 1.04, 1.04) + line(second, true, 1.00, 1.00));
    const Outcome changed = fourfold_command({"tables", "diff", folder / "one.json", folder / "four.json"});
    EXPECT_TRUE(says(changed, "1 changed"));
    EXPECT_TRUE(says(changed, "(0.0 % agree)"));
}

TEST_F(Tuned, TablesReduceTheListOfVariants) {
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    const Outcome curve = fourfold_command({"tables", "reduce", folder / "t.json"});
    ASSERT_TRUE(exits_with(0, curve)) << curve.err;
    EXPECT_TRUE(says(curve, "4 of 4")) << curve.out;
    EXPECT_TRUE(exits_with(2, fourfold_command({"tables", "reduce", folder / "t.json", "--out", folder / "l.json"}), {"--list"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tables", "reduce", folder / "t.json", "--list", folder / "t.json", "--out", folder / "l.json"}), {"t.json"}));
    write_bytes(folder / "bad.json", "{\"budget\":{},\"targets\":{},\"stages\":{\"pad\":7}}");
    EXPECT_TRUE(exits_with(2, fourfold_command({"tables", "reduce", folder / "t.json", "--list", folder / "bad.json", "--out", folder / "l.json"}), {"bad.json"}));
    const Outcome reduced = fourfold_command({"tables", "reduce", folder / "t.json", "--list", FOURFOLD_VARIANTS_JSON, "--out", folder / "l.json"});
    ASSERT_TRUE(exits_with(0, reduced)) << reduced.err;
    const nlohmann::json full = nlohmann::json::parse(read_bytes(FOURFOLD_VARIANTS_JSON)), list = nlohmann::json::parse(read_bytes(folder / "l.json"));
    EXPECT_EQ(list["targets"], full["targets"]);
    std::vector<std::string> removed;
    for (const VariantInfo &v : list_variants()) {
        const nlohmann::json &kept = list["stages"][v.stage][v.isa];
        const bool stays = std::find(kept.begin(), kept.end(), v.parameters) != kept.end();
        EXPECT_TRUE(stays || v.isa == machine().isa) << v.name << ": other ISA levels stay as they are";
        if (!stays) {
            removed.push_back(v.name);
        }
    }
    for (const auto &[stage, entry] : full["stages"].items()) {
        for (const char *isa : {"avx512", "avx2", "generic"}) {
            EXPECT_FALSE(list["stages"][stage][isa].empty()) << stage << " " << isa;
        }
    }
    EXPECT_TRUE(machine().isa == "generic" || !removed.empty());
    // Without them every tuned problem has its choice, and every algorithm what it had.
    for (const std::string &line : lines_of(read_bytes(folder / "t.json"))) {
        const nlohmann::json r = nlohmann::json::parse(line);
        if (!r.contains("choice")) {
            continue;
        }
        PlanOptions options;
        options.threads = 1;
        options.blocked = removed;
        for (const char *operation : {"fwd", "bwd-data", "bwd-filters"}) {
            for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
                Conv2dProblem p = *Conv2dProblem::parse(r["problem"].get<std::string>());
                p.operation = Conv2dProblem::parse(std::string(operation) + " b1 ic1 i1 oc1 f1")->operation;
                options.algorithm = algorithm;
                PlanOptions all = options;
                all.blocked.clear();
                EXPECT_EQ(Plan::create(p, options).ok(), Plan::create(p, all).ok()) << p.to_string() << " by " << to_string(algorithm) << ": " << Plan::create(p, options).status().message();
            }
        }
    }
}

TEST(Environment, ChoiceBlockAndCapture) {
    const TemporaryFolder folder;
    const Arguments explain = {"explain", "--problem", "b2 ic20 i15x18 oc24 f3 p1 relu"};
    {
        const Environment choice("FOURFOLD_CHOICE", "im2col");
        const Outcome outcome = fourfold_command(explain);
        ASSERT_TRUE(exits_with(0, outcome));
        EXPECT_TRUE(says(outcome, "environment: named by FOURFOLD_CHOICE")) << outcome.out;
    }
    {
        const Environment choice("FOURFOLD_CHOICE", "abacus");
        EXPECT_TRUE(exits_with(2, fourfold_command(explain), {"abacus"}));
    }
    {
        // Where it cannot do the problem, the next tier decides.
        const Environment choice("FOURFOLD_CHOICE", "winograd");
        EXPECT_TRUE(exits_with(0, fourfold_command({"explain", "--problem", "b2 ic20 i15x18 oc24 f5 p1"})));
    }
    {
        const Environment block("FOURFOLD_BLOCK", "winograd,fft,fft_tiled,im2col");
        const Outcome outcome = fourfold_command(explain);
        EXPECT_TRUE(says(outcome, "choice     direct")) << outcome.out;
        EXPECT_TRUE(says(outcome, "on the block-list")) << outcome.out;
    }
    {
        const Environment capture("FOURFOLD_CAPTURE", folder / "captured.csv");
        for (int i = 0; i < 2; i++) {
            ASSERT_TRUE(exits_with(0, fourfold_command(explain)));
        }
        ASSERT_TRUE(exits_with(0, fourfold_command({"explain", "--problem", "bwd-data b1 ic4 i12 oc4 f3 p1"})));
    }
    const std::vector<std::string> lines = lines_of(read_bytes(folder / "captured.csv"));
    EXPECT_EQ(lines.size(), 3u) << "each problem once a process";
    const Outcome tune = fourfold_command({"tune", "--shapes", folder / "captured.csv", "--out", folder / "t.json", "--trials", "1"});
    ASSERT_TRUE(exits_with(0, tune)) << tune.err;
    EXPECT_TRUE(says(tune, "2 problems to tune")) << tune.out;
}

TEST(Against, MarksWhatDiffers) {
    const TemporaryFolder folder;
    const Arguments compare = {"compare", "--problem", "b1 ic4 i16 oc8 f3 p1", "--sweep", "none", "--algorithms", "direct,im2col", "--threads", "1", "--quick", "--out", folder / "out"};
    ASSERT_TRUE(exits_with(0, fourfold_command(compare)));
    // The same results, but direct faster than any machine, however busy, and im2col as it is.
    const std::vector<std::string> lines = lines_of(read_bytes(folder / "out/results.csv"));
    ASSERT_EQ(lines.size(), 3u);
    std::string before = lines[0];
    before += '\n';
    for (size_t i = 1; i < lines.size(); i++) {
        const size_t comma = lines[i].rfind(',');
        std::stringstream samples(lines[i].substr(comma + 1));
        before += lines[i].substr(0, comma + 1);
        const char *separator = "";
        for (double ms = 0; samples >> ms; separator = " ") {
            before += separator;
            before += std::to_string(lines[i].find(",direct,") != std::string::npos ? 1e-5 : ms);
        }
        before += '\n';
    }
    write_bytes(folder / "before.csv", before);
    Arguments against = compare;
    against.insert(against.end(), {"--against", folder / "before.csv"});
    const Outcome outcome = fourfold_command(against);
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    const std::vector<std::string> marked = lines_of(outcome.out);
    EXPECT_TRUE(std::any_of(marked.begin(), marked.end(), [](const std::string &line) { return line.find("  direct  ") != std::string::npos && line.size() > 5 && line.substr(line.size() - 5) == "worse"; })) << outcome.out;
    write_bytes(folder / "bad.csv", "problem,algorithm,outcome\n1,2,3\n");
    against.back() = folder / "bad.csv";
    EXPECT_TRUE(exits_with(2, fourfold_command(against), {"samples_ms"}));
    against.back() = folder / "absent.csv";
    EXPECT_TRUE(exits_with(2, fourfold_command(against), {"absent.csv"}));
}

}  // namespace
}  // namespace fourfold::test
