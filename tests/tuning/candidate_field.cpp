// Candidates measured beside each other: one that crashes, hangs or is wrong costs itself alone.
#include "candidate_field.h"

#include <csignal>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/spawn.h"

namespace fourfold::test {
namespace {

using fourfold::cli::CandidateField;
using fourfold::cli::Failure;

/// The other end as a shell script: what a candidate does is its choice's first word; a run takes as many milliseconds as the
/// second says. `poison` breaks the process for whoever comes next, but only where somebody else is in it. Every process and every
/// addition is noted.
constexpr const char *kChild = R"sh(
note=$0
echo start >>"$note"
echo ready
n=0
poisoned=
while read verb a b c; do
    case $verb in
    add)
        echo "add $a" >>"$note"
        eval "word$n=\$a ms$n=\$b"
        n=$((n + 1))
        case $a in
        refused) echo refused for no reason ;;
        sleeper) sleep 1; echo ready ;;
        crowded) if [ $(grep -c "add $a" "$note") -gt 1 ]; then echo ready; else kill -ABRT $$; fi ;;
        *) echo ready ;;
        esac ;;
    sample)
        if [ -n "$poisoned" ] && [ $n -gt 1 ]; then kill -SEGV $$; fi
        eval "word=\$word$a ms=\$ms$a"
        case $word in
        crash) kill -ABRT $$ ;;
        poison) poisoned=1 ;;
        late) if [ -n "$late" ]; then ms=4; fi; late=1 ;;
        esac
        echo "time $(printf '0.%09d' $((ms * c * 1000000)))" ;;
    esac
done
)sh";

class Field : public ::testing::Test {
protected:
    void SetUp() override {
        std::signal(SIGPIPE, SIG_IGN);
    }
    CandidateField make(const std::vector<std::string> &choices) {
        std::vector<CandidateField::Member> members;
        for (const std::string &choice : choices) {
            members.push_back({choice, 1e-3, 100.0});
        }
        return CandidateField(members, make_options());
    }
    const CandidateField::Options &make_options() {
        for (CandidateField::Stand &stand : options.stands) {
            stand.command = {"/bin/sh", "-c", kChild, folder / "note"};
        }
        return options;
    }
    int count(const std::string &line) const {
        std::istringstream note(read_bytes(folder / "note"));
        int found = 0;
        for (std::string noted; std::getline(note, noted);) {
            found += noted == line;
        }
        return found;
    }
    const TemporaryFolder folder;
    CandidateField::Options options = one_stand();

private:
    static CandidateField::Options one_stand() {
        CandidateField::Options options;
        options.stands.resize(1);
        return options;
    }
};

TEST_F(Field, MeasuresInOneProcessAfterEachPassedAlone) {
    CandidateField field = make({"a 2", "b 3", "c 4"});
    double seconds = 0.0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 3; i++) {
            ASSERT_FALSE(field.sample(i, seconds));
            EXPECT_NEAR(seconds, 1e-3 * static_cast<double>(i + 2), 1e-9);
        }
    }
    EXPECT_EQ(count("start"), 3 + 1) << "one to pass alone each, and one for all";
    EXPECT_EQ(count("add a"), 2);
    field.refresh();
    ASSERT_FALSE(field.sample(1, seconds));
    EXPECT_EQ(count("start"), 5);
    EXPECT_EQ(count("add b"), 3);
}

