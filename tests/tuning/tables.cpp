// Tables: what decides, in which order, and what no file can make the library do.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "machine.h"
#include "machine_limits.h"
#include "records.h"
#include "spectral_candidates.h"
#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"
#include "support/spawn.h"
#include "tables.h"

namespace fourfold::test {
namespace {

using cli::append_lines;
using cli::header_line;
using cli::Journal;
using cli::make_record;
using cli::merge_tables;
using cli::record_line;

/// Every test begins and ends without tables.
class TablesTest : public ::testing::Test {
protected:
    void SetUp() override {
        unload_tables(false);
    }
    void TearDown() override {
        unload_tables(true);
        EXPECT_TRUE(block_choices({}).ok());
    }
};
using Tiers = TablesTest;
using Hostile = TablesTest;
using Blocked = TablesTest;
using Choices = TablesTest;

Plan plan_of(const Conv2dProblem &p, const PlanOptions &options = {}) {
    Result<Plan> plan = Plan::create(p, options);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return *plan;
}

PlanOptions one_thread() {
    PlanOptions options;
    options.threads = 1;
    return options;
}

Record timed(const Conv2dProblem &p, const std::string &choice, double seconds, bool winner, double predicted = 1e-3) {
    Record r = make_record(p, one_thread(), choice);
    r.winner = winner;
    r.seconds_min = r.seconds_median = seconds;
    r.seconds_predicted = predicted;
    r.samples = 10;
    return r;
}

std::vector<Candidate> choices_of(const Conv2dProblem &p, const PlanOptions &options = {}) {
    const Result<std::vector<Candidate>> list = list_choices(p, options);
    EXPECT_TRUE(list.ok()) << list.status().message();
    return list.ok() ? *list : std::vector<Candidate>();
}

/// A choice that the cost model would not take.
std::string unlikely(const Conv2dProblem &p) {
    return choices_of(p).back().choice;
}

const char *const kProblems[] = {"b2 ic20 i15x18 oc24 f3 p1", "b1 ic1 i60 oc1 f9", "b2 ic16 i14 oc16 f3 p1 g16", "b1 ic8 i16 oc12 f3 s2 p1 nhwc", "b2 ic16 i12 oc16 f3 p1 g16 nhwc",
                                 "bwd-data b2 ic12 i15 oc20 f3 s2 p1", "bwd-data b1 ic16 i12 oc16 f3 p1", "bwd-filters b2 ic12 i15 oc20 f3 p1"};

TEST_F(Choices, EachIsReproducedAndRight) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        const std::vector<Candidate> list = choices_of(p, one_thread());
        std::set<std::string> seen;
        EXPECT_GE(list.size(), machine().isa == std::string("avx512") ? 5u : 3u) << text;
        for (const Candidate &c : list) {
            EXPECT_TRUE(seen.insert(c.choice).second) << c.choice << " is listed twice";
            PlanOptions options;
            options.threads = 1;
            options.choice = c.choice;
            const Plan plan = plan_of(p, options);
            EXPECT_EQ(plan.choice(), c.choice) << text;
            EXPECT_EQ(plan.tier(), Tier::kCaller);
            EXPECT_EQ(plan.algorithm(), c.algorithm);
            EXPECT_EQ(plan.workspace_bytes(), c.workspace_bytes);
            Operands operands(p, 11);
            ASSERT_TRUE(run_plan(plan, operands).ok()) << text << " " << c.choice;
            EXPECT_TRUE(matches(operands, operands.expected(), error_limit(c.algorithm))) << text << " " << c.choice;
        }
    }
}

TEST_F(Choices, WhatTheCostModelChoosesIsAmongThem) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        const std::string chosen = plan_of(p).choice();
        const std::vector<Candidate> list = choices_of(p);
        EXPECT_TRUE(std::any_of(list.begin(), list.end(), [&](const Candidate &c) { return c.choice == chosen; })) << text << ": " << chosen;
    }
}

TEST_F(Choices, WhatIsChosenWithinALimitIsAmongThoseWithinIt) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        std::set<size_t> limits;
        for (const Candidate &c : choices_of(p, one_thread())) {
            limits.insert(c.workspace_bytes);
        }
        for (size_t limit : limits) {
            PlanOptions options = one_thread();
            options.workspace_limit = limit;
            const Plan plan = plan_of(p, options);
            const std::vector<Candidate> list = choices_of(p, options);
            EXPECT_TRUE(std::any_of(list.begin(), list.end(), [&](const Candidate &c) { return c.choice == plan.choice(); })) << text << " within " << limit << ": " << plan.choice();
            EXPECT_TRUE(std::all_of(list.begin(), list.end(), [&](const Candidate &c) { return c.workspace_bytes <= limit; })) << text;
        }
    }
}

TEST_F(Choices, BadOnesAreRefusedWithTheirName) {
    const Conv2dProblem p = parse_problem("b1 ic4 i12 oc4 f3 p1");
    const auto status = [&](const std::string &choice) {
        PlanOptions options;
        options.choice = choice;
        return Plan::create(p, options).status();
    };
    EXPECT_EQ(status("abacus").code(), StatusCode::kInvalidArgument);
    EXPECT_NE(status("direct abacus_avx512").message().find("abacus_avx512"), std::string::npos);
    EXPECT_EQ(status("direct rows=99").code(), StatusCode::kUnsupported);
    EXPECT_EQ(status("auto").code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(status("direct").ok()) << "what is left out is chosen";
    PlanOptions both;
    both.choice = "direct";
    both.algorithm = Algorithm::kIm2col;
    EXPECT_EQ(Plan::create(p, both).status().code(), StatusCode::kInvalidArgument);
}

TEST_F(Tiers, RecordComesBeforeTheCostModel) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    EXPECT_EQ(plan_of(p).tier(), Tier::kCostModel);
    const std::string choice = unlikely(p);
    const Result<TableInfo> info = load_table_text("mine", header_line() + record_line(timed(p, choice, 1e-4, true)));
    ASSERT_TRUE(info.ok()) << info.status().message();
    EXPECT_EQ(info->records, 1);
    const Plan plan = plan_of(p);
    EXPECT_EQ(plan.tier(), Tier::kRecord);
    EXPECT_EQ(plan.choice(), choice);
    EXPECT_NE(plan.describe().find("mine"), std::string::npos) << plan.describe();
    // What every plan does alike at the end does not make another problem; anything else does.
    EXPECT_EQ(plan_of(parse_problem("b2 ic20 i15x18 oc24 f3 p1 conv residual relu")).choice(), choice);
    EXPECT_NE(plan_of(parse_problem("b2 ic20 i15x18 oc24 f3 p1 nhwc")).tier(), Tier::kRecord);
    EXPECT_NE(plan_of(parse_problem("b3 ic20 i15x18 oc24 f3 p1")).tier(), Tier::kRecord);
    PlanOptions cold;
    cold.cache = CacheState::kCold;
    EXPECT_NE(plan_of(p, cold).tier(), Tier::kRecord) << "warm and cold are different keys";
    // A later table comes first; unloading brings back what was.
    const std::string other = choices_of(p).front().choice;
    ASSERT_TRUE(load_table_text("later", header_line() + record_line(timed(p, other, 2e-4, true))).ok());
    EXPECT_EQ(plan_of(p).choice(), other);
    unload_tables(false);
    EXPECT_EQ(plan_of(p).tier(), Tier::kCostModel);
}

/// Images of one channel are the same in both layouts, and so are their records.
TEST_F(Tiers, RecordsOfOneChannelAreOfBothLayouts) {
    const Conv2dProblem p = parse_problem("b1 ic1 i60 oc1 f9"), q = parse_problem("b1 ic1 i60 oc1 f9 nhwc"), two = parse_problem("b1 ic1 i60 oc2 f9 nhwc");
    const std::string choice = unlikely(p);
    for (const Conv2dProblem &measured : {p, q}) {
        const std::string line = record_line(timed(measured, choice, 1e-4, true));
        EXPECT_NE(line.find('"' + measured.to_string() + '"'), std::string::npos) << line;
        ASSERT_TRUE(load_table_text("mine", header_line() + line).ok());
        for (const Conv2dProblem &asked : {p, q}) {
            EXPECT_EQ(plan_of(asked).tier(), Tier::kRecord) << measured.to_string() << ", " << asked.to_string();
            EXPECT_EQ(plan_of(asked).choice(), choice) << measured.to_string() << ", " << asked.to_string();
        }
        EXPECT_NE(plan_of(two).tier(), Tier::kRecord);
        unload_tables(false);
    }
}

TEST_F(Tiers, TheCallerComesBeforeARecord) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(p, unlikely(p), 1e-4, true))).ok());
    PlanOptions options;
    options.algorithm = Algorithm::kDirect;
    EXPECT_EQ(plan_of(p, options).algorithm(), Algorithm::kDirect);
    EXPECT_EQ(plan_of(p, options).tier(), Tier::kCaller);
    const Result<std::vector<Candidate>> candidates = explain(p);
    ASSERT_TRUE(candidates.ok());
    const auto chosen = std::find_if(candidates->begin(), candidates->end(), [](const Candidate &c) { return c.chosen; });
    ASSERT_NE(chosen, candidates->end());
    EXPECT_EQ(chosen->choice, plan_of(p).choice());
    EXPECT_NE(chosen->reason.find("record"), std::string::npos) << chosen->reason;
}

