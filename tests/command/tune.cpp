// `fourfold tune`, `tables`, `report`, `compare --against`, FOURFOLD_CAPTURE and the other variables: as a user has them.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "files.h"
#include "fourfold/fourfold.h"
#include "records.h"
#include "support/on_machine.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

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

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();
constexpr const char *kShapes = "one,b1 ic4 i12 oc8 f3 p1\ntwo,b1 ic1 i40 oc1 f7\nthree,b2 ic8 i10 oc8 f1\nthree_again,b2 ic8 i10 oc8 f1 relu\ntwo_grouped,b1 ic6 i9 oc6 f3 p1 g6\n";
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
    size_t journal_lines() const {
        const std::string text = read_bytes(folder / "t.json.journal");
        return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
    }
    /// How many samples and failures the journal holds of each problem's choices. Every line is whole, but for the last one.
    std::map<std::pair<std::string, std::string>, int> journal() const {
        std::map<std::pair<std::string, std::string>, int> counts;
        std::string text = read_bytes(folder / "t.json.journal");
        text.erase(text.rfind('\n') + 1);
        for (const std::string &line : lines_of(text)) {
            const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
            EXPECT_TRUE(object.is_object()) << line;
            if (object.is_object() && object.contains("choice")) {
                EXPECT_TRUE(object.contains("key") && object.contains("contents") && (object.contains("s") || object.contains("failure"))) << line;
                counts[{object["key"], object["choice"]}]++;
            }
        }
        return counts;
    }
    /// Every line of the table is a record that this build can use, and no problem has two winners.
    void expect_sound_table() const {
        if (!std::filesystem::exists(folder / "t.json")) {
            return;
        }
        unload_tables(false);
        const Result<TableInfo> info = load_table(folder / "t.json");
        ASSERT_TRUE(info.ok()) << info.status().message();
        EXPECT_EQ(info->unreadable + info->stale + info->foreign + info->torn, 0) << info->summary();
        const std::multiset<std::string> problems = tuned(folder / "t.json");
        EXPECT_EQ(std::set<std::string>(problems.begin(), problems.end()).size(), problems.size());
    }
    /// What was measured before is in the table, with no sample less.
    void expect_kept(const std::map<std::pair<std::string, std::string>, int> &counts) const {
        std::map<std::pair<std::string, std::string>, int> samples;
        const Result<std::vector<Record>> records = cli::read_records(folder / "t.json");
        ASSERT_TRUE(records.ok());
        for (const Record &r : *records) {
            samples[{cli::record_key(r), r.choice}] = r.failure.empty() ? r.samples : std::numeric_limits<int>::max();
        }
        for (const auto &[place, count] : counts) {
            EXPECT_GE(samples[place], count) << place.first << ": " << place.second;
        }
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
#if defined(__x86_64__) || defined(__aarch64__)
        EXPECT_GT(r.value("clock_mhz", 0), 100);
#endif
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
    for (const char *word : {"A/A floor of 4 problems", "geomean", "p5", "worst", "time-weighted", "held out by family: 3 families", "unmeasured", "fixed order", "single best", "three"}) {
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
    // A torn tail goes with the next write, and costs its line only.
    write_bytes(folder / "t.json", before.substr(0, before.rfind("\"role\":\"winner\"") + 10));
    const Outcome torn = fourfold_command(tune({"--resume"}));
    ASSERT_TRUE(exits_with(0, torn)) << torn.err;
    unload_tables(false);
    const Result<TableInfo> info = load_table(folder / "t.json");
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->unreadable, 0);
    EXPECT_FALSE(info->torn);
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems));
}

TEST_F(Tuned, KilledTwentyTimesItLosesNothingButWhatWasUnderWay) {
    Random random(test_seed());
    std::map<std::pair<std::string, std::string>, int> before;
    for (int i = 0; i < 20; i++) {
        const size_t lines = journal_lines() + static_cast<size_t>(random.between(0, 15));
        const Outcome outcome = signalled(tune({"--resume"}), SIGKILL, [&](const std::string &) { return journal_lines() >= lines; });
        ASSERT_EQ(outcome.exit_code, 128 + SIGKILL) << outcome.err << seed_note(test_seed());
        expect_sound_table();
        const auto now = journal();
        for (const auto &[place, count] : before) {
            EXPECT_GE(now.count(place) != 0 ? now.at(place) : 0, count) << "nothing that was written goes: " << place.second;
        }
        before = now;
    }
    ASSERT_TRUE(exits_with(0, fourfold_command(tune({"--resume"}))));
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems)) << "each problem once: none lost, none done twice";
    expect_sound_table();
    expect_kept(before);
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"}));
}

TEST_F(Tuned, AnInterruptEndsItCleanly) {
    for (const int signal : {SIGINT, SIGTERM}) {
        // In the first problem, and in a later one.
        for (const size_t winners : {0, 1}) {
            std::filesystem::remove(folder / "t.json");
            const Outcome outcome = signalled(tune(), signal, [&](const std::string &) { return winners == 0 ? journal_lines() > 5 : std::filesystem::exists(folder / "t.json") && tuned(folder / "t.json").size() >= winners; });
            ASSERT_TRUE(exits_with(1, outcome, {"interrupted", "--resume"})) << outcome.out;
            expect_sound_table();
            const auto before = journal();
            EXPECT_FALSE(before.empty());
            EXPECT_EQ(read_bytes(folder / "t.json.journal").find("failure"), std::string::npos) << "what was interrupted has not failed";
            const Outcome resumed = fourfold_command(tune({"--resume"}));
            ASSERT_TRUE(exits_with(0, resumed)) << resumed.err;
            EXPECT_FALSE(says(resumed, "dropped")) << resumed.out;
            EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems));
            expect_sound_table();
            expect_kept(before);
            EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"}));
        }
    }
}

TEST_F(Tuned, TwoDoNotWriteOneTable) {
    Result<cli::FileLock> lock = cli::FileLock::take(folder / "t.json.lock", "the test's table");
    ASSERT_TRUE(lock.ok()) << lock.status().message();
    EXPECT_TRUE(exits_with(2, fourfold_command(tune()), {folder / "t.json' is being written by another process", "t.json.lock"}));
    EXPECT_FALSE(std::filesystem::exists(folder / "t.json"));
    {
        const cli::FileLock given_back = std::move(*lock);
    }
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"}));
}

