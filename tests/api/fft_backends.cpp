// FFTW, KissFFT, and FFTW's wisdom.
#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

bool built_in(FftBackend backend) {
    const std::vector<FftBackend> have = fft_backends();
    return std::find(have.begin(), have.end(), backend) != have.end();
}

TEST(FftBackends, ThereIsOne) {
    EXPECT_FALSE(fft_backends().empty());
    EXPECT_FALSE(built_in(FftBackend::kAuto)) << "a choice, not a backend";
}

TEST(FftBackends, EachGivesTheResult) {
    for (FftBackend backend : {FftBackend::kFftw, FftBackend::kKissFft}) {
        PlanOptions options;
        options.algorithm = Algorithm::kFft;
        options.fft_backend = backend;
        if (!built_in(backend)) {
            const Result<Plan> plan = Plan::create(parse_problem("b1 ic1 i9 oc1 f3"), options);
            ASSERT_FALSE(plan.ok());
            EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported);
            EXPECT_NE(plan.status().message().find(to_string(backend)), std::string::npos) << plan.status().message();
            continue;
        }
        for (const char *text : {"b2 ic3 i17x23 oc4 f3 p1", "b1 ic1 i100x90 oc1 f15", "b1 ic2 i8x64 oc3 f8x64", "b1 ic4 i29x31 oc4 f5 p2 circular",
                                 "b1 ic5 i37 oc2 f7 s2 p3 d3", "b3 ic6 i1x50 oc6 f1x9 g6 p0,0,4,4"}) {
            Operands operands(parse_problem(text), test_seed());
            const Status status = run_plan(options, operands);
            ASSERT_TRUE(status.ok()) << to_string(backend) << ", " << text << ": " << status.message();
            EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kFft))) << to_string(backend);
        }
    }
}

TEST(FftBackends, MeasuredPlansGiveTheResult) {
    PlanOptions options;
    options.algorithm = Algorithm::kFft;
    options.fft_rigor = FftRigor::kMeasure;
    Operands operands(parse_problem("b1 ic3 i30x26 oc4 f5 p2"), test_seed());
    const Status status = run_plan(options, operands);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kFft)));
}

TEST(FftWisdom, RoundTrip) {
    if (!built_in(FftBackend::kFftw)) {
        EXPECT_EQ(export_fft_wisdom().status().code(), StatusCode::kUnsupported);
        EXPECT_EQ(import_fft_wisdom("anything").code(), StatusCode::kUnsupported);
        GTEST_SKIP() << "built without FFTW";
    }
    PlanOptions options;
    options.algorithm = Algorithm::kFft;
    options.fft_backend = FftBackend::kFftw;
    options.fft_rigor = FftRigor::kMeasure;
    ASSERT_TRUE(Plan::create(parse_problem("b1 ic2 i20x21 oc3 f3"), options).ok());
    const Result<std::string> wisdom = export_fft_wisdom();
    ASSERT_TRUE(wisdom.ok()) << wisdom.status().message();
    EXPECT_FALSE(wisdom->empty());
    const Status status = import_fft_wisdom(*wisdom);
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(import_fft_wisdom("this is no wisdom").code(), StatusCode::kInvalidArgument);
    // Whatever was refused did not harm what was known.
    EXPECT_TRUE(Plan::create(parse_problem("b1 ic2 i20x21 oc3 f3"), options).ok());
}

}  // namespace
}  // namespace fourfold::test