TEST_F(Tiers, ANamedAlgorithmTakesItsFastestRecord) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    PlanOptions named = one_thread(), forced = one_thread();
    named.algorithm = forced.algorithm = Algorithm::kDirect;
    const std::string before = plan_of(p, named).choice();
    std::string other, winner;
    for (const Candidate &c : choices_of(p, one_thread())) {
        other = c.algorithm == Algorithm::kDirect && c.choice != before ? c.choice : other;
        winner = c.algorithm != Algorithm::kDirect ? c.choice : winner;
    }
    ASSERT_FALSE(other.empty());
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(p, winner, 1e-4, true)) + record_line(timed(p, before, 3e-4, false)) + record_line(timed(p, other, 2e-4, false))).ok());
    const Plan plan = plan_of(p, named);
    EXPECT_EQ(plan.choice(), other);
    EXPECT_EQ(plan.tier(), Tier::kCaller);
    EXPECT_NE(plan.decided_by().find("mine"), std::string::npos) << plan.decided_by();
    EXPECT_EQ(plan_of(p, one_thread()).choice(), winner);
    named.packs_each_time = true;
    EXPECT_EQ(plan_of(p, named).decided_by().find("mine"), std::string::npos) << "records are of packed filters";
    // A variant that is named too comes first.
    forced.variant = "conv_direct_generic_m2_n4";
    EXPECT_EQ(plan_of(p, forced).variant(), forced.variant);
}

TEST_F(Tiers, ARecordThatDoesNotFitGivesWayToTheNext) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    std::vector<Candidate> list = choices_of(p, one_thread());
    std::sort(list.begin(), list.end(), [](const Candidate &a, const Candidate &b) { return a.workspace_bytes > b.workspace_bytes; });
    const Candidate &large = list.front(), &small = list.back();
    ASSERT_LT(small.workspace_bytes, large.workspace_bytes);
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(p, large.choice, 1e-4, true)) + record_line(timed(p, small.choice, 2e-4, false))).ok());
    EXPECT_EQ(plan_of(p).choice(), large.choice);
    PlanOptions limited;
    limited.blocked = {large.choice.substr(0, large.choice.find(' '))};
    const Plan next = plan_of(p, limited);
    EXPECT_NE(next.choice(), large.choice);
    PlanOptions tight;
    tight.threads = 1;
    tight.workspace_limit = small.workspace_bytes;
    const Plan fitting = plan_of(p, tight);
    EXPECT_LE(fitting.workspace_bytes(), small.workspace_bytes);
}

/// What won among plans within a limit may lose to plans beyond it.
TEST_F(Tiers, ARecordWithinALimitDecidesForThatAndNarrowerOnes) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    std::vector<Candidate> list = choices_of(p, one_thread());
    std::sort(list.begin(), list.end(), [](const Candidate &a, const Candidate &b) { return a.workspace_bytes < b.workspace_bytes; });
    // Neither is what predictions choose, with any of these limits.
    const std::string likely = plan_of(p).choice();
    list.erase(std::remove_if(list.begin(), list.end(), [&](const Candidate &c) { return c.choice == likely || c.workspace_bytes > list.back().workspace_bytes / 2; }), list.end());
    ASSERT_GE(list.size(), 2u);
    const std::string narrow = list[0].choice, wide = list[1].choice;
    const size_t limit = std::max<size_t>(list[1].workspace_bytes, 1) * 2;
    const auto within = [&](size_t bytes) {
        PlanOptions options = one_thread();
        options.workspace_limit = bytes;
        return options;
    };
    const auto recorded = [&](const std::string &choice, size_t bytes) {
        Record r = make_record(p, within(bytes), choice);
        r.winner = true;
        r.seconds_min = r.seconds_median = r.seconds_predicted = 1e-4;
        r.samples = 10;
        return record_line(r);
    };
    constexpr size_t none = std::numeric_limits<size_t>::max();
    EXPECT_EQ(recorded(narrow, none).find("workspace_limit"), std::string::npos);
    EXPECT_NE(recorded(narrow, limit).find("\"workspace_limit\":" + std::to_string(limit)), std::string::npos);
    // Alone it decides within its limit and narrower ones only.
    ASSERT_TRUE(load_table_text("narrow", header_line() + recorded(narrow, limit)).ok());
    for (const size_t bytes : {limit, limit - 1}) {
        EXPECT_EQ(plan_of(p, within(bytes)).tier(), Tier::kRecord) << bytes;
        EXPECT_EQ(plan_of(p, within(bytes)).choice(), narrow) << bytes;
    }
    for (const size_t bytes : {limit + 1, none}) {
        EXPECT_NE(plan_of(p, within(bytes)).tier(), Tier::kRecord) << bytes;
        EXPECT_NE(plan_of(p, within(bytes)).choice(), narrow) << bytes;
    }
    // Beside one without a limit each decides for its own, in whatever order they are; the narrower also for what is narrower still.
    for (const std::string &lines : {recorded(narrow, limit) + recorded(wide, none), recorded(wide, none) + recorded(narrow, limit)}) {
        unload_tables(false);
        ASSERT_TRUE(load_table_text("both", header_line() + lines).ok());
        EXPECT_EQ(plan_of(p, within(none)).choice(), wide);
        EXPECT_EQ(plan_of(p, within(limit + 1)).choice(), wide);
        EXPECT_EQ(plan_of(p, within(limit)).choice(), narrow);
        EXPECT_EQ(plan_of(p, within(limit - 1)).choice(), narrow);
        // Merged they stay two.
        const Result<std::string> merged = merge_tables(std::vector<cli::NamedTable>{{"both", header_line() + lines}});
        ASSERT_TRUE(merged.ok());
        const std::vector<Record> records = read_table(*merged).records;
        ASSERT_EQ(records.size(), 2u);
        for (const Record &r : records) {
            EXPECT_TRUE(r.winner);
            EXPECT_EQ(r.workspace_limit, r.choice == narrow ? limit : kNoWorkspaceLimit);
        }
    }
}

TEST_F(Tiers, AccuracyIsKept) {
    const Conv2dProblem p = parse_problem("b1 ic32 i24 oc32 f3 p1");
    PlanOptions relaxed, strict;
    relaxed.accuracy = Accuracy::kRelaxed;
    strict.accuracy = Accuracy::kStrict;
    std::string largest;
    for (const Candidate &c : choices_of(p, relaxed)) {
        largest = c.choice.find("_m6 ") != std::string::npos && c.algorithm == Algorithm::kWinograd ? c.choice : largest;
    }
    ASSERT_FALSE(largest.empty());
    Record r = timed(p, largest, 1e-5, true);
    r.accuracy = Accuracy::kRelaxed;
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(r)).ok());
    EXPECT_EQ(plan_of(p, relaxed).choice(), largest);
    EXPECT_NE(plan_of(p).choice(), largest) << "a record must not loosen what the caller asked for";
    EXPECT_NE(plan_of(p, strict).algorithm(), Algorithm::kWinograd);
}

TEST_F(Tiers, ChoicesDoNotDependOnThreadsUnlessAsked) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::vector<Candidate> list = choices_of(p);
    Record one = timed(p, list[0].choice, 1e-4, true), two = timed(p, list[1].choice, 1e-4, true);
    two.threads = 2;
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(one) + record_line(two)).ok());
    for (int threads : {1, 2, 3}) {
        PlanOptions options;
        options.threads = threads;
        EXPECT_EQ(plan_of(p, options).choice(), list[0].choice) << threads;
        options.choose_for_threads = true;
        EXPECT_EQ(plan_of(p, options).choice(), list[threads == 1 ? 0 : 1].choice) << threads;
    }
}

TEST_F(Tiers, NeighboursVote) {
    // Of six similar problems one algorithm was five times slower than predicted.
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    const Algorithm loser = plan_of(p).algorithm();
    std::string text = header_line();
    for (int i : {16, 18, 19, 21, 22, 24}) {
        Conv2dProblem near = p;
        near.in_height = near.in_width = i;
        for (const Candidate &c : choices_of(near, one_thread())) {
            text += record_line(timed(near, c.choice, c.predicted_seconds * (c.algorithm == loser ? 5.0 : 1.0), false, c.predicted_seconds));
        }
    }
    ASSERT_TRUE(load_table_text("neighbours", text).ok());
    const Plan plan = plan_of(p);
    EXPECT_EQ(plan.tier(), Tier::kNeighbours) << plan.decided_by();
    EXPECT_NE(plan.algorithm(), loser);
    // Nothing like it: the corrected cost model.
    EXPECT_EQ(plan_of(parse_problem("b1 ic1 i2000 oc1 f31")).tier(), Tier::kCostModel);
    EXPECT_EQ(plan_of(p).describe(), plan_of(p).describe());
}