TEST_F(Tuned, SaysHowSoonItFoundTheGain) {
    // A table whose winner is far from the fastest, so that there is something to gain.
    unload_tables(false);
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic16 i24 oc16 f3 p1");
    PlanOptions options;
    options.threads = 1;
    const Result<std::vector<Candidate>> candidates = list_choices(p, options);
    ASSERT_TRUE(candidates.ok());
    const auto slow = std::find_if(candidates->begin(), candidates->end(), [](const Candidate &c) { return c.algorithm == Algorithm::kFft; });
    ASSERT_NE(slow, candidates->end());
    Record r = cli::make_record(p, options, slow->choice);
    r.winner = true;
    r.seconds_min = r.seconds_median = r.seconds_predicted = 1e-3;
    r.samples = 1;
    write_bytes(folder / "t.json", cli::header_line() + cli::record_line(r));
    const Arguments command = {"tune", "--problem", p.to_string(), "--out", folder / "t.json", "--trials", "4", "--hopeless", "1e6"};
    const Outcome outcome = fourfold_command(command);
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    EXPECT_TRUE(says(outcome, "of that gain, in logarithms, had been found: ")) << outcome.out;
    EXPECT_TRUE(says(outcome, ", 100 % in 0:") && says(outcome, "(a quarter of the time, half, three quarters, all); 100 % in the first 10 minutes")) << outcome.out;
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"}));
    // A run that goes on has to beat what the first one had to, not what would be chosen by now.
    std::filesystem::remove(folder / "t.json");
    ASSERT_TRUE(cli::Journal(folder / "t.json.journal").begun(cli::record_key(r), slow->choice, kNoLimit).ok());
    Arguments resume = command;
    resume.push_back("--resume");
    const Outcome resumed = fourfold_command(resume);
    ASSERT_TRUE(exits_with(0, resumed)) << resumed.err;
    EXPECT_TRUE(says(resumed, "of that gain, in logarithms")) << resumed.out;
    const Result<std::vector<Record>> records = cli::read_records(folder / "t.json");
    ASSERT_TRUE(records.ok());
    EXPECT_TRUE(std::any_of(records->begin(), records->end(), [&](const Record &one) { return one.choice == slow->choice && one.failure.empty(); })) << "it was measured";
}

TEST_F(Tuned, WhatIsChosenIsMeasuredWhereItIsOnNoList) {
    const Conv2dProblem p = parse_problem("b1 ic1 i150 oc1 f9");
    PlanOptions options;
    options.threads = 1;
    const Result<std::vector<Candidate>> candidates = list_choices(p, options);
    ASSERT_TRUE(candidates.ok());
    // Tiles of other sizes than are considered, as a relative's record may name.
    std::string unlisted;
    const std::string start = "fft_tiled lane_columns_" + machine().isa + "_n";
    for (const int n : {24, 72}) {
        for (const int rows : {24, 72}) {
            for (const int columns : {24, 72}) {
                const std::string choice = start + std::to_string(n) + "_one rows=" + std::to_string(rows) + " columns=" + std::to_string(columns);
                options.choice = choice;
                const bool listed = std::any_of(candidates->begin(), candidates->end(), [&](const Candidate &c) { return c.choice == choice; });
                if (const Result<Plan> plan = Plan::create(p, options); plan && plan->choice() == choice && !listed) {
                    unlisted = choice;
                }
            }
        }
    }
    ASSERT_FALSE(unlisted.empty());
    options.choice.clear();
    Record r = cli::make_record(p, options, unlisted);
    r.winner = true;
    r.seconds_min = r.seconds_median = r.seconds_predicted = 1e-3;
    r.samples = 1;
    write_bytes(folder / "t.json", cli::header_line() + cli::record_line(r));
    const Outcome outcome = fourfold_command({"tune", "--problem", p.to_string(), "--out", folder / "t.json", "--trials", "3"});
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    const Result<std::vector<Record>> records = cli::read_records(folder / "t.json");
    ASSERT_TRUE(records.ok());
    EXPECT_TRUE(std::any_of(records->begin(), records->end(), [&](const Record &one) { return one.choice == unlisted && one.failure.empty() && one.samples > 1; })) << unlisted << "\n" << outcome.out;
}

