// How soon a tune finds what it gains, on an invented clock.
#include "gain.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "records.h"
#include "support/problems.h"
#include "support/spawn.h"

namespace fourfold::test {
namespace {

using namespace fourfold::cli;

TEST(Gain, CountsWhatLeadsAsItMeasuresInTheEnd) {
    GainTrace trace;
    trace.incumbent = "old";
    trace.winner = "new";
    trace.samples = {{1.0, "old", 4.0}, {2.0, "middle", 2.5}, {3.0, "middle", 2.0}, {4.0, "new", 3.0}, {5.0, "new", 1.0}};
    const std::vector<GainTrace> one = {trace};
    EXPECT_NEAR(total_gain(one), std::log(4.0), 1e-12);
    EXPECT_EQ(gain_found(one, 0.5), 0.0);
    EXPECT_EQ(gain_found(one, 1.0), 0.0) << "the incumbent gains nothing";
    EXPECT_NEAR(gain_found(one, 2.0), 0.5, 1e-12) << "twice as fast, of four times";
    EXPECT_NEAR(gain_found(one, 4.5), 0.5, 1e-12) << "nobody knew yet";
    EXPECT_NEAR(gain_found(one, 5.0), 1.0, 1e-12);
}

TEST(Gain, IsTheWinnersAndNoMore) {
    GainTrace kept;  // what led was not confirmed
    kept.incumbent = kept.winner = "old";
    kept.samples = {{1.0, "old", 2.0}, {2.0, "lucky", 1.0}};
    GainTrace tie;  // the winner needs less memory, and is a little slower than the fastest
    tie.incumbent = "old";
    tie.winner = "small";
    tie.samples = {{1.0, "old", 2.0}, {2.0, "large", 0.99}, {9.0, "small", 1.0}};
    GainTrace broken;  // the incumbent has no time
    broken.incumbent = "gone";
    broken.winner = "new";
    broken.samples = {{1.0, "new", 1.0}};
    const std::vector<GainTrace> all = {kept, tie, broken};
    EXPECT_NEAR(total_gain(all), std::log(2.0), 1e-12);
    EXPECT_EQ(gain_found(all, 1.5), 0.0);
    EXPECT_EQ(gain_found(all, 2.0), 1.0);
    EXPECT_EQ(total_gain({kept}), 0.0);
    EXPECT_EQ(gain_found({kept}, 0.0), 1.0) << "nothing to find";
    EXPECT_EQ(total_gain({}), 0.0);
}

/// A tune that is interrupted and continued an hour later: only the time that it ran counts.
TEST(Gain, IsReadFromTheJournalOfAllRuns) {
    const TemporaryFolder folder;
    const std::string path = folder / "t.json.journal";
    PlanOptions options;
    options.threads = 1;
    const Result<std::vector<Candidate>> choices = list_choices(parse_problem("b2 ic20 i15x18 oc24 f3 p1"), options);
    ASSERT_TRUE(choices.ok() && choices->size() >= 3);
    const std::string &a = (*choices)[0].choice, &b = (*choices)[1].choice, &c = (*choices)[2].choice;
    double clock = 1000.0;
    const auto tick = [&] { return clock; };
    {
        Journal journal(path, tick);
        ASSERT_TRUE(journal.sample("one", a, 0, 2.0).ok());
        clock += 100.0;
        ASSERT_TRUE(journal.sample("one", c, 0, 0.1).ok());
        ASSERT_TRUE(journal.failure("one", c, 0, {"crash", "signal 11"}).ok());
        clock += 100.0;
        ASSERT_TRUE(journal.sample("one", b, 0, 1.0).ok());
        ASSERT_TRUE(journal.settled("one", b, a).ok());
        ASSERT_TRUE(journal.sample("two", a, 0, 4.0).ok());
        EXPECT_EQ(journal.elapsed(), 200.0);
    }
    clock += 3600.0;
    Journal journal(path, tick);
    clock += 5.0;  // between the two, nothing is measured
    ASSERT_EQ(*journal.load(), 0);
    EXPECT_EQ(journal.elapsed(), 200.0);
    EXPECT_EQ(journal.traces()->size(), 1u) << "the second problem is not settled";
    clock += 200.0;
    ASSERT_TRUE(journal.sample("two", b, 0, 2.0).ok());
    ASSERT_TRUE(journal.settled("two", b, a).ok());
    const Result<std::vector<GainTrace>> traces = journal.traces();
    ASSERT_TRUE(traces.ok());
    ASSERT_EQ(traces->size(), 2u);
    EXPECT_NEAR(total_gain(*traces), 2 * std::log(2.0), 1e-12);
    EXPECT_EQ(gain_found(*traces, 199.0), 0.0) << "what failed led nobody";
    EXPECT_NEAR(gain_found(*traces, 0.5 * journal.elapsed()), 0.5, 1e-12);
    EXPECT_NEAR(gain_found(*traces, 399.0), 0.5, 1e-12);
    EXPECT_NEAR(gain_found(*traces, journal.elapsed()), 1.0, 1e-12);
    EXPECT_EQ(journal.elapsed(), 400.0);
}

}  // namespace
}  // namespace fourfold::test