TEST_F(Tiers, FewFarNeighboursAreBelievedLess) {
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    const Algorithm loser = plan_of(p).algorithm();
    std::string text = header_line();
    std::map<std::string, int> measured;  // how often each choice
    for (int i : {90, 95, 100, 105, 110, 120}) {
        Conv2dProblem near = p;
        near.in_height = near.in_width = i;
        for (const Candidate &c : choices_of(near, one_thread())) {
            text += record_line(timed(near, c.choice, c.predicted_seconds * (c.algorithm == loser ? 5.0 : 1.0), false, c.predicted_seconds));
            measured[c.choice]++;
        }
    }
    ASSERT_TRUE(load_table_text("neighbours", text).ok());
    std::map<bool, double> corrections;  // of a loser, and of another, that all six measured
    for (const Candidate &c : choices_of(p, one_thread())) {
        if (measured[c.choice] == 6) {
            corrections[c.algorithm == loser] = std::log(c.corrected_seconds / c.predicted_seconds);
        }
    }
    ASSERT_EQ(corrections.size(), 2u);
    const double believed = (corrections[true] - corrections[false]) / std::log(5.0);
    EXPECT_GT(believed, 0.3);
    EXPECT_LT(believed, 0.5) << "measurements of other problems are noise too";
}

TEST(Generations, AreOfOneVendor) {
    EXPECT_EQ(generations_between("znver3", "znver5"), 2);
    EXPECT_EQ(generations_between("znver5", "znver4"), 1);
    EXPECT_EQ(generations_between("sapphirerapids", "emeraldrapids"), 1);
    EXPECT_LT(*generations_between("haswell", "graniterapids"), *generations_between("haswell", "intel-6-143"));
    for (const char *stranger : {"znver5", "x86-64", "neoverse-v2", "", "intelligent"}) {
        EXPECT_FALSE(generations_between("sapphirerapids", stranger).has_value()) << stranger;
    }
    EXPECT_FALSE(generations_between("x86-64", "neoverse-v2").has_value());
}

/// Microarchitectures by their distance from this machine, the nearest first; its own is left out.
std::vector<std::string> relatives() {
    std::vector<std::string> list;
    for (const char *name : {"znver1", "znver2", "znver3", "znver4", "znver5", "haswell", "broadwell", "skylake-avx512", "icelake-server", "sapphirerapids", "emeraldrapids", "graniterapids"}) {
        if (name != machine().microarchitecture && generations_between(name, machine().microarchitecture)) {
            list.push_back(name);
        }
    }
    std::stable_sort(list.begin(), list.end(), [](const std::string &a, const std::string &b) { return generations_between(a, machine().microarchitecture) < generations_between(b, machine().microarchitecture); });
    return list;
}

TEST_F(Tiers, StrangersSayNothing) {
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    std::string text = header_line();
    for (int i : {16, 18, 19, 20, 21, 22, 24}) {
        Conv2dProblem near = p;
        near.in_height = near.in_width = i;
        Record r = timed(near, unlikely(near), 1e-4, true);
        r.microarchitecture = machine().microarchitecture.rfind("znver", 0) == 0 ? "sapphirerapids" : "znver5";
        text += record_line(r);
    }
    const Plan before = plan_of(p);
    ASSERT_TRUE(load_table_text("theirs", text).ok());
    EXPECT_EQ(plan_of(p).tier(), Tier::kCostModel) << plan_of(p).decided_by();
    EXPECT_EQ(plan_of(p).choice(), before.choice());
    EXPECT_EQ(plan_of(p).decided_by(), before.decided_by()) << "not even a correction";
}

TEST_F(Tiers, TheNearestOfTheFamilyIsAPrior) {
    const std::vector<std::string> kin = relatives();
    if (kin.size() < 2) {
        GTEST_SKIP() << machine().microarchitecture << " has no relatives";
    }
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    Record far = timed(p, unlikely(p), 1e-4, true), near = timed(p, choices_of(p).front().choice, 1e-4, true);
    far.microarchitecture = kin.back();
    near.microarchitecture = kin.front();
    ASSERT_TRUE(load_table_text("theirs", header_line() + record_line(far)).ok());
    EXPECT_EQ(plan_of(p).tier(), Tier::kFamily);
    EXPECT_EQ(plan_of(p).choice(), far.choice);
    EXPECT_NE(plan_of(p).decided_by().find(kin.back()), std::string::npos) << plan_of(p).decided_by();
    for (const char *order : {"near last", "near first"}) {
        unload_tables(false);
        const std::string first = record_line(far), second = record_line(near);
        ASSERT_TRUE(load_table_text("kin", header_line() + (order == std::string("near last") ? first + second : second + first)).ok());
        EXPECT_EQ(plan_of(p).choice(), near.choice) << order;
    }
    Record other = far;
    other.isa = machine().isa == std::string("generic") ? "avx2" : "generic";
    const Result<TableInfo> info = load_table_text("other rung", header_line() + record_line(other));
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->foreign, 1);
}

TEST_F(Tiers, StaleRecordsAreSkippedOneByOne) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::vector<Candidate> list = choices_of(p);
    const auto beaten = std::find_if(list.begin(), list.end(), [&](const Candidate &c) { return c.algorithm != list.back().algorithm; });
    ASSERT_NE(beaten, list.end());
    Record stale = timed(p, list.back().choice, 1e-5, true), current = timed(p, beaten->choice, 1e-4, false), gone = timed(p, list.back().choice, 1e-5, true);
    ASSERT_FALSE(stale.variants.empty());
    stale.variants[0].second = "0123456789abcdef";
    gone.choice += " gemm_avx512_m99_n99";
    const Result<TableInfo> info = load_table_text("old", header_line() + record_line(stale) + record_line(current) + record_line(gone));
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->stale, 2);
    EXPECT_EQ(info->records, 1);
    EXPECT_NE(info->summary().find("2 stale"), std::string::npos) << info->summary();
    // What a changed kernel had beaten does not take its place...
    EXPECT_NE(plan_of(p).tier(), Tier::kRecord);
    // ... but where that could not be chosen: where another algorithm is named, or its own is barred.
    PlanOptions other;
    other.algorithm = beaten->algorithm;
    EXPECT_EQ(plan_of(p, other).choice(), current.choice);
    other.algorithm = Algorithm::kAuto;
    other.blocked = {to_string(list.back().algorithm)};
    EXPECT_EQ(plan_of(p, other).choice(), current.choice);
    // Nor where another has won since, or the winner is not in this build.
    const Record won = timed(p, beaten->choice, 1e-4, true);
    for (const std::string &lines : {record_line(stale) + record_line(won), record_line(won) + record_line(stale), record_line(gone) + record_line(current)}) {
        unload_tables(false);
        ASSERT_TRUE(load_table_text("newer", header_line() + lines).ok());
        EXPECT_EQ(plan_of(p).choice(), current.choice) << lines;
        EXPECT_EQ(plan_of(p).tier(), Tier::kRecord) << lines;
    }
}

TEST_F(Tiers, FailuresAreNeverChosen) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    Record failed = timed(p, plan_of(p).choice(), 1e-5, false);
    failed.failure = "crash";
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(failed)).ok());
    EXPECT_TRUE(Plan::create(p).ok());
    EXPECT_NE(plan_of(p).tier(), Tier::kRecord);
}

TEST_F(Tiers, TheReferenceIsTheLastResort) {
    const Conv2dProblem p = parse_problem("b1 ic4 i12 oc4 f3 p1");
    PlanOptions options;
    options.blocked = {"direct", "im2col", "fft", "fft_tiled", "winograd"};
    const Plan plan = plan_of(p, options);
    EXPECT_EQ(plan.algorithm(), Algorithm::kNaive);
    EXPECT_EQ(plan.tier(), Tier::kReference);
}

SpectralProblem spectral(const std::string &text) {
    const Result<SpectralProblem> p = SpectralProblem::parse(text);
    EXPECT_TRUE(p.ok()) << p.status().message();
    return *p;
}

Record timed(const SpectralProblem &p, const std::string &variant, double seconds, bool winner) {
    Record r = make_record(p, one_thread(), "spectral " + variant);
    r.winner = winner;
    r.seconds_min = r.seconds_median = r.seconds_predicted = seconds;
    r.samples = 10;
    return r;
}

SpectralPlan plan_of(const SpectralProblem &p, const SpectralOptions &options = {}) {
    const Result<SpectralPlan> plan = SpectralPlan::create(p, options);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    return *plan;
}

/// The line of describe() that says what decided.
std::string decided(const SpectralPlan &plan) {
    const std::string text = plan.describe();
    const size_t at = text.find("decided by ");
    return at == std::string::npos ? "" : text.substr(at + 11, text.find('\n', at) - at - 11);
}