/// One problem whose plans need different workspaces, and a limit that some of them keep.
class Limited : public Tuned {
protected:
    void SetUp() override {
        unload_tables(true);  // as the command begins
        all = choices(kNoLimit);
        // The least limit that sorts them into those beyond it, those that are as they were and those that are other plans, none of them
        // what would be chosen.
        std::set<size_t> limits;
        for (const Candidate &c : all) {
            limits.insert(c.workspace_bytes);
        }
        for (size_t bytes : limits) {
            const std::vector<Candidate> within = choices(bytes);
            const auto keeps = [&](const Candidate &c) { return std::find_if(within.begin(), within.end(), [&](const Candidate &w) { return w.choice == c.choice; }); };
            const std::string chosen = likeliest(bytes);
            const auto unlikely = [&](const Candidate &c) { return c.choice != chosen && c.choice != likeliest(kNoLimit); };
            const auto too_large = std::find_if(all.begin(), all.end(), [&](const Candidate &c) { return keeps(c) == within.end(); });
            const auto same = std::find_if(all.rbegin(), all.rend(), [&](const Candidate &c) { return keeps(c) != within.end() && keeps(c)->workspace_bytes == c.workspace_bytes && unlikely(c); });
            const auto smaller = std::find_if(all.begin(), all.end(), [&](const Candidate &c) { return keeps(c) != within.end() && keeps(c)->workspace_bytes != c.workspace_bytes && unlikely(c); });
            if (too_large != all.end() && same != all.rend() && smaller != all.end()) {
                limit = bytes;
                large = *too_large;
                small = *same;
                shrinks = *smaller;
                shrunk = *keeps(*smaller);
                break;
            }
        }
        ASSERT_NE(limit, 0u) << all.size();
    }
    static PlanOptions options(size_t bytes) {
        PlanOptions o;
        o.threads = 1;
        o.choose_for_threads = true;
        o.workspace_limit = bytes;
        return o;
    }
    std::vector<Candidate> choices(size_t bytes) const {
        const Result<std::vector<Candidate>> list = list_choices(problem, options(bytes));
        EXPECT_TRUE(list.ok());
        return list.ok() ? *list : std::vector<Candidate>();
    }
    std::string likeliest(size_t bytes) const {
        return Plan::create(problem, options(bytes))->choice();
    }
    Record record(const Candidate &c, double seconds, bool winner) const {
        Record r = cli::make_record(problem, options(kNoLimit), c.choice);
        r.seconds_min = r.seconds_median = r.seconds_predicted = seconds;
        r.samples = 1;
        r.winner = winner;
        r.workspace_bytes = c.workspace_bytes;
        return r;
    }
    std::string key() const {
        return cli::record_key(record(large, 1.0, false));
    }
    /// Tries the incumbent alone.
    Outcome resume(size_t bytes) const {
        Arguments arguments = {"tune", "--resume", "--problem", problem.to_string(), "--out", folder / "t.json", "--trials", "1"};
        if (bytes != kNoLimit) {
            arguments.insert(arguments.end(), {"--workspace-max", std::to_string(bytes)});
        }
        return fourfold_command(arguments);
    }
    std::vector<Record> records() const {
        const Result<std::vector<Record>> list = cli::read_records(folder / "t.json");
        EXPECT_TRUE(list.ok());
        return list.ok() ? *list : std::vector<Record>();
    }
    /// The incumbent of a tune that goes on after `before` was noted within another limit.
    std::string incumbent_after(const Candidate &before, size_t then, size_t now) const {
        std::filesystem::remove(folder / "t.json");
        std::filesystem::remove(folder / "t.json.journal");
        EXPECT_TRUE(cli::Journal(folder / "t.json.journal").begun(key(), before.choice, then).ok());
        const Outcome outcome = resume(now);
        EXPECT_TRUE(exits_with(0, outcome)) << outcome.err;
        const std::vector<Record> tried = records();
        EXPECT_EQ(tried.size(), 1u) << outcome.out;
        EXPECT_LE(tried.at(0).workspace_bytes, now);
        return tried.at(0).choice;
    }
    const Conv2dProblem problem = *Conv2dProblem::parse("b4 ic16 i24 oc16 f3 p1");
    std::vector<Candidate> all;
    size_t limit = 0;
    Candidate large, small;     ///< beyond the limit, and the same plan within it
    Candidate shrinks, shrunk;  ///< one choice without the limit and within it
};

TEST_F(Limited, AnIncumbentBeyondTheLimitGivesWayOneWithinItStays) {
    EXPECT_EQ(incumbent_after(large, kNoLimit, limit), likeliest(limit)) << "excluded";
    EXPECT_EQ(incumbent_after(shrinks, kNoLimit, limit), likeliest(limit)) << "another plan within the limit";
    EXPECT_EQ(incumbent_after(small, kNoLimit, limit), small.choice) << "the same plan";
    EXPECT_EQ(incumbent_after(small, limit, limit), small.choice);
    EXPECT_EQ(incumbent_after(shrunk, limit, limit), shrunk.choice);
    EXPECT_EQ(incumbent_after(large, kNoLimit, kNoLimit), large.choice);
    EXPECT_EQ(incumbent_after(small, limit, kNoLimit), likeliest(kNoLimit)) << "what is chosen within a limit is not what is chosen without";
}

TEST_F(Limited, AWinnerBeyondTheLimitIsTunedAgainByAResumedTune) {
    const std::string before = cli::header_line() + cli::record_line(record(large, 1e-3, true)) + cli::record_line(record(small, 2e-3, false));
    write_bytes(folder / "t.json", before);
    EXPECT_TRUE(says(resume(kNoLimit), "0 problems to tune, 1 tuned already"));
    EXPECT_TRUE(says(resume(large.workspace_bytes), "0 problems to tune, 1 tuned already"));
    EXPECT_EQ(read_bytes(folder / "t.json"), before);
    const Outcome limited = resume(limit);
    ASSERT_TRUE(exits_with(0, limited)) << limited.err;
    EXPECT_TRUE(says(limited, "1 problems to tune\n")) << limited.out;
    ASSERT_EQ(records().size(), 3u);
    EXPECT_EQ(records()[2].choice, small.choice) << "the fastest record that fits is what there was to beat";
    EXPECT_TRUE(records()[2].winner);
    EXPECT_TRUE(says(resume(limit), "0 problems to tune, 1 tuned already")) << "once";
    // What won within the limit decides there, and nowhere else.
    EXPECT_TRUE(says(resume(kNoLimit), "0 problems to tune, 1 tuned already"));
    EXPECT_EQ(records()[2].workspace_limit, limit);
    ASSERT_TRUE(load_table(folder / "t.json").ok());
    EXPECT_EQ(likeliest(limit), small.choice);
    EXPECT_EQ(likeliest(kNoLimit), large.choice);
    unload_tables(true);
    // A table of records within a limit has none to verify without one.
    write_bytes(folder / "narrow.json", cli::header_line() + cli::record_line(records()[2]));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--verify-only", "--problem", problem.to_string(), "--out", folder / "narrow.json"}), {"narrow.json", "no winner", "workspace limit"}));
    // Measured again within the limit, a winner beyond it is none.
    write_bytes(folder / "t.json", before);
    const Outcome verified = fourfold_command({"tune", "--verify-only", "--problem", problem.to_string(), "--out", folder / "t.json", "--workspace-max", std::to_string(limit)});
    EXPECT_TRUE(exits_with(1, verified, {"tune again"}));
    EXPECT_TRUE(says(verified, "1 unusable") && says(verified, "refused")) << verified.out;
}

TEST_F(Limited, SamplesOfAnotherPlanOfTheChoiceDoNotCount) {
    cli::Journal journal(folder / "t.json.journal");
    ASSERT_TRUE(journal.begun(key(), shrunk.choice, limit).ok());
    for (int i = 0; i < 40; i++) {
        ASSERT_TRUE(journal.sample(key(), shrinks.choice, shrinks.workspace_bytes, 1e-9).ok());
    }
    const Outcome outcome = resume(limit);
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    ASSERT_EQ(records().size(), 1u);
    EXPECT_EQ(records()[0].choice, shrunk.choice);
    EXPECT_EQ(records()[0].workspace_bytes, shrunk.workspace_bytes);
    EXPECT_GT(records()[0].seconds_min, 2e-9) << "the samples were of the plan that has more memory";
}