TEST_F(Field, WhoIsFarBehindBeginsOnceForTwoSamples) {
    CandidateField field = make({"fast 2", "slow 9", "near 4", "late 9", "short 1", "long 600"});
    const double expected[] = {2e-3, 9e-3, 4e-3, 9e-3, 1e-3, 600e-3};
    double seconds = 0.0;
    for (size_t i = 0; i < 6; i++) {
        ASSERT_FALSE(field.sample(i, seconds));
        EXPECT_NEAR(seconds, expected[i], 1e-9) << i;
    }
    EXPECT_EQ(count("add slow"), 1);
    EXPECT_EQ(count("add near"), 2);
    EXPECT_EQ(count("add late"), 2) << "its second run is not far behind";
    ASSERT_FALSE(field.sample(1, seconds));
    EXPECT_NEAR(seconds, 9e-3, 1e-9);
    EXPECT_EQ(count("add slow"), 1);
    ASSERT_FALSE(field.sample(1, seconds));
    EXPECT_EQ(count("add slow"), 2) << "as any other from then on";
    EXPECT_EQ(count("add long"), 1);
    ASSERT_FALSE(field.sample(5, seconds));
    EXPECT_EQ(count("add long"), 2) << "one run was enough";
    // What an earlier run sampled counts.
    options.fastest = 2e-3;
    CandidateField resumed = make({"other 9"});
    ASSERT_FALSE(resumed.sample(0, seconds));
    EXPECT_EQ(count("add other"), 1);
    // What is shorter than a sample may be late by chance.
    options.sample_seconds = 10e-3;
    CandidateField quick = make({"first 2", "second 9"});
    ASSERT_FALSE(quick.sample(0, seconds));
    ASSERT_FALSE(quick.sample(1, seconds));
    EXPECT_EQ(count("add second"), 2);
}

TEST_F(Field, WhatFailsCostsItselfAlone) {
    options.stands[0].judge = [](size_t i) { return i == 3 ? Failure{"wrong", "max error 1"} : Failure(); };
    CandidateField field = make({"good 1", "crash 1", "refused 1", "liar 1", "fine 2"});
    double seconds = 0.0;
    EXPECT_FALSE(field.sample(0, seconds));
    EXPECT_EQ(field.sample(1, seconds).kind, "crash");
    EXPECT_EQ(field.sample(2, seconds).kind, "refused");
    EXPECT_EQ(field.sample(3, seconds).kind, "wrong");
    for (int round = 0; round < 2; round++) {
        EXPECT_FALSE(field.sample(0, seconds));
        EXPECT_FALSE(field.sample(4, seconds));
        EXPECT_NEAR(seconds, 2e-3, 1e-9);
    }
    EXPECT_EQ(count("start"), 5 + 1) << "none of the failures was in the common process";
}

TEST_F(Field, ThoseExpectedPassAloneBesideEachOther) {
    options.stands.resize(3);
    std::vector<std::string> judged;
    for (size_t k = 0; k < options.stands.size(); k++) {
        options.stands[k].before_run = [&, k] { judged.push_back("clear " + std::to_string(k)); };
        options.stands[k].judge = [&, k](size_t i) {
            judged.push_back("judge " + std::to_string(k) + " " + std::to_string(i));
            return i == 3 ? Failure{"wrong", "max error 1"} : Failure();
        };
    }
    CandidateField field = make({"a 1", "b 2", "crash 1", "liar 1", "e 3"});
    double seconds = 0.0;
    field.expect({0, 2, 1, 3, 4});
    ASSERT_FALSE(field.sample(0, seconds));
    EXPECT_NEAR(seconds, 1e-3, 1e-9);
    EXPECT_EQ(judged, (std::vector<std::string>{"clear 0", "clear 1", "clear 2", "judge 0 0", "judge 1 2", "judge 2 1", "clear 0", "judge 0 0"}));
    EXPECT_EQ(count("start"), 3 + 1);
    EXPECT_EQ(count("add b"), 1);
    EXPECT_EQ(count("add liar"), 0) << "there were three stands";
    // What came of passing is said to who asks, once.
    EXPECT_EQ(field.sample(2, seconds).kind, "crash");
    ASSERT_FALSE(field.sample(1, seconds));
    EXPECT_NEAR(seconds, 2e-3, 1e-9);
    EXPECT_EQ(count("start"), 5) << "one more for the crash, tried alone; the other has passed, and joins the common process";
    EXPECT_EQ(field.sample(3, seconds).kind, "wrong");
    EXPECT_EQ(count("add e"), 1);
    ASSERT_FALSE(field.sample(4, seconds));
    EXPECT_NEAR(seconds, 3e-3, 1e-9);
    EXPECT_EQ(count("start"), 7);
}