/// One that is not predicted to be the fastest. Channels first has two at least on every ISA level.
std::string unlikely(const SpectralProblem &p) {
    const std::string likely = plan_of(p).variant();
    std::string other;
    for (const SpectralCandidate &c : spectral_candidates(p)) {
        EXPECT_GT(c.predicted, 0.0) << c.variant;
        other = c.variant != likely ? c.variant : other;
    }
    EXPECT_FALSE(other.empty());
    return other;
}

TEST_F(Tiers, SpectralCandidatesAreWhatPlansCanBe) {
    for (const char *text : {"spectral b3 ic4 i8x5 oc6", "spectral b3 ic4 i8x5 oc6 bcij", "spectral b3 ic4 i8x5 oc6 bwd-filters bcij"}) {
        const SpectralProblem p = spectral(text);
        std::set<std::string> listed;
        for (const SpectralCandidate &c : spectral_candidates(p)) {
            EXPECT_EQ(plan_of(p, {1, c.variant}).variant(), c.variant);
            listed.insert(c.variant);
        }
        std::set<std::string> planned;
        for (const VariantInfo &v : list_variants()) {
            if ((v.stage == "complex_gemm" || v.stage == "complex_multiply") && SpectralPlan::create(p, {1, v.name}).ok()) {
                planned.insert(v.name);
            }
        }
        EXPECT_EQ(listed, planned) << text;
        EXPECT_EQ(listed.count(plan_of(p).variant()), 1u) << text;
    }
}

TEST_F(Tiers, SpectralProductsFollowTheirRecords) {
    for (const char *operation : {"", " bwd-data", " bwd-filters"}) {
        unload_tables(false);
        const std::string end = std::string(operation) + " bcij";
        const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6" + end);
        EXPECT_EQ(decided(plan_of(p)).find("cost model: "), 0u) << decided(plan_of(p));
        const std::string likely = plan_of(p).variant(), other = unlikely(p);
        const Result<TableInfo> info = load_table_text("mine", header_line() + record_line(timed(p, likely, 2e-4, false)) + record_line(timed(p, other, 1e-4, true)));
        ASSERT_TRUE(info.ok());
        EXPECT_EQ(info->records, 2) << info->summary();
        EXPECT_EQ(plan_of(p).variant(), other);
        EXPECT_EQ(decided(plan_of(p)), "record: record in mine");
        // The caller's word comes first; what is near enough follows, other channels, operations and orders do not.
        EXPECT_EQ(plan_of(p, {1, likely}).variant(), likely);
        EXPECT_EQ(decided(plan_of(p, {1, likely})), "caller: named by the caller");
        EXPECT_EQ(plan_of(spectral("spectral b4 ic4 i8x7 oc6" + end)).variant(), other);
        EXPECT_EQ(decided(plan_of(spectral("spectral b4 ic4 i8x7 oc6" + end))), "neighbours: the nearest record, of '" + p.to_string() + "', in mine");
        for (const std::string &text : {"spectral b30 ic4 i8x5 oc6" + end, "spectral b3 ic5 i8x5 oc6" + end, "spectral b3 ic4 i8x5 oc7" + end, "spectral b3 ic4 i8x5 oc6" + std::string(operation), std::string("spectral b3 ic4 i8x5 oc6 bcij") + (*operation == '\0' ? " bwd-data" : "")}) {
            EXPECT_EQ(decided(plan_of(spectral(text))).find("cost model: "), 0u) << text << ": " << decided(plan_of(spectral(text)));
        }
        // A later table comes first, and of one table the later winner.
        ASSERT_TRUE(load_table_text("later", header_line() + record_line(timed(p, other, 1e-4, true)) + record_line(timed(p, likely, 2e-4, true))).ok());
        EXPECT_EQ(plan_of(p).variant(), likely);
        EXPECT_EQ(decided(plan_of(p)), "record: record in later");
    }
}

TEST_F(Tiers, SpectralPlansHaveNoLimitAndFollowNoRecordThatHas) {
    const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    Record r = timed(p, unlikely(p), 1e-4, true);
    r.workspace_limit = 1 << 20;
    ASSERT_TRUE(load_table_text("narrow", header_line() + record_line(r)).ok());
    EXPECT_EQ(decided(plan_of(p)).find("cost model: "), 0u) << decided(plan_of(p));
}

TEST_F(Tiers, SpectralChoicesDoNotDependOnThreads) {
    const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    const std::string likely = plan_of(p).variant(), other = unlikely(p);
    Record two = timed(p, likely, 1e-4, true);
    two.threads = 2;
    for (const auto &lines : {record_line(timed(p, other, 1e-4, true)) + record_line(two), record_line(two) + record_line(timed(p, other, 1e-4, true))}) {
        unload_tables(false);
        ASSERT_TRUE(load_table_text("mine", header_line() + lines).ok());
        for (int threads : {1, 2, 3}) {
            EXPECT_EQ(plan_of(p, {threads, ""}).variant(), other) << threads;
        }
    }
    unload_tables(false);
    two.choice = "spectral " + other;
    two.variants = timed(p, other, 1e-4, true).variants;
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(two)).ok());
    EXPECT_EQ(plan_of(p, {1, ""}).variant(), other) << "another number of threads is a distance, no condition";
}

TEST_F(Tiers, SpectralRecordsOfOtherMachinesAndCode) {
    const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    const std::string likely = plan_of(p).variant(), other = unlikely(p);
    const auto chosen = [&](const Record &r) {
        unload_tables(false);
        const Result<TableInfo> info = load_table_text("theirs", header_line() + record_line(r));
        EXPECT_TRUE(info.ok());
        EXPECT_EQ(info->unreadable, 0);
        return std::make_pair(plan_of(p).variant(), info->stale);
    };
    Record r = timed(p, other, 1e-4, true);
    const std::vector<std::pair<std::string, std::string>> contents = r.variants;
    ASSERT_EQ(contents.size(), 1u);
    r.variants[0].second = "0123456789abcdef";
    EXPECT_EQ(chosen(r), std::make_pair(likely, 1)) << "the code is another";
    r.variants = contents;
    r.microarchitecture = machine().microarchitecture.rfind("znver", 0) == 0 ? "sapphirerapids" : "znver5";
    EXPECT_EQ(chosen(r), std::make_pair(likely, 0)) << "a stranger";
    r.microarchitecture = machine().microarchitecture;
    r.cache = CacheState::kCold;
    EXPECT_EQ(chosen(r), std::make_pair(likely, 0)) << "cold";
    r.cache = CacheState::kWarm;
    // What this problem cannot have, with sound hashes.
    const std::string foreign = plan_of(parse_problem("b2 ic20 i15x18 oc24 f3 p1")).choice();
    r.choice = "spectral" + foreign.substr(foreign.find(' '));
    r.variants = choice_contents(r.choice, r.isa);
    EXPECT_EQ(chosen(r), std::make_pair(likely, 0));
    r.choice = foreign;
    EXPECT_EQ(chosen(r), std::make_pair(likely, 1)) << "a convolution's choice";
    const SpectralProblem last = spectral("spectral b3 ic4 i8x5 oc6");
    for (const SpectralCandidate &c : spectral_candidates(p)) {
        unload_tables(false);
        const std::string before = plan_of(last).variant();
        ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(last, c.variant, 1e-4, true))).ok());
        EXPECT_EQ(plan_of(last).variant(), c.variant.find("complex_multiply") == 0 ? before : c.variant);
    }
    if (const std::vector<std::string> kin = relatives(); !kin.empty()) {
        Record near = timed(p, other, 1e-4, true);
        near.microarchitecture = kin.front();
        EXPECT_EQ(chosen(near), std::make_pair(other, 0));
        EXPECT_EQ(decided(plan_of(p)), "family: record in theirs, measured on " + kin.front());
        // Of convolutions it says nothing, not even which relative to ask.
        EXPECT_EQ(plan_of(parse_problem("b2 ic20 i15x18 oc24 f3 p1")).decided_by(), "least time by the cost model");
        ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(spectral("spectral b4 ic4 i8x5 oc6 bcij"), likely, 1e-4, true))).ok());
        EXPECT_EQ(plan_of(p).variant(), likely) << "a neighbour here comes before a relative's record";
    }
}

TEST_F(Tiers, ALayerComparesTwoPassesWithWhatWasMeasured) {
    const auto separable = [](const Conv2dProblem &p) {
        const std::vector<float> box(static_cast<size_t>(p.filter_elements()), 0.125f);
        const Result<Conv2dLayer> layer = Conv2dLayer::create(p, box.data(), nullptr, one_thread());
        EXPECT_TRUE(layer.ok()) << layer.status().message();
        return layer.ok() && layer->separable();
    };
    const Conv2dProblem large = parse_problem("b1 ic1 i300x400 oc1 f9 p4"), small = parse_problem("b1 ic1 i100 oc1 f3 p1");
    ASSERT_TRUE(separable(large));
    ASSERT_FALSE(separable(small));
    const std::string chosen = plan_of(large, one_thread()).choice();
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(large, chosen, 1e-7, true, 1e-7))).ok());
    EXPECT_FALSE(separable(large)) << "the plan was measured to be faster";
    unload_tables(false);
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(small, plan_of(small, one_thread()).choice(), 1.0, true, 1.0))).ok());
    EXPECT_TRUE(separable(small)) << "the plan was measured to be slower";
}