/// What a budget means for one problem is the search's own test, on a clock of its own.
TEST_F(Tuned, ABudgetLeavesWhatItDoesNotReachForAnotherRun) {
    const Outcome none = fourfold_command(tune({"--budget", "0.000001"}));
    ASSERT_TRUE(exits_with(0, none)) << none.err;
    EXPECT_TRUE(says(none, "0 of 4 problems") && says(none, "the budget is spent, continue with --resume")) << none.out;
    // Less than the samples of all take, two milliseconds each: some are cut short or left out, and that is said.
    const Outcome some = fourfold_command(tune({"--budget", "0.1s", "--resume"}));
    ASSERT_TRUE(exits_with(0, some)) << some.err;
    expect_sound_table();
    const size_t done = tuned(folder / "t.json").size();
    EXPECT_EQ(done == 4, !says(some, "the budget is spent")) << some.out;
    EXPECT_TRUE(done < 4 || says(some, "cut short by the budget")) << some.out;
    const Outcome rest = fourfold_command(tune({"--budget", "1h", "--resume"}));
    ASSERT_TRUE(exits_with(0, rest)) << rest.err;
    EXPECT_TRUE(says(rest, std::to_string(4 - done) + " problems to tune")) << rest.out;
    EXPECT_EQ(tuned(folder / "t.json"), all_of(kProblems));
    EXPECT_TRUE(exits_with(2, fourfold_command(tune({"--budget", "soon"})), {"soon"}));
}

TEST_F(Tuned, SamplesOfOtherCodeAreNotResumed) {
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic4 i12 oc8 f3 p1");
    PlanOptions one_thread;
    one_thread.threads = 1;
    std::string text = cli::header_line();
    const Result<std::vector<Candidate>> candidates = list_choices(p, one_thread);
    ASSERT_TRUE(candidates.ok());
    for (const Candidate &c : *candidates) {
        for (int i = 0; i < 40; i++) {
            text += nlohmann::json({{"key", cli::record_key(cli::make_record(p, one_thread, ""))}, {"choice", c.choice}, {"contents", "0123456789abcdef"}, {"s", 1e-9}}).dump() + "\n";
        }
    }
    write_bytes(folder / "t.json.journal", text);
    const Outcome outcome = fourfold_command(tune({"--resume"}));
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    EXPECT_TRUE(says(outcome, std::to_string(lines_of(text).size() - 1) + " lines dropped")) << outcome.out;
    const Result<std::vector<Record>> records = cli::read_records(folder / "t.json");
    ASSERT_TRUE(records.ok());
    for (const Record &r : *records) {
        EXPECT_TRUE(!r.failure.empty() || r.seconds_min > 2e-9) << r.choice;
    }
}

/// A table of one problem: the plan that is chosen for it, and another one.
class Verified : public Tuned {
protected:
    Record record(Algorithm algorithm, bool winner) const {
        PlanOptions options;
        options.threads = 1;
        PlanOptions named = options;
        named.algorithm = algorithm;
        const Conv2dProblem p = *Conv2dProblem::parse(kProblem);
        Record r = cli::make_record(p, options, Plan::create(p, named)->choice());
        r.winner = winner;
        r.seconds_min = r.seconds_median = winner ? 1e-3 : 2e-3;
        r.seconds_predicted = 1e-3;
        r.samples = 10;
        return r;
    }
    Outcome verify(const std::vector<Record> &records) const {
        std::string text = cli::header_line();
        for (const Record &r : records) {
            text += cli::record_line(r);
        }
        write_bytes(folder / "t.json", text);
        const Outcome outcome = fourfold_command({"tune", "--verify-only", "--problem", kProblem, "--out", folder / "t.json"});
        EXPECT_EQ(read_bytes(folder / "t.json"), text) << "nothing is written";
        return outcome;
    }
    static constexpr const char *kProblem = "b1 ic8 i9 oc16 f3 p1";
};

TEST_F(Verified, AHostileTableIsNoneOfThisBuild) {
    const Record direct = record(Algorithm::kDirect, true), im2col = record(Algorithm::kIm2col, false);
    EXPECT_TRUE(says(verify({direct, im2col}), "1 records verified")) << verify({direct, im2col}).out;
    Record unknown = direct;
    unknown.choice = "abacus " + unknown.choice.substr(unknown.choice.find(' ') + 1);
    const Outcome winner = verify({unknown, im2col});
    EXPECT_TRUE(exits_with(1, winner, {"tune again"}));
    EXPECT_TRUE(says(winner, "0 records verified") && says(winner, "1 stale")) << winner.out;
    unknown.winner = false;
    const Outcome rival = verify({direct, unknown});
    EXPECT_TRUE(says(rival, "1 records verified") && says(rival, "0 unusable; 0 stale")) << rival.out;
    Record impossible = direct;
    impossible.choice += " rows=99999999";
    EXPECT_TRUE(says(verify({impossible, im2col}), "1 unusable")) << "it names what is there, but no plan of this problem";
}

TEST_F(Verified, RecordsOfOtherCodeAreToldApart) {
    Record stale = record(Algorithm::kDirect, true);
    ASSERT_FALSE(stale.variants.empty());
    stale.variants[0].second = "0123456789abcdef";
    const Outcome outcome = verify({stale, record(Algorithm::kIm2col, false)});
    EXPECT_TRUE(exits_with(1, outcome, {"tune again"}));
    EXPECT_TRUE(says(outcome, "0 records verified: 0 slower") && says(outcome, "0 unusable; 1 stale")) << outcome.out;
}