TEST_F(Field, WhoCrashesBesideOthersIsTriedAloneBeforeThatCounts) {
    options.stands.resize(2);
    CandidateField field = make({"a 1", "crowded 1", "b 1"});
    double seconds = 0.0;
    field.expect({0, 1});
    ASSERT_FALSE(field.sample(0, seconds));
    EXPECT_EQ(count("add crowded"), 1);
    EXPECT_FALSE(field.sample(1, seconds));
    EXPECT_EQ(count("add crowded"), 3) << "alone, and in the common process";
    // The one that was asked for, too.
    CandidateField first = make({"crowded 1", "a 1"});
    EXPECT_EQ(std::remove((folder / "note").c_str()), 0);
    first.expect({0, 1});
    EXPECT_FALSE(first.sample(0, seconds));
    // Alone it is its own fault.
    EXPECT_EQ(std::remove((folder / "note").c_str()), 0);
    options.stands.resize(1);
    CandidateField alone = make({"crowded 1"});
    EXPECT_EQ(alone.sample(0, seconds).kind, "crash");
}

TEST_F(Field, TheIncumbentIsWaitedFor) {
    options.begin_seconds = 0.1;
    options.ready_seconds = 30.0;
    CandidateField field({{"a 1", 1e-3, 100.0}, {"sleeper 1", 1e-3, 100.0, true}}, make_options());
    double seconds = 0.0;
    ASSERT_FALSE(field.sample(0, seconds));
    EXPECT_FALSE(field.sample(1, seconds));
}

TEST_F(Field, WithoutMemoryForSeveralTheyPassOneByOne) {
    options.stands.resize(2);
    options.memory = 350.0;
    options.arrays = 200.0;
    CandidateField field = make({"a 1", "b 1"});
    double seconds = 0.0;
    field.expect({0, 1});
    ASSERT_FALSE(field.sample(0, seconds));
    EXPECT_EQ(count("add b"), 0) << "its 100 bytes, the other's and another process's 200 are over 350";
    ASSERT_FALSE(field.sample(1, seconds));
    EXPECT_EQ(count("start"), 3);
}

TEST_F(Field, WhoTakesTooLongToBeginIsGivenUpOnceThereIsABetterOne) {
    options.begin_seconds = 0.1;
    CandidateField field = make({"a 1", "sleeper 1"});
    double seconds = 0.0;
    ASSERT_FALSE(field.sample(0, seconds));
    EXPECT_EQ(field.sample(1, seconds).kind, "timeout");
    CandidateField alone = make({"sleeper 1"});
    EXPECT_FALSE(alone.sample(0, seconds)) << "nobody is better, and it has all of ready_seconds";
}

TEST_F(Field, OneThatSpoilsTheProcessForOthersEndsTheSharing) {
    CandidateField field = make({"poison 1", "good 2"});
    double seconds = 0.0;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 2; i++) {
            const Failure failure = field.sample(i, seconds);
            EXPECT_FALSE(failure) << round << " " << i << ": " << failure.kind << " " << failure.text;
            EXPECT_NEAR(seconds, 1e-3 * static_cast<double>(i + 1), 1e-9);
        }
    }
}

TEST_F(Field, MemoryDividesTheProcesses) {
    options.memory = 150.0;
    CandidateField field = make({"a 1", "b 1"});
    double seconds = 0.0;
    for (int round = 0; round < 2; round++) {
        EXPECT_FALSE(field.sample(0, seconds));
        EXPECT_FALSE(field.sample(1, seconds));
    }
    EXPECT_EQ(count("start"), 2 + 4);
}

TEST_F(Field, ProcessesAreRenewed) {
    CandidateField field = make({"a 1"});
    double seconds = 0.0;
    for (int round = 0; round < 25; round++) {
        EXPECT_FALSE(field.sample(0, seconds));
    }
    EXPECT_EQ(count("start"), 1 + 5) << "six samples each";
}

TEST_F(Field, AStopIsNoFailureOfTheCandidate) {
    bool stop = false;
    options.stopped = [&] { return stop; };
    CandidateField field = make({"a 1", "b 1"});
    double seconds = 0.0;
    EXPECT_FALSE(field.sample(0, seconds));
    EXPECT_FALSE(field.sample(1, seconds));
    stop = true;
    EXPECT_EQ(field.sample(0, seconds).kind, "stopped");
}

}  // namespace
}  // namespace fourfold::test