TEST_F(Blocked, NamesAreNotChosenButMayBeNamed) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const Plan first = plan_of(p);
    ASSERT_TRUE(block_choices({first.variant()}).ok());
    EXPECT_NE(plan_of(p).variant(), first.variant());
    ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(p, first.choice(), 1e-5, true))).ok());
    EXPECT_NE(plan_of(p).variant(), first.variant()) << "not by a record either";
    PlanOptions named;
    named.choice = first.choice();
    EXPECT_EQ(plan_of(p, named).choice(), first.choice());
    ASSERT_TRUE(block_choices({to_string(first.algorithm())}).ok());
    EXPECT_NE(plan_of(p).algorithm(), first.algorithm());
    ASSERT_TRUE(block_choices({}).ok());
    EXPECT_EQ(plan_of(p).variant(), first.variant());
    EXPECT_EQ(block_choices({"abacus"}).code(), StatusCode::kInvalidArgument);
    // What exists on another rung, or for a GPU, is known.
    std::vector<VariantInfo> all = list_variants();
    const std::vector<VariantInfo> devices = list_device_variants();
    all.insert(all.end(), devices.begin(), devices.end());
    PlanOptions options;
    for (const VariantInfo &v : all) {
        if (!v.runnable) {
            options.blocked.push_back(v.name);
        }
    }
    EXPECT_EQ(plan_of(p, options).choice(), first.choice());
    EXPECT_TRUE(block_choices(options.blocked).ok());
    ASSERT_TRUE(block_choices({}).ok());
    const std::string variant = list_variants().front().name, mistyped = variant + "_m99";
    for (const std::string &name : {std::string("abacus"), std::string("winogrd"), mistyped, std::string()}) {
        options.blocked = {"fft", name};
        named.blocked = options.blocked;
        for (const Status &status : {Plan::create(p, options).status(), Plan::create(p, named).status(), explain(p, options).status(), list_choices(p, options).status(), block_choices(options.blocked)}) {
            EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
            EXPECT_NE(status.message().find("'" + name + "' is neither"), std::string::npos) << status.message();
            EXPECT_NE(status.message().find("winograd"), std::string::npos) << status.message();
            EXPECT_EQ(status.message().find("there is '" + variant + "'") != std::string::npos, name == mistyped) << status.message();
        }
    }
}

TEST_F(Blocked, SpectralVariantsToo) {
    for (const char *order : {"", " bcij"}) {
        const SpectralProblem p = spectral(std::string("spectral b3 ic4 i8x5 oc6") + order), near = spectral(std::string("spectral b3 ic4 i8x6 oc6") + order);
        const std::string first = plan_of(p).variant();
        std::vector<std::string> barred;
        for (size_t i = 0; i < spectral_candidates(p).size(); i++) {
            const std::string chosen = plan_of(p).variant();
            EXPECT_EQ(std::count(barred.begin(), barred.end(), chosen), 0) << chosen;
            barred.push_back(chosen);
            ASSERT_TRUE(block_choices(barred).ok());
        }
        const Status none = SpectralPlan::create(p).status();
        EXPECT_EQ(none.code(), StatusCode::kUnsupported);
        EXPECT_NE(none.message().find("left by the block-list"), std::string::npos) << none.message();
        EXPECT_EQ(plan_of(p, {0, first}).variant(), first) << "who names it gets it";
        // Nor by a record, which may be of the only variant there is; the next nearest record decides then.
        ASSERT_TRUE(load_table_text("mine", header_line() + record_line(timed(p, first, 1e-4, true)) + record_line(timed(near, barred.back(), 1e-4, true))).ok());
        EXPECT_EQ(SpectralPlan::create(p).status().code(), StatusCode::kUnsupported);
        ASSERT_TRUE(block_choices({first}).ok());
        if (barred.size() > 1) {
            EXPECT_EQ(plan_of(p).variant(), barred.back());
            EXPECT_EQ(decided(plan_of(p)), "neighbours: the nearest record, of '" + near.to_string() + "', in mine");
        }
        ASSERT_TRUE(block_choices({}).ok());
        EXPECT_EQ(plan_of(p).variant(), first);
        unload_tables(false);
    }
}

TEST_F(Choices, EffortMeasureMeasuresOnceAndRemembers) {
    const Conv2dProblem p = parse_problem("b1 ic8 i16 oc16 f3 p1");
    PlanOptions options;
    options.effort = Effort::kMeasure;
    options.threads = 1;
    const Plan plan = plan_of(p, options);
    EXPECT_EQ(plan.tier(), Tier::kRecord);
    EXPECT_NE(plan.decided_by().find("this process"), std::string::npos) << plan.decided_by();
    EXPECT_EQ(plan_of(p).choice(), plan.choice()) << "remembered";
    Operands operands(p, 3);
    EXPECT_TRUE(run_plan(plan, operands).ok());
}

TEST_F(Choices, EffortMeasureMeasuresForTheThreadsThatAreAsked) {
    const Conv2dProblem p = parse_problem("b1 ic8 i16 oc16 f3 p1");
    Record two = timed(p, unlikely(p), 1e-9, true);
    two.threads = 2;
    ASSERT_TRUE(load_table_text("of two threads", header_line() + record_line(two)).ok());
    PlanOptions options;
    options.effort = Effort::kMeasure;
    options.threads = 1;
    const Plan plan = plan_of(p, options);
    EXPECT_NE(plan.decided_by().find("this process"), std::string::npos) << plan.decided_by();
    // What is there is not measured again.
    options.choose_for_threads = true;
    options.threads = 2;
    EXPECT_NE(plan_of(p, options).decided_by().find("of two threads"), std::string::npos) << plan_of(p, options).decided_by();
}

TEST_F(Choices, EffortMeasureOfColumns) {
    for (const char *text : {"fold b1 ic8 i16 f3 p1", "unfold b1 ic8 i16 f3 p1"}) {
        PlanOptions options;
        options.effort = Effort::kMeasure;
        EXPECT_TRUE(Plan::create(parse_problem(text), options).ok()) << text;
    }
}

/// A table with everything in it, as lines.
std::string sound_table() {
    std::string text = header_line();
    for (const char *line : kProblems) {
        const Conv2dProblem p = parse_problem(line);
        for (const Candidate &c : choices_of(p, one_thread())) {
            text += record_line(timed(p, c.choice, c.predicted_seconds, false, c.predicted_seconds));
        }
    }
    const SpectralProblem product = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    for (const SpectralCandidate &c : spectral_candidates(product)) {
        text += record_line(timed(product, c.variant, c.predicted, true));
    }
    return text;
}

/// Whatever was loaded, plans are made, and are right.
void expect_sane(const std::string &what) {
    for (const char *text : {"b2 ic20 i15x18 oc24 f3 p1", "b1 ic8 i16 oc12 f3 s2 p1 nhwc"}) {
        const Conv2dProblem p = parse_problem(text);
        const Result<Plan> plan = Plan::create(p);
        ASSERT_TRUE(plan.ok()) << what << ": " << plan.status().message();
        Operands operands(p, 5);
        ASSERT_TRUE(run_plan(*plan, operands).ok()) << what;
        EXPECT_TRUE(matches(operands, operands.expected(), 2e-5)) << what;
    }
    // x = w = 1: each sum is that of the 4 channels.
    const SpectralPlan product = plan_of(spectral("spectral b3 ic4 i8x5 oc6 bcij"));
    const std::vector<Complex> x(3 * 4 * 40, 1.0f), w(6 * 4 * 40, 1.0f);
    std::vector<Complex> y(3 * 6 * 40);
    SpectralTensors tensors;
    tensors.input = x.data();
    tensors.filters = SpectralFilters(w.data());
    tensors.output = y.data();
    const AlignedBuffer workspace(product.workspace_bytes_unpacked());
    ASSERT_TRUE(product.execute(tensors, workspace).ok()) << what;
    EXPECT_EQ(y, std::vector<Complex>(y.size(), 4.0f)) << what;
}

TEST_F(Hostile, TruncatedAnywhere) {
    const std::string text = sound_table();
    for (size_t i = 0; i < 60; i++) {
        const size_t length = i < 45 ? i : text.size() * (i - 44) / 16 - i;
        const Result<TableInfo> info = load_table_text("cut", text.substr(0, length));
        if (info.ok()) {
            EXPECT_LE(info->unreadable, 0);
        } else {
            EXPECT_EQ(info.status().code(), StatusCode::kInvalidArgument);
            EXPECT_LT(length, header_line().size());
        }
    }
    expect_sane("truncated");
}