TEST_F(Verified, AnInterruptIsNoFailureOfARecord) {
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    // In the midst of the second problem's samples.
    int looks = 0;
    const Outcome outcome = signalled(tune({"--verify-only"}), SIGINT, [&](const std::string &out) { return std::count(out.begin(), out.end(), '\n') >= 2 && ++looks > 20; });
    ASSERT_TRUE(exits_with(1, outcome, {"interrupted"})) << outcome.out;
    EXPECT_TRUE(says(outcome, "0 unusable")) << outcome.out;
    EXPECT_FALSE(says(outcome, "stopped")) << outcome.out;
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

/// The line with another value of a key.
std::string with_value(const std::string &line, const char *key, const nlohmann::ordered_json &value) {
    nlohmann::ordered_json object = nlohmann::ordered_json::parse(line);
    object[key] = value;
    return object.dump() + "\n";
}

TEST_F(Tuned, PredictionsAreMadeAnewForTheMachineThatMeasured) {
    // The cost model asks for the size of L2 here: 4 MB of sums.
    unload_tables(false);
    const Conv2dProblem p = *Conv2dProblem::parse("b8 ic64 i32 oc64 f5 p2");
    PlanOptions options;
    options.threads = 1;
    const Result<std::vector<Candidate>> candidates = list_choices(p, options);
    ASSERT_TRUE(candidates.ok());
    std::string table = cli::header_line(), old = table, other_l2 = table;
    for (const Candidate &c : *candidates) {
        Record r = cli::make_record(p, options, c.choice);
        r.seconds_min = r.seconds_median = 1e-3;
        r.samples = 1;
        r.seconds_predicted = c.predicted_seconds;
        const std::string line = cli::record_line(r), there = nlohmann::json::parse(line)["machine"];
        table += line;
        old += with_value(line, "ms_predicted", 1.5);
        const size_t l2 = there.find(", "), l3 = there.rfind(", ");
        ASSERT_LT(l2, l3) << there;
        other_l2 += with_value(line, "machine", there.substr(0, l2) + ", 64 KiB L2" + there.substr(l3));
    }
    // What it cannot predict stays as it is, byte by byte: other code, another ISA level, a GPU, later versions' lines, a torn tail.
    const std::string line = lines_of(old)[1];
    std::string rest = with_value(line, "choice", "gone") + with_value(line, "isa", machine().isa == "generic" ? "avx2" : "generic") + with_value(line, "machine", "NVIDIA H200; 13.0; 140 GiB of memory; 132 compute units");
    rest += "{\"later\":true}\n" + line.substr(0, 40);
    const auto predict = [&](const std::string &text) {
        write_bytes(folder / "t.json", text);
        const Outcome outcome = fourfold_command({"tables", "predict", folder / "t.json", "--out", folder / "p.json"});
        EXPECT_TRUE(exits_with(0, outcome)) << outcome.err;
        EXPECT_EQ(read_bytes(folder / "t.json"), text);
        return outcome;
    };
    const std::string count = std::to_string(candidates->size());
    const Outcome again = predict(old + rest);
    EXPECT_TRUE(says(again, count + " predictions, " + count + " of them changed; left as they were: 2 of other ISA levels than " + machine().isa + " or of unknown machines, 1 stale")) << again.out;
    EXPECT_EQ(read_bytes(folder / "p.json"), table + rest);
    EXPECT_TRUE(says(predict(table), count + " predictions, 0 of them changed"));
    EXPECT_FALSE(says(predict(other_l2), ", 0 of them changed")) << "a machine with 64 KiB of L2";
    // In place.
    write_bytes(folder / "t.json", old);
    EXPECT_TRUE(exits_with(0, fourfold_command({"tables", "predict", folder / "t.json", "--out", folder / "t.json"})));
    EXPECT_EQ(read_bytes(folder / "t.json"), table);
    write_bytes(folder / "no.json", "{\"format\":\"another\"}\n");
    EXPECT_TRUE(exits_with(2, fourfold_command({"tables", "predict", folder / "no.json", "--out", folder / "p.json"}), {"no.json"}));
    EXPECT_TRUE(exits_with(1, fourfold_command({"tables", "predict", folder / "t.json", "--out", folder / "no/p.json"}), {"no/p.json"}));
}

TEST_F(Tuned, ReportPlansAsOnTheMachineThatMeasured) {
    unload_tables(false);
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic8 i9 oc16 f3 p1");
    PlanOptions options;
    options.threads = 1;
    PlanOptions named = options;
    named.algorithm = Algorithm::kIm2col;
    Record r = cli::make_record(p, options, Plan::create(p, named)->choice());
    r.winner = true;
    r.seconds_min = r.seconds_median = r.seconds_predicted = 1e-3;
    r.samples = 1;
    r.microarchitecture = "znver9";
    const std::string text = cli::header_line() + cli::record_line(r);
    write_bytes(folder / "t.json", text);
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", folder / "t.json"}), {"no records of this machine"}));
    const Outcome there = fourfold_command({"report", "--table", folder / "t.json", "--as-measured"});
    ASSERT_TRUE(exits_with(0, there)) << there.err;
    EXPECT_TRUE(says(there, "1 problems")) << there.out;
    // A level that does not run here, and nobody's caches.
    write_bytes(folder / "t.json", with_value(lines_of(text)[1], "isa", machine().isa == "avx2" ? "generic" : "avx2").insert(0, cli::header_line()));
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", folder / "t.json", "--as-measured"}), {"measured with", "FOURFOLD_ISA="}));
    write_bytes(folder / "t.json", with_value(lines_of(text)[1], "machine", "somewhere").insert(0, cli::header_line()));
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", folder / "t.json", "--as-measured"}), {"t.json", "caches"}));
}

TEST_F(Tuned, ReportPlansForTheCachesOfTheMachineThatMeasured) {
    unload_tables(false);
    PlanOptions options;
    options.threads = 1;
    options.choose_for_threads = true;
    // Two machines that differ by their L2 alone, and a problem for which that decides.
    constexpr size_t kL1 = size_t{32} << 10, kL3 = size_t{16} << 20;
    const std::vector<size_t> kilobytes = {128, 4096};
    Conv2dProblem p;
    std::vector<std::string> chosen;
    for (const char *text : {"b8 ic64 i32 oc64 f5 p2", "b4 ic256 i28 oc256 f3 p1", "b1 ic64 i56 oc64 f3 p1", "b1 ic512 i14 oc512 f3 p1", "b8 ic128 i28 oc128 f5 p2", "b8 ic32 i64 oc32 f7 p3", "b4 ic256 i14 oc512 f1"}) {
        p = *Conv2dProblem::parse(text);
        chosen.clear();
        for (size_t l2 : kilobytes) {
            const OnMachine there(kL1, l2 << 10, kL3);
            chosen.push_back(Plan::create(p, options)->choice());
        }
        if (chosen[0] != chosen[1]) {
            break;
        }
    }
    ASSERT_NE(chosen[0], chosen[1]);
    for (size_t which : {0, 1}) {
        std::string table = cli::header_line();
        for (size_t i : {0, 1}) {
            Record r = cli::make_record(p, options, chosen[i]);
            r.microarchitecture = "znver9";
            r.winner = i == 0;
            r.seconds_min = r.seconds_median = r.seconds_predicted = i == 0 ? 1e-3 : 1.25e-3;
            r.samples = 10;
            table += with_value(cli::record_line(r), "machine", "A processor; 32 KiB L1, " + std::to_string(kilobytes[which]) + " KiB L2, 16384 KiB L3; 2 threads");
        }
        write_bytes(folder / "t.json", table);
        const Outcome outcome = fourfold_command({"report", "--table", folder / "t.json", "--as-measured"});
        ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
        EXPECT_TRUE(says(outcome, which == 0 ? "of 1 problems 1 have the same choice" : "of 1 problems 0 have the same choice, and the table is 1.250 times as fast")) << kilobytes[which] << " KiB of L2, " << p.to_string() << ": " << chosen[which] << "\n"
                                                                                                                                                                                << outcome.out;
    }
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

TEST_F(Tuned, SpectralProductsBesideConvolutions) {
    const std::string out = folder / "t.json", product = "spectral b3 ic4 i8x5 oc6 bcij";
    write_bytes(folder / "shapes.csv", "one,b1 ic4 i12 oc8 f3 p1\nproduct," + product + "\nlast,\"spectral b3 ic4 i8x5 oc6\"\n");
    const Outcome outcome = fourfold_command(tune({"--operation", "fwd,bwd-data,bwd-filters"}));
    ASSERT_TRUE(exits_with(0, outcome)) << outcome.err;
    EXPECT_TRUE(says(outcome, "9 problems to tune")) << outcome.out;
    expect_sound_table();
    std::set<std::string> expected;
    for (const char *operation : {"fwd", "bwd-data", "bwd-filters"}) {
        const std::string word = operation == std::string("fwd") ? "" : std::string(" ") + operation;
        expected.insert(std::string(operation) + " b1 ic4 i12x12 oc8 f3x3 p1,1,1,1");
        expected.insert("spectral b3 ic4 i8x5 oc6" + word + " bcij");
        expected.insert("spectral b3 ic4 i8x5 oc6" + word);
    }
    EXPECT_EQ(tuned(out), all_of(expected));
    EXPECT_EQ(folder.files(), Arguments({"shapes.csv", "t.json"})) << "no journal is left";
    const Outcome again = fourfold_command(tune({"--operation", "fwd,bwd-data,bwd-filters", "--resume"}));
    EXPECT_TRUE(says(again, "0 problems to tune, 9 tuned already")) << again.out;
    // Every reader of tables takes it.
    {
        const Environment table("FOURFOLD_TABLE", out), verbose("FOURFOLD_VERBOSE", "1");
        const Outcome explained = fourfold_command({"explain", "--problem", product});
        ASSERT_TRUE(exits_with(0, explained)) << explained.err;
        EXPECT_TRUE(says(explained, "decided by record: record in " + out)) << explained.out;
        EXPECT_NE(explained.err.find("fourfold: spectral b3 ic4 i8x5 oc6 bcij -> complex_"), std::string::npos) << explained.err;
        EXPECT_NE(explained.err.find("(record: record in"), std::string::npos) << explained.err;
    }
    const Outcome shown = fourfold_command({"tables", "show", out, "--all"});
    ASSERT_TRUE(exits_with(0, shown));
    EXPECT_TRUE(says(shown, "9 problems; on this machine and in this build:") && says(shown, product + "  (")) << shown.out;
    const Outcome verified = fourfold_command(tune({"--operation", "fwd,bwd-data,bwd-filters", "--verify-only"}));
    EXPECT_TRUE(says(verified, "9 records verified")) << verified.out << verified.err;
    ASSERT_TRUE(exits_with(0, fourfold_command({"tables", "merge", out, "--out", folder / "m.json"})));
    EXPECT_EQ(tuned(folder / "m.json"), all_of(expected));
    const Outcome diff = fourfold_command({"tables", "diff", out, folder / "m.json"});
    ASSERT_TRUE(exits_with(0, diff));
    EXPECT_TRUE(says(diff, "9 problems in both: 9 same")) << diff.out;
    const Outcome reported = fourfold_command({"report", "--table", out});
    ASSERT_TRUE(exits_with(0, reported)) << reported.err;
    EXPECT_TRUE(says(reported, ": 3 problems, efficiency")) << reported.out;
    const Outcome reduced = fourfold_command({"tables", "reduce", out});
    ASSERT_TRUE(exits_with(0, reduced)) << reduced.err;
    EXPECT_TRUE(says(reduced, "3 problems; ") && says(reduced, "records of spectral products, whose variants all stay")) << reduced.out;
    // What it has no use for, and who has no use for it.
    const Arguments one = {"tune", "--problem", product, "--out", folder / "u.json"};
    const auto with = [&](const Arguments &more) {
        Arguments arguments = one;
        arguments.insert(arguments.end(), more.begin(), more.end());
        return fourfold_command(arguments);
    };
    EXPECT_TRUE(exits_with(2, with({"--cold"}), {product, "--cold"}));
    EXPECT_TRUE(exits_with(2, with({"--accuracy", "relaxed"}), {product, "--accuracy relaxed"}));
    EXPECT_TRUE(exits_with(2, with({"--layout", "nhwc"}), {"layout 'nhwc' is of convolutions"}));
    EXPECT_TRUE(exits_with(2, with({"--operation", "fold"}), {"forward, bwd-data or bwd-filters"}));
    EXPECT_TRUE(exits_with(3, with({"--device", "opencl"}), {product, "runs on the CPU alone"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--problem", "spectral b3 ic0 i8x5 oc6", "--out", folder / "u.json"}), {"in_channels is 0"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"tune", "--problem", product, "--workspace-max", "64K", "--out", folder / "u.json"}), {"--workspace-max 64K", product}));
    const Outcome bench = fourfold_command({"bench", "--shapes", folder / "shapes.csv", "--min-time", "0"});
    ASSERT_TRUE(exits_with(0, bench));
    EXPECT_NE(bench.err.find("2 spectral products are left out"), std::string::npos) << bench.err;
}

/// A record of a plan whose halves of the samples took a and b milliseconds.
std::string measured_line(const Conv2dProblem &p, const PlanOptions &options, const Plan &plan, bool winner, double a, double b, int samples) {
    Record r = cli::make_record(p, options, plan.choice());
    r.winner = winner;
    r.seconds_min = std::min(a, b) * 1e-3;
    r.seconds_median = a * 1e-3;
    r.seconds_predicted = 1e-3;
    r.halves = {a * 1e-3, b * 1e-3};
    r.samples = samples;
    return cli::record_line(r);
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
    const auto line = [&](const Plan &plan, bool winner, double a, double b) { return measured_line(p, one_thread, plan, winner, a, b, 10); };
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

TEST_F(Tuned, ReportSaysWhetherAnythingIsSlowerThanUntuned) {
    unload_tables(false);
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic8 i9 oc16 f3 p1");
    PlanOptions options;
    options.threads = 1;
    options.choose_for_threads = true;
    const Plan untuned = *Plan::create(p, options);
    PlanOptions named = options;
    named.algorithm = untuned.algorithm() == Algorithm::kDirect ? Algorithm::kIm2col : Algorithm::kDirect;
    const Plan other = *Plan::create(p, named);
    const auto line = [&](const Plan &plan, bool winner, double a, double b) { return measured_line(p, options, plan, winner, a, b, 12); };
    const auto report = [&](const std::string &lines, const Arguments &more = {}) {
        write_bytes(folder / "t.json", cli::header_line() + lines);
        Arguments arguments = {"report", "--table", folder / "t.json"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const Outcome outcome = fourfold_command(arguments);
        EXPECT_TRUE(exits_with(0, outcome)) << outcome.err;
        return outcome;
    };
    const std::string none = "none slower than untuned (the cost model alone) beyond noise: ";
    const Outcome faster = report(line(other, true, 1.00, 1.00) + line(untuned, false, 1.25, 1.25));
    EXPECT_TRUE(says(faster, none + "yes; of 1 problems 0 have the same choice, and the table is 1.250 times as fast")) << faster.out;
    // Slower by more than the tie band: named, with both times.
    const Outcome slower = report(line(other, true, 1.05, 1.05) + line(untuned, false, 1.00, 1.00), {"--per-shape"});
    EXPECT_TRUE(says(slower, none + "no, 1 of 1 are")) << slower.out;
    EXPECT_TRUE(says(slower, "  " + p.to_string() + ": 0.952 of the untuned speed, 1.050 ms (12 samples) for 1.000 ms (12)")) << slower.out;
    EXPECT_TRUE(says(slower, "! 0.952")) << slower.out;
    // Not by more than its own two halves differ by.
    EXPECT_TRUE(says(report(line(other, true, 1.04, 1.085) + line(untuned, false, 1.00, 1.00)), none + "yes"));
    // Nor by its own choice.
    EXPECT_TRUE(says(report(line(untuned, true, 1.00, 1.00)), none + "yes; of 1 problems 1 have the same choice"));
    // What was not timed is nobody's.
    const Outcome unknown = report(line(other, true, 1.00, 1.00), {"--per-shape"});
    EXPECT_TRUE(says(unknown, none + "unknown; 1 unknown")) << unknown.out;
    EXPECT_TRUE(says(unknown, "the untuned choice has no time here: " + untuned.choice())) << unknown.out;
    // By another tune's times.
    write_bytes(folder / "times.json", cli::header_line() + line(other, false, 1.10, 1.10) + line(untuned, true, 1.00, 1.00));
    EXPECT_TRUE(says(report(line(other, true, 1.00, 1.00) + line(untuned, false, 1.25, 1.25), {"--times", folder / "times.json"}), none + "no, 1 of 1 are"));
}

TEST_F(Tuned, ReportLeavesOutWhatIsStaleAndSaysWhatIsHeldOut) {
    const Conv2dProblem p = *Conv2dProblem::parse("b1 ic8 i9 oc16 f3 p1");
    const auto line = [&](Algorithm algorithm, int threads, double seconds, bool winner, bool stale) {
        PlanOptions options;
        options.threads = threads;
        PlanOptions named = options;
        named.algorithm = algorithm;
        Record r = cli::make_record(p, options, Plan::create(p, named)->choice());
        r.winner = winner;
        r.seconds_min = r.seconds_median = seconds;
        r.seconds_predicted = 1e-3;
        r.samples = 1;
        if (stale) {
            r.variants[0].second = "0123456789abcdef";
        }
        return cli::record_line(r);
    };
    // Times of code that is gone are none.
    write_bytes(folder / "t.json", cli::header_line() + line(Algorithm::kDirect, 1, 2e-3, true, false) + line(Algorithm::kIm2col, 1, 1e-3, false, true));
    const Outcome stale = fourfold_command({"report", "--table", folder / "t.json", "--per-shape"});
    ASSERT_TRUE(exits_with(0, stale)) << stale.err;
    EXPECT_TRUE(says(stale, "1 stale records")) << stale.out;
    EXPECT_TRUE(says(stale, "  1.000")) << stale.out;
    EXPECT_FALSE(says(stale, "  0.500")) << stale.out;
    write_bytes(folder / "t.json", cli::header_line() + line(Algorithm::kIm2col, 1, 1e-3, true, true));
    EXPECT_TRUE(exits_with(2, fourfold_command({"report", "--table", folder / "t.json"}), {"1 are stale"}));
    // Held out is held out: not known by its record of other threads.
    write_bytes(folder / "t.json", cli::header_line() + line(Algorithm::kDirect, 1, 1e-3, true, false) + line(Algorithm::kDirect, 2, 1e-3, true, false));
    const Outcome threads = fourfold_command({"report", "--table", folder / "t.json", "--threads", "2"});
    ASSERT_TRUE(exits_with(0, threads)) << threads.err;
    EXPECT_TRUE(says(threads, "held out one by one") && says(threads, "tiers: cost model 1")) << threads.out;
    EXPECT_FALSE(says(threads, "by family")) << threads.out;
}

TEST_F(Tuned, ReportHoldsOutAProblemWithItsTwinInTheOtherLayout) {
    unload_tables(false);
    PlanOptions options;
    options.threads = 1;
    std::string table = cli::header_line();
    // Of one channel: one plan; of two: two.
    for (const char *text : {"b1 ic1 i60 oc1 f9", "b1 ic1 i60 oc1 f9 nhwc", "b2 ic2 i40 oc2 f5", "b2 ic2 i40 oc2 f5 nhwc"}) {
        const Conv2dProblem p = *Conv2dProblem::parse(text);
        table += measured_line(p, options, *Plan::create(p, options), true, 1.00, 1.00, 10);
    }
    write_bytes(folder / "t.json", table);
    const Outcome both = fourfold_command({"report", "--table", folder / "t.json"});
    ASSERT_TRUE(exits_with(0, both)) << both.err;
    EXPECT_TRUE(says(both, ": 4 problems") && says(both, "held out by family: 3 families") && says(both, "tiers: cost model 4")) << both.out;
    // Nor does it matter whether the twin is asked about, or what it is called.
    write_bytes(folder / "one.csv", "one_1,b1 ic1 i60 oc1 f9 nhwc\n");
    const Outcome one = fourfold_command({"report", "--table", folder / "t.json", "--shapes", folder / "one.csv"});
    ASSERT_TRUE(exits_with(0, one)) << one.err;
    EXPECT_TRUE(says(one, ": 1 problems") && says(one, "tiers: cost model 1")) << one.out;
    write_bytes(folder / "two.csv", "one_1,b1 ic1 i60 oc1 f9 nhwc\ntwo_1,b1 ic1 i60 oc1 f9\n");
    const Outcome two = fourfold_command({"report", "--table", folder / "t.json", "--shapes", folder / "two.csv"});
    ASSERT_TRUE(exits_with(0, two)) << two.err;
    EXPECT_TRUE(says(two, ": 2 problems") && says(two, "tiers: cost model 2")) << two.out;
}

TEST_F(Tuned, TablesReduceTheListOfVariants) {
    ASSERT_TRUE(exits_with(0, fourfold_command(tune())));
    const Outcome curve = fourfold_command({"tables", "reduce", folder / "t.json"});
    ASSERT_TRUE(exits_with(0, curve)) << curve.err;
    EXPECT_TRUE(says(curve, "4 of 4")) << curve.out;
    ASSERT_TRUE(exits_with(0, fourfold_command({"tables", "reduce", folder / "t.json", "--curve", folder / "curve.csv"})));
    const std::string written = read_bytes(folder / "curve.csv"), last = lines_of(written).back();
    EXPECT_EQ(written.rfind("stage,target,variants,", 0), 0u) << written;
    EXPECT_EQ(last.rfind("all," + machine().isa + ",", 0), 0u) << written;
    EXPECT_NE(last.find(",4,4,0.0300,"), std::string::npos) << written;
    EXPECT_TRUE(exits_with(1, fourfold_command({"tables", "reduce", folder / "t.json", "--curve", folder / "no/curve.csv"}), {"no/curve.csv"}));
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
        // Records are of packed filters, but it is not.
        Arguments unpacked = explain;
        unpacked.emplace_back("--include-packing");
        EXPECT_TRUE(says(fourfold_command(unpacked), "environment: named by FOURFOLD_CHOICE"));
    }
    {
        const Environment choice("FOURFOLD_CHOICE", "abacus");
        EXPECT_TRUE(exits_with(2, fourfold_command(explain), {"abacus"}));
        Arguments unpacked = explain;
        unpacked.emplace_back("--include-packing");
        EXPECT_TRUE(exits_with(2, fourfold_command(unpacked), {"abacus"}));
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
        const Environment block("FOURFOLD_BLOCK", "winograd,winogrd");
        EXPECT_TRUE(exits_with(2, fourfold_command(explain), {"FOURFOLD_BLOCK: 'winogrd' is neither an algorithm"}));
    }
    {
        const Environment capture("FOURFOLD_CAPTURE", folder / "captured.csv");
        for (int i = 0; i < 2; i++) {
            ASSERT_TRUE(exits_with(0, fourfold_command(explain)));
        }
        ASSERT_TRUE(exits_with(0, fourfold_command({"explain", "--problem", "bwd-data b1 ic4 i12 oc4 f3 p1"})));
        ASSERT_TRUE(exits_with(0, fourfold_command({"explain", "--problem", "spectral b3 ic4 i8x5 oc6 bcij"})));
        // A step's products are parts of it.
        ASSERT_TRUE(exits_with(0, fourfold_command({"bench", "--training", "--problem", "b2 ic4 i12 oc4 f5 p2", "--min-time", "0"})));
    }
    const std::vector<std::string> lines = lines_of(read_bytes(folder / "captured.csv"));
    EXPECT_EQ(std::count_if(lines.begin(), lines.end(), [](const std::string &line) { return line.find("spectral") != std::string::npos; }), 1) << read_bytes(folder / "captured.csv");
    EXPECT_EQ(std::count_if(lines.begin(), lines.end(), [](const std::string &line) { return line.find("f5x5") == std::string::npos; }), 4) << "each problem once a process";
    {
        // Filters of rank one are asked about as two passes, which are no problems of the program's.
        write_bytes(folder / "x.pgm", "P5\n200 150\n255\n" + std::string(200 * 150, 'x'));
        const Environment capture("FOURFOLD_CAPTURE", folder / "blur.csv");
        ASSERT_TRUE(exits_with(0, fourfold_command({"run", "--input", folder / "x.pgm", "--filters", "gaussian:15", "--output", folder / "y.pgm"})));
    }
    const std::vector<std::string> blur = lines_of(read_bytes(folder / "blur.csv"));
    ASSERT_EQ(blur.size(), 1u) << read_bytes(folder / "blur.csv");
    EXPECT_NE(blur[0].find("f15"), std::string::npos) << blur[0];
    const Outcome tune = fourfold_command({"tune", "--shapes", folder / "captured.csv", "--out", folder / "t.json", "--trials", "1"});
    ASSERT_TRUE(exits_with(0, tune)) << tune.err;
    EXPECT_TRUE(says(tune, "6 problems to tune")) << tune.out;
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
