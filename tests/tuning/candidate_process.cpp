// Candidates that crash, hang, lie or talk nonsense: each failure has its class, and the parent survives.
#include "candidate_process.h"

#include <csignal>

#include <gtest/gtest.h>

namespace fourfold::test {
namespace {

using fourfold::cli::CandidateProcess;
using fourfold::cli::Failure;

struct CandidateFailure {
    const char *script;
    const char *kind;
    const char *word;
};

class Broken : public ::testing::TestWithParam<CandidateFailure> {};

TEST_P(Broken, IsClassed) {
    std::signal(SIGPIPE, SIG_IGN);
    CandidateProcess process;
    Failure failure = process.start({"/bin/sh", "-c", GetParam().script}, 1.0);
    double elapsed = 0.0;
    for (int i = 0; i < 2 && !failure; i++) {
        failure = process.sample(0, 1, 1, 1.0, elapsed);
    }
    EXPECT_EQ(failure.kind, GetParam().kind) << failure.text;
    EXPECT_NE(failure.text.find(GetParam().word), std::string::npos) << failure.text;
    EXPECT_FALSE(process.alive());
}

INSTANTIATE_TEST_SUITE_P(All, Broken,
                         ::testing::Values(CandidateFailure{"kill -SEGV $$", "crash", "signal 11"}, CandidateFailure{"exit 3", "crash", "exit code 3"}, CandidateFailure{"exec sleep 100", "timeout", "1 s"},
                                           CandidateFailure{"echo refused no such plan", "refused", "no such plan"}, CandidateFailure{"echo wrong it wrote outside", "wrong", "outside"},
                                           CandidateFailure{"echo hello", "wrong", "hello"}, CandidateFailure{"yes | tr -d '\\n'", "wrong", "without end"},
                                           CandidateFailure{"echo ready; read a; kill -FPE $$", "crash", "signal 8"}, CandidateFailure{"echo ready; read a; exec sleep 100", "timeout", "1 s"},
                                           CandidateFailure{"echo ready; read a; echo time soon", "wrong", "soon"}, CandidateFailure{"echo ready; read a; echo time -1", "wrong", "-1"},
                                           CandidateFailure{"echo ready; read a; echo time 0", "wrong", "0"}, CandidateFailure{"echo ready; read a; echo time nan", "wrong", "nan"},
                                           CandidateFailure{"echo ready; read a; echo time 0.1; exec 1>&-; sleep 100", "crash", ""}, CandidateFailure{"/no/such/program", "crash", "127"}));

TEST(Candidate, AnswersUntilItIsEnded) {
    CandidateProcess process;
    ASSERT_FALSE(process.start({"/bin/sh", "-c", "echo ready; while read word which warm n; do echo time 0.$n; done"}, 5.0));
    double elapsed = 0.0;
    EXPECT_FALSE(process.sample(0, 1, 25, 5.0, elapsed));
    EXPECT_EQ(elapsed, 0.25);
    EXPECT_FALSE(process.sample(0, 1, 5, 5.0, elapsed));
    EXPECT_EQ(elapsed, 0.5);
    EXPECT_TRUE(process.alive());
    process.end();
    EXPECT_FALSE(process.alive());
    EXPECT_FALSE(process.start({"/bin/sh", "-c", "echo ready; read a"}, 5.0)) << "it may start again";
}

TEST(Candidate, AStopEndsTheWaiting) {
    CandidateProcess process;
    int asked = 0;
    const Failure failure = process.start({"/bin/sh", "-c", "exec sleep 100"}, 60.0, [&] { return ++asked > 2; });
    EXPECT_EQ(failure.kind, "stopped");
    EXPECT_FALSE(process.alive());
}

}  // namespace
}  // namespace fourfold::test