TEST_F(Hostile, CorruptedBytes) {
    const std::string text = sound_table();
    Random random(test_seed());
    for (int repeat = 0; repeat < 100; repeat++) {
        std::string bad = text;
        for (int i = 0; i < 30; i++) {
            bad[static_cast<size_t>(random.between(0, static_cast<int64_t>(bad.size()) - 1))] = static_cast<char>(random.between(0, 255));
        }
        const Result<TableInfo> info = load_table_text("corrupted", bad);
        EXPECT_TRUE(info.ok() || info.status().code() == StatusCode::kInvalidArgument);
    }
    expect_sane("corrupted, seed " + std::to_string(test_seed()));
}

TEST_F(Hostile, ForeignFiles) {
    for (const std::string &text : {std::string(), std::string("\n\n"), std::string("hello\n"), std::string("{}\n"), std::string("[]\n"), std::string("{\"format\":\"other\",\"version\":1}\n"),
                                    std::string("{\"format\":\"fourfold-records\",\"version\":999}\n"), std::string("{\"format\":7}\n"), std::string(100000, '{'), std::string(100000, '[') + "\n", std::string("\0\1\2\n", 4)}) {
        const Result<TableInfo> info = load_table_text("foreign", text);
        EXPECT_FALSE(info.ok()) << text.substr(0, 40);
    }
    EXPECT_EQ(load_table("/no/such/table.json").status().code(), StatusCode::kInvalidArgument);
    EXPECT_FALSE(load_table("/").ok());
}

TEST_F(Hostile, LinesThatAreAlmostRecords) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    Record whole = timed(p, unlikely(p), 1e-4, true);
    whole.halves = {1e-4, 2e-4};
    whole.workspace_limit = 4096;
    const std::string good = record_line(whole);
    const std::pair<const char *, const char *> edits[] = {
        {"\"threads\":1", "\"threads\":0"}, {"\"threads\":1", "\"threads\":1e30"}, {"\"threads\":1", "\"threads\":\"1\""}, {"\"ms_min\":0.1", "\"ms_min\":-1"}, {"\"ms_min\":0.1", "\"ms_min\":0"}, {"\"ms_min\":0.1", "\"ms_min\":1e999"}, {"\"ms_min\":0.1", "\"ms_min\":null"}, {"\"ms_halves\":[0.1,0.2]", "\"ms_halves\":[0.1]"}, {"\"ms_halves\":[0.1,0.2]", "\"ms_halves\":[0.1,-0.2]"}, {"\"ms_halves\":[0.1,0.2]", "\"ms_halves\":[0.1,\"0.2\"]"}, {"\"samples\":10", "\"samples\":-3"}, {"\"samples\":10", "\"samples\":18446744073709551615"}, {"\"role\":\"winner\"", "\"role\":\"king\""}, {"\"cache\":\"warm\"", "\"cache\":\"hot\""}, {"\"accuracy\":\"default\"", "\"accuracy\":\"\""}, {"fwd b2", "fwd b0"}, {"fwd b2", "fwd b99999999999999999999"}, {"fwd b2", "jump b2"}, {"\"choice\":\"", "\"choice\":\"\\u001b[31m"}, {"\"workspace_limit\":4096", "\"workspace_limit\":-1"}, {"\"workspace_limit\":4096", "\"workspace_limit\":\"4K\""}, {"\"workspace_limit\":4096", "\"workspace_limit\":18446744073709551615"}, {"\"variants\":{", "\"variants\":[{"}, {"oc24", "oc24 g7"}};
    for (const auto &[from, to] : edits) {
        std::string bad = good;
        const size_t at = bad.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        bad.replace(at, std::string(from).size(), to);
        unload_tables(false);
        const Result<TableInfo> info = load_table_text("almost", header_line() + bad + good);
        ASSERT_TRUE(info.ok()) << to;
        EXPECT_EQ(info->unreadable, 1) << to;
        EXPECT_EQ(info->records, 1) << to << ": the sound line after it still counts";
    }
    // A choice that this problem cannot have, with sound hashes.
    Record impossible = timed(p, plan_of(parse_problem("b2 ic16 i14 oc16 f3 p1 g16")).choice(), 1e-9, true);
    unload_tables(false);
    ASSERT_TRUE(load_table_text("impossible", header_line() + record_line(impossible)).ok());
    expect_sane("impossible");
    // Unknown fields and unknown lines are let be.
    std::string more = good;
    more.insert(1, "\"colour\":{\"deep\":[1,2,3]},");
    unload_tables(false);
    const Result<TableInfo> info = load_table_text("later version", header_line() + "{\"comment\":\"of a later version\"}\n" + more);
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->records, 1);
    EXPECT_EQ(info->unreadable, 0);
}

TEST_F(Hostile, LinesThatAreAlmostSpectralRecords) {
    const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    const std::string other = unlikely(p), likely = plan_of(p).variant();
    const std::string good = record_line(timed(p, other, 1e-4, true));
    Record read;
    std::string reason;
    ASSERT_EQ(parse_record_line(good, read, reason), LineKind::kRecord) << reason;
    EXPECT_EQ(record_line(read), good);
    const std::pair<const char *, const char *> edits[] = {{"\"kind\":\"spectral\",", ""}, {"\"kind\":\"spectral\"", "\"kind\":\"\\u001b[31m\""}, {"\"kind\":\"spectral\"", "\"kind\":[\"spectral\"]"}, {"spectral b3", "spectral b0"}, {"spectral b3", "b3"}, {"i8x5", "i8x99999999999999999999"}, {"i8x5", "i8x281474976710657"},
                                                           {"oc6", "oc6 f3x3"}, {"oc6 bcij", "oc6 fold bcij"}, {"bcij", "bcij bijc"}, {"\"ms_min\":0.1", "\"ms_min\":0"}, {"\"threads\":1", "\"threads\":0"}, {"\"choice\":\"spectral ", "\"choice\":\""}};
    for (const auto &[from, to] : edits) {
        std::string bad = good;
        const size_t at = bad.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        bad.replace(at, std::string(from).size(), to);
        unload_tables(false);
        const Result<TableInfo> info = load_table_text("almost", header_line() + bad);
        ASSERT_TRUE(info.ok()) << to;
        EXPECT_EQ(info->unreadable + info->stale, 1) << from << " -> " << to;
        EXPECT_EQ(plan_of(p).variant(), likely) << to;
        EXPECT_EQ(load_table_text("sound", header_line() + bad + good)->records, 1) << to << ": the sound line after it still counts";
        EXPECT_EQ(plan_of(p).variant(), other) << to;
    }
    // A writer may be killed after any byte.
    for (size_t length = 0; length < good.size(); length++) {
        unload_tables(false);
        const Result<TableInfo> info = load_table_text("cut", header_line() + good.substr(0, length));
        ASSERT_TRUE(info.ok());
        EXPECT_EQ(info->records + info->unreadable, 0) << length;
        EXPECT_EQ(plan_of(p).variant(), likely) << length;
    }
}

TEST_F(Hostile, RecordsOfUnknownKindsAreCountedAndKept) {
    const TemporaryFolder folder;
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const SpectralProblem s = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    const std::string unknown = "{\"problem\":\"attention b1 h8\",\"kind\":\"attention\",\"choice\":\"flash\",\"colour\":[1,2]}\n", other = "{\"kind\":7}\n";
    const std::string text = header_line() + unknown + record_line(timed(p, unlikely(p), 1e-4, true)) + other + record_line(timed(s, unlikely(s), 1e-4, true)) + unknown;
    const Result<TableInfo> info = load_table_text("later version", text);
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->summary(), "2 records; skipped: 3 unreadable");
    EXPECT_EQ(plan_of(p).tier(), Tier::kRecord);
    EXPECT_EQ(decided(plan_of(s)), "record: record in later version");
    const ReadTable read = read_table(text);
    EXPECT_EQ(read.records.size(), 2u);
    EXPECT_EQ(read.first_reason, "a record of a kind that this version does not know");
    write_bytes(folder / "t.json", text);
    const Result<std::string> merged = merge_tables({folder / "t.json"});
    ASSERT_TRUE(merged.ok());
    for (const std::string &line : {unknown, other}) {
        EXPECT_NE(merged->find(line), std::string::npos) << line;
    }
    EXPECT_EQ(std::count(merged->begin(), merged->end(), '\n'), 5) << "each once";
    write_bytes(folder / "m.json", *merged);
    EXPECT_EQ(*merge_tables({folder / "m.json", folder / "t.json"}), *merged) << "merging again changes nothing";
    EXPECT_EQ(read_table(*merged).records.size(), 2u);
    // Embedded, spectral records are what they were.
    const Outcome outcome = spawn({FOURFOLD_EMBED_TABLES, folder / "out.cpp", folder / "t.json"});
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("3 lines are left out"), std::string::npos) << outcome.err;
    EXPECT_NE(read_bytes(folder / "out.cpp").find("\"spectral b3 ic4 i8x5 oc6 bcij\\0\""), std::string::npos);
}

