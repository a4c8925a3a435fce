// What NHWC costs plans that compute on planes.
#include "nhwc_moves.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/on_machine.h"
#include "support/problems.h"

namespace fourfold::test {
namespace {

TEST(NhwcMoves, PlanesAreAnOddNumberOfLinesApart) {
    for (int64_t floats = 1; floats < 5000; floats++) {
        const int64_t pitch = scattered_pitch(floats);
        EXPECT_GE(pitch, floats);
        EXPECT_LE(pitch, floats + 47);
        EXPECT_EQ(pitch % 32, 16) << floats;
    }
}

/// Strips are gathered from pixels and results scattered to pixels, where a side has several channels.
TEST(NhwcMoves, PredictionsCountThem) {
    for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col}) {
        const auto seconds = [&](const std::string &text) {
            PlanOptions options;
            options.algorithm = algorithm;
            options.threads = 1;
            const Result<std::vector<Candidate>> choices = list_choices(parse_problem(text.c_str()), options);
            double least = 1e9;
            for (size_t i = 0; choices.ok() && i < choices->size(); i++) {
                const bool planes = (*choices)[i].choice.find("conv_direct_oc") == std::string::npos;
                least = planes ? std::min(least, (*choices)[i].predicted_seconds) : least;
            }
            return least;
        };
        const auto more = [&](const std::string &text) { return seconds(text + " nhwc") - seconds(text); };
        const double in = 64 * 56 * 56 * 8.0, out = 256 * 56 * 56 * 8.0;
        EXPECT_GT(more("b1 ic64 i56 oc256 f1"), (in + out) / 30e9);
        EXPECT_GT(more("b1 ic64 i56 oc1 f1"), 0.9 * in / 30e9);
        EXPECT_GT(more("b1 ic1 i56 oc256 f1"), out / 30e9);
    }
}

/// So what needs neither takes it: lanes along output channels. Where that is predicted depends on the caches: here those of Emerald Rapids.
TEST(NhwcMoves, OneByOneLayersTakeLanesAlongOutputs) {
    const OnMachine emerald_rapids(size_t{48} << 10, size_t{2} << 20, size_t{260} << 20);
    unload_tables(false);
    if (machine().isa == std::string("avx512")) {
        for (const char *text : {"b1 ic64 i56 oc64 f1 nhwc", "b1 ic64 i56 oc256 f1 nhwc", "b1 ic256 i56 oc512 f1 s2 nhwc"}) {
            const Result<Plan> plan = Plan::create(parse_problem(text));
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            EXPECT_EQ(plan->variant().rfind("conv_direct_oc", 0), 0u) << text << ": " << plan->variant();
        }
    }
    unload_tables(true);
}

}  // namespace
}  // namespace fourfold::test