TEST_F(Hostile, MergeTellsSpectralProductsApart) {
    const TemporaryFolder folder;
    const SpectralProblem p = spectral("spectral b3 ic4 i8x5 oc6 bcij");
    const std::string likely = plan_of(p).variant(), other = unlikely(p);
    SpectralProblem data = p;
    data.operation = Operation::kBackwardData;
    write_bytes(folder / "a.json", header_line() + record_line(timed(p, likely, 1e-4, true)) + record_line(timed(data, likely, 1e-4, true)));
    write_bytes(folder / "b.json", header_line() + record_line(timed(p, other, 5e-5, true)) + record_line(timed(p, likely, 1e-4, false)));
    const Result<std::string> merged = merge_tables({folder / "a.json", folder / "b.json"});
    ASSERT_TRUE(merged.ok());
    EXPECT_EQ(read_table(*merged).records.size(), 3u);
    unload_tables(false);
    ASSERT_TRUE(load_table_text("merged", *merged).ok());
    EXPECT_EQ(plan_of(p).variant(), other) << "the later table's winner";
    EXPECT_EQ(plan_of(data).variant(), likely);
    EXPECT_EQ(decided(plan_of(data)), "record: record in merged");
}

TEST_F(Hostile, AbsurdTimesCannotBreakTheRanking) {
    const Conv2dProblem p = parse_problem("b2 ic20 i20 oc24 f3 p1");
    std::string text = header_line();
    for (int i : {16, 18, 19, 21, 22, 24}) {
        Conv2dProblem near = p;
        near.in_height = near.in_width = i;
        for (const Candidate &c : choices_of(near)) {
            text += record_line(timed(near, c.choice, 1e5, true, 2e-12));
            text += record_line(timed(near, c.choice, 1e8, true, 1e-301));  // their ratio is not a number that doubles have
        }
    }
    ASSERT_TRUE(load_table_text("absurd", text).ok());
    expect_sane("absurd");
    EXPECT_TRUE(Plan::create(p).ok());
    for (const Candidate &c : choices_of(p)) {
        EXPECT_TRUE(std::isfinite(c.corrected_seconds)) << c.choice;
    }
}

TEST_F(Hostile, MergeKeepsUnknownFieldsAndTheBetterMeasured) {
    const TemporaryFolder folder;
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::vector<Candidate> list = choices_of(p);
    Record first = timed(p, list[0].choice, 1e-4, true), better = timed(p, list[1].choice, 5e-5, true), hasty = timed(p, list[0].choice, 9e-5, false);
    hasty.samples = 1;
    std::string line = record_line(first);
    line.insert(1, "\"colour\":\"blue\",");
    write_bytes(folder / "a.json", header_line() + line);
    write_bytes(folder / "b.json", header_line() + record_line(better) + record_line(hasty) + "{\"torn");
    const Result<std::string> merged = merge_tables({folder / "a.json", folder / "b.json"});
    ASSERT_TRUE(merged.ok()) << merged.status().message();
    EXPECT_NE(merged->find("\"colour\":\"blue\""), std::string::npos);
    EXPECT_EQ(merged->find("torn"), std::string::npos);
    ASSERT_TRUE(load_table_text("merged", *merged).ok());
    EXPECT_EQ(plan_of(p).choice(), list[1].choice) << "the later table's winner";
    write_bytes(folder / "merged.json", *merged);
    const Result<std::string> again = merge_tables({folder / "merged.json", folder / "merged.json"});
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(*again, *merged) << "merging with itself changes nothing";
}

TEST_F(Hostile, MergeKeepsWhatThisBuildHasThenTheLaterThenTheBetterMeasured) {
    const TemporaryFolder folder;
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::vector<Candidate> list = choices_of(p);
    const auto merged = [&](const std::vector<std::string> &tables) {
        std::vector<std::string> paths;
        for (const std::string &lines : tables) {
            paths.push_back(folder / std::to_string(paths.size()));
            write_bytes(paths.back(), header_line() + lines);
        }
        const Result<std::string> text = merge_tables(paths);
        EXPECT_TRUE(text.ok());
        return read_table(*text).records;
    };
    const auto dated = [](const Record &r, const std::string &date) {
        std::string line = record_line(r);
        const size_t at = line.find("\"date\":\"") + 8;
        return line.replace(at, 10, date);
    };
    Record now = timed(p, list[0].choice, 2e-4, true), stale = timed(p, list[0].choice, 1e-4, true), rival = timed(p, list[1].choice, 3e-4, true);
    now.samples = 5;
    stale.samples = 100;
    stale.variants[0].second = "0123456789abcdef";
    for (const auto &tables : {std::vector<std::string>{record_line(now), dated(stale, "2999-01-01")}, {dated(stale, "2999-01-01"), record_line(now)}}) {
        const std::vector<Record> records = merged(tables);
        ASSERT_EQ(records.size(), 1u);
        EXPECT_TRUE(is_current(records[0]));
        EXPECT_EQ(records[0].samples, 5);
    }
    // Nor is it the winner beside one that is current.
    Record old_winner = timed(p, list[2].choice, 1e-5, true);
    old_winner.variants[0].second = "0123456789abcdef";
    for (const Record &r : merged({record_line(rival), record_line(old_winner)})) {
        EXPECT_EQ(r.winner, r.choice == rival.choice);
    }
    // Of the same code the later, whatever the files' order; of one day more samples; the winner is the later one's.
    Record more = now;
    more.samples = 50;
    more.winner = false;
    for (const auto &tables : {std::vector<std::string>{dated(now, "2026-02-01"), dated(more, "2026-01-01") + dated(rival, "2026-01-01")}, {dated(more, "2026-01-01") + dated(rival, "2026-01-01"), dated(now, "2026-02-01")}}) {
        const std::vector<Record> records = merged(tables);
        ASSERT_EQ(records.size(), 2u);
        for (const Record &r : records) {
            EXPECT_EQ(r.winner, r.choice == now.choice);
            EXPECT_EQ(r.samples, r.choice == now.choice ? 5 : 10);
        }
    }
    for (const auto &tables : {std::vector<std::string>{record_line(now), record_line(more)}, {record_line(more), record_line(now)}}) {
        const std::vector<Record> records = merged(tables);
        ASSERT_EQ(records.size(), 1u);
        EXPECT_EQ(records[0].samples, 50);
        EXPECT_TRUE(records[0].winner) << "one winner stays, though its better times came from a table that says nothing of it";
    }
    Record failed = more;
    failed.failure = "crash";
    const std::vector<Record> broken = merged({dated(now, "2026-01-01"), dated(failed, "2026-02-01")});
    ASSERT_EQ(broken.size(), 1u);
    EXPECT_FALSE(broken[0].winner || broken[0].failure.empty());
}

TEST(Appending, ATornTailGoesWithTheNextWrite) {
    const TemporaryFolder folder;
    const std::string path = folder / "t.json";
    const Conv2dProblem p = parse_problem("b1 ic4 i12 oc4 f3 p1");
    const std::string one = record_line(timed(p, "direct", 1e-4, true)), two = record_line(timed(p, "im2col", 1e-4, false));
    const std::string whole = header_line() + one + two;
    ASSERT_TRUE(append_lines(path, one, true).ok());
    ASSERT_TRUE(append_lines(path, two, false).ok());
    EXPECT_EQ(read_bytes(path), whole);
    // A writer may be killed after any byte.
    for (size_t length = 0; length <= whole.size(); length++) {
        write_bytes(path, whole.substr(0, length));
        ASSERT_TRUE(append_lines(path, two, true).ok());
        const ReadTable table = read_table(read_bytes(path));
        EXPECT_TRUE(table.header) << length;
        EXPECT_EQ(table.unreadable, 0) << length;
        EXPECT_FALSE(table.torn) << length;
        // A line that lacks its newline only is not lost either.
        const size_t lines = (length + 1 >= header_line().size() + one.size()) + (length + 1 >= whole.size());
        EXPECT_EQ(table.records.size(), lines + 1) << length;
    }
    EXPECT_EQ(folder.files(), std::vector<std::string>{"t.json"});
}

TEST(Embedding, LeavesOutWhatIsTornAndSaysSo) {
    const TemporaryFolder folder;
    const Conv2dProblem p = parse_problem("b1 ic4 i12 oc4 f3 p1");
    const std::string line = record_line(timed(p, "direct", 1e-4, true));
    write_bytes(folder / "t.json", header_line() + line.substr(0, 40) + "\n" + line + line.substr(0, 50));
    const Outcome outcome = spawn({FOURFOLD_EMBED_TABLES, folder / "out.cpp", folder / "t.json"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_NE(outcome.err.find("warning: '" + folder / "t.json" + "': 2 lines"), std::string::npos) << outcome.err;
    const std::string source = read_bytes(folder / "out.cpp");
    EXPECT_NE(source.find("{\"t.json\", table2, 1, text2}"), std::string::npos) << source;
    write_bytes(folder / "t.json", "hello\n");
    EXPECT_EQ(spawn({FOURFOLD_EMBED_TABLES, folder / "out.cpp", folder / "t.json"}).exit_code, 1);
}

TEST(Embedding, OnDemandRecordsOfThisLevelOnly) {
    std::string text;
    const auto place = [&](const std::string &words) {
        text += words + '\0';
        return static_cast<uint32_t>(text.size() - words.size() - 1);
    };
    EmbeddedRecord own = {};
    own.problem = place("fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1");
    own.microarchitecture = place("some");
    own.isa = place(to_string(best_isa()));
    own.choice = place("naive");
    own.variants = place("");
    own.threads = 1;
    own.seconds_min = own.seconds_predicted = 1e-3;
    EmbeddedRecord foreign = own;
    foreign.isa = place("abacus");
    const EmbeddedRecord rows[] = {foreign, own, foreign, foreign, own};
    const EmbeddedTable table = {"some", rows, 5, text.c_str()};
    EXPECT_EQ(records_of(table).size(), 5u);
    const std::vector<Record> ours = records_of(table, true);
    ASSERT_EQ(ours.size(), 2u);
    for (const Record &r : ours) {
        EXPECT_EQ(r.isa, to_string(best_isa()));
    }
}

/// The shipped tables are read when first asked for, or when they come back, with the same outcome: of each every record is in use, stale or foreign.
TEST(Embedding, EveryShippedRecordIsCounted) {
    unload_tables();
    const std::vector<TableInfo> loaded = tables();
    ASSERT_EQ(loaded.size(), embedded_tables().size());
    for (size_t i = 0; i < loaded.size(); i++) {
        EXPECT_TRUE(loaded[i].shipped);
        EXPECT_EQ(loaded[i].name, embedded_tables()[i].name);
        EXPECT_EQ(static_cast<size_t>(loaded[i].records + loaded[i].stale + loaded[i].foreign), embedded_tables()[i].count) << loaded[i].name << ": " << loaded[i].summary();
    }
}

TEST(Embedding, ASpectralProductsRecordHasNoConvolution) {
    const std::string convolution = "fwd b1 ic4 i12x12 oc8 f3x3 p1,1,1,1", spectral_product = "spectral b3 ic4 i8x5 oc6 bcij";
    std::string text;
    const auto place = [&](const std::string &words) {
        text += words + '\0';
        return static_cast<uint32_t>(text.size() - words.size() - 1);
    };
    EmbeddedRecord layer = {};
    layer.problem = place(convolution);
    layer.microarchitecture = place("znver5");
    layer.isa = place("avx512");
    layer.choice = place("direct a b");
    layer.variants = place("a 01 b 23");
    layer.threads = 2;
    layer.accuracy = static_cast<int8_t>(Accuracy::kRelaxed);
    layer.cache = static_cast<int8_t>(CacheState::kCold);
    layer.winner = true;
    layer.workspace_limit = 4096;
    layer.seconds_min = 1e-3;
    layer.seconds_predicted = 2e-3;
    EmbeddedRecord product = layer;
    product.problem = place(spectral_product);
    product.choice = place("spectral a");
    const EmbeddedRecord rows[] = {layer, product, layer};
    const std::vector<Record> records = records_of({"some", rows, 3, text.c_str()});
    ASSERT_EQ(records.size(), 3u);
    ASSERT_TRUE(records[1].spectral.has_value());
    EXPECT_EQ(records[1].problem_text(), spectral_product);
    EXPECT_EQ(records[1].choice, "spectral a");
    EXPECT_TRUE(records[1].problem == Conv2dProblem()) << records[1].problem.to_string();
    for (size_t i : {0, 2}) {
        EXPECT_FALSE(records[i].spectral.has_value());
        EXPECT_EQ(records[i].problem.to_string(), convolution);
        EXPECT_EQ(records[i].microarchitecture, "znver5");
        EXPECT_EQ(records[i].isa, "avx512");
        EXPECT_EQ(records[i].choice, "direct a b");
        EXPECT_EQ(records[i].threads, 2);
        EXPECT_EQ(records[i].accuracy, Accuracy::kRelaxed);
        EXPECT_EQ(records[i].cache, CacheState::kCold);
        EXPECT_EQ(records[i].workspace_limit, 4096u);
        EXPECT_TRUE(records[i].winner);
        EXPECT_TRUE(records[i].failure.empty());
        EXPECT_EQ(records[i].seconds_min, 1e-3);
        EXPECT_EQ(records[i].variants, (std::vector<std::pair<std::string, std::string>>{{"a", "01"}, {"b", "23"}}));
    }
}

TEST_F(Tiers, TheClockIsRecordedAndNotMatched) {
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::string choice = unlikely(p);
    const Record r = timed(p, choice, 1e-4, true);
    const std::string without = record_line(r), with = record_line(r, {}, 3.1234e9);
    EXPECT_EQ(without.find("clock_mhz"), std::string::npos) << "not known";
    EXPECT_NE(with.find(",\"clock_mhz\":3123,"), std::string::npos) << with;
    std::string strange = with;
    strange.replace(strange.find("3123"), 4, "\"fast\"");
    for (const std::string &line : {without, with, strange}) {
        unload_tables(false);
        const Result<TableInfo> info = load_table_text("mine", header_line() + line);
        ASSERT_TRUE(info.ok());
        EXPECT_EQ(info->records, 1) << line;
        EXPECT_EQ(plan_of(p).tier(), Tier::kRecord);
        EXPECT_EQ(plan_of(p).choice(), choice);
    }
#if defined(__x86_64__) || defined(__aarch64__)
    EXPECT_GT(cli::measure_clock(), 1e8);
    EXPECT_LT(cli::measure_clock(), 1e10);
#else
    EXPECT_EQ(cli::measure_clock(), 0.0);
#endif
}

TEST(Journals, HoldEverySampleOfTheCodeAsItIs) {
    const TemporaryFolder folder;
    const std::string path = folder / "t.json.journal";
    const Conv2dProblem p = parse_problem("b2 ic20 i15x18 oc24 f3 p1");
    const std::vector<Candidate> list = choices_of(p);
    const std::string &a = list[0].choice, &b = list[1].choice;
    ASSERT_FALSE(make_record(p, one_thread(), a).variants.empty());
    Journal writer(path);
    const auto samples = [&] {
        Journal reader(path);
        EXPECT_TRUE(reader.load().ok());
        return reader.left("key", a, 64).samples;
    };
    std::vector<double> written;
    for (double s : {1e-3, 2e-3, 3e-3}) {
        ASSERT_TRUE(writer.sample("key", a, 64, s).ok());
        written.push_back(s);
        EXPECT_EQ(samples(), written) << "on the disk before the next is taken";
    }
    ASSERT_TRUE(writer.failure("key", b, 0, {"crash", "signal 11"}).ok());
    // Half a line, as a killed writer leaves it.
    const std::string whole = read_bytes(path);
    write_bytes(path, whole + "{\"key\":\"key\",\"cho");
    EXPECT_EQ(samples(), written);
    ASSERT_TRUE(writer.sample("other", a, 64, 4e-3).ok());
    Journal reader(path);
    const Result<int> none = reader.load();
    ASSERT_TRUE(none.ok());
    EXPECT_EQ(*none, 0);
    EXPECT_EQ(reader.left("key", b, 0).failure, "crash");
    EXPECT_EQ(reader.left("other", a, 64).samples, std::vector<double>{4e-3});
    // With other memory it is another plan.
    EXPECT_TRUE(reader.left("key", a, 32).samples.empty());
    EXPECT_EQ(reader.left("key", b, 64).failure, "");
    // What there was to beat when the tune began, for a run that goes on.
    constexpr uint64_t none_given = std::numeric_limits<uint64_t>::max();
    ASSERT_TRUE(writer.begun("key", a, none_given).ok());
    ASSERT_TRUE(writer.begun("key", b, 100).ok());
    Journal resumed(path);
    ASSERT_TRUE(resumed.load().ok());
    EXPECT_EQ(resumed.incumbents("key"), (std::map<uint64_t, std::string>{{100, b}, {none_given, a}}));
    EXPECT_TRUE(resumed.incumbents("other").empty());
    // Another build: every line of the choice whose variants have changed goes, from the file too.
    std::string text = read_bytes(path);
    const std::string mark = "\"choice\":\"" + a + "\",\"contents\":\"";
    for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
        text.replace(at + mark.size(), 16, "0123456789abcdef");
    }
    const std::string begun = "\"before\":\"" + a + "\",\"contents\":\"";
    text.replace(text.find(begun) + begun.size(), 16, "0123456789abcdef");
    write_bytes(path, text + "{\"key\":\"key\",\"choice\":\"direct\",\"s\":1}\n");
    Journal later(path);
    const Result<int> dropped = later.load();
    ASSERT_TRUE(dropped.ok());
    EXPECT_EQ(*dropped, 6) << "four samples of it, what there was to beat, and one that does not say what it was measured with";
    EXPECT_EQ(later.incumbents("key"), (std::map<uint64_t, std::string>{{100, b}}));
    EXPECT_TRUE(later.left("key", a, 64).samples.empty());
    EXPECT_EQ(later.left("key", b, 0).failure, "crash");
    Journal again(path);
    EXPECT_EQ(*again.load(), 0);
    EXPECT_EQ(again.left("key", b, 0).failure, "crash");
}

}  // namespace
}  // namespace fourfold::test
