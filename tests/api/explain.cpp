// explain() and machine(): every choice can be asked for.
#include <algorithm>
#include <set>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

TEST(Explain, ListsEveryAlgorithmAndChoosesOne) {
    for (const char *text : {"b8 ic64 i56 oc64 f3 p1", "b1 ic1 i200 oc1 f31", "b1 ic3 i9 oc4 f3 s2 p1 d2 reflect", "b2 ic8 i14 oc8 f3 p1 g8 conv relu", "b1 ic1 i1 oc1 f1"}) {
        const Conv2dProblem p = parse_problem(text);
        const Result<std::vector<Candidate>> candidates = explain(p);
        ASSERT_TRUE(candidates.ok()) << candidates.status().message();
        std::set<Algorithm> seen;
        int chosen = 0;
        for (const Candidate &c : *candidates) {
            EXPECT_TRUE(seen.insert(c.algorithm).second) << to_string(c.algorithm) << " is listed twice";
            EXPECT_TRUE(c.supported || !c.reason.empty()) << to_string(c.algorithm) << " refuses without a reason";
            EXPECT_TRUE(c.supported || !c.chosen) << to_string(c.algorithm);
            if (c.chosen) {
                chosen++;
                EXPECT_FALSE(c.reason.empty()) << "what decided is not said";
                const Result<Plan> plan = Plan::create(p);
                ASSERT_TRUE(plan.ok()) << plan.status().message();
                EXPECT_EQ(plan->algorithm(), c.algorithm);
                EXPECT_EQ(plan->variant(), c.variant);
                EXPECT_EQ(plan->workspace_bytes(), c.workspace_bytes);
                EXPECT_EQ(plan->packed_filter_bytes(), c.packed_filter_bytes);
                EXPECT_NE(c.algorithm, Algorithm::kNaive) << "the baseline is never chosen";
            }
            if (c.supported) {
                EXPECT_GT(c.predicted_seconds, 0.0) << to_string(c.algorithm);
            }
        }
        EXPECT_EQ(chosen, 1) << text;
        for (Algorithm a : {Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            EXPECT_TRUE(seen.count(a)) << to_string(a) << " is not listed";
        }
        EXPECT_FALSE(seen.count(Algorithm::kAuto));
    }
}

TEST(Explain, NamedAlgorithmIsTheOneChosen) {
    const Conv2dProblem p = parse_problem("b1 ic16 i30 oc16 f3 p1");
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<std::vector<Candidate>> candidates = explain(p, options);
        ASSERT_TRUE(candidates.ok()) << candidates.status().message();
        const auto chosen = std::find_if(candidates->begin(), candidates->end(), [](const Candidate &c) { return c.chosen; });
        ASSERT_NE(chosen, candidates->end());
        EXPECT_EQ(chosen->algorithm, algorithm);
    }
}

TEST(Explain, AccuracyDecidesWhetherWinogradIsChosen) {
    const Conv2dProblem p = parse_problem("b1 ic256 i14 oc256 f3 p1");
    for (Accuracy accuracy : {Accuracy::kStrict, Accuracy::kDefault, Accuracy::kRelaxed}) {
        PlanOptions options;
        options.accuracy = accuracy;
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_EQ(plan->algorithm() == Algorithm::kWinograd, accuracy != Accuracy::kStrict) << to_string(accuracy);
        EXPECT_NE(plan->describe().find(to_string(accuracy)), std::string::npos) << plan->describe();
        const Result<std::vector<Candidate>> candidates = explain(p, options);
        ASSERT_TRUE(candidates.ok()) << candidates.status().message();
        for (const Candidate &c : *candidates) {
            if (c.algorithm == Algorithm::kWinograd) {
                EXPECT_EQ(c.supported, accuracy != Accuracy::kStrict);
                EXPECT_EQ(c.reason.find("strict") != std::string::npos, accuracy == Accuracy::kStrict) << c.reason;
            }
        }
    }
}

/// Where filters are packed in every execution the choice counts that: it has the least sum, and large blocks lose.
TEST(Explain, PackingEachTimeCounts) {
    for (const char *text : {"b1 ic512 i7 oc512 f3 p1", "bwd-data b1 ic512 i7 oc512 f3 p1", "b8 ic64 i56 oc64 f3 p1", "b1 ic16 i30 oc16 f3 p1 g16"}) {
        const Conv2dProblem p = parse_problem(text);
        PlanOptions options;
        const std::vector<Candidate> packed = *explain(p, options);
        options.packs_each_time = true;
        const std::vector<Candidate> each_time = *explain(p, options);
        const auto chosen = [](const std::vector<Candidate> &list) { return *std::find_if(list.begin(), list.end(), [](const Candidate &c) { return c.chosen; }); };
        // What was measured with filters packed beforehand may decide there, and no more here.
        if (Plan::create(p)->tier() == Tier::kCostModel) {
            EXPECT_LE(chosen(each_time).packed_filter_bytes, chosen(packed).packed_filter_bytes) << text;
        }
        for (const Candidate &c : each_time) {
            if (c.supported && c.algorithm != Algorithm::kNaive) {
                EXPECT_GE(c.corrected_seconds, chosen(each_time).corrected_seconds) << text << ", " << c.choice;
            }
        }
        EXPECT_EQ(Plan::create(p, options)->choice(), chosen(each_time).choice) << text;
    }
    PlanOptions options;
    options.packs_each_time = true;
    // By tiles in the Fourier domain, but not where the filters are transformed for one small plane.
    EXPECT_LT(Plan::create(parse_problem("b1 ic128 i14 oc128 f5 p2"), options)->packed_filter_bytes(), Plan::create(parse_problem("b1 ic128 i14 oc128 f5 p2"))->packed_filter_bytes());
    options.effort = Effort::kMeasure;
    const Result<Plan> measured = Plan::create(parse_problem("b1 ic4 i9 oc4 f3"), options);
    ASSERT_FALSE(measured.ok());
    EXPECT_EQ(measured.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(measured.status().message().find("packed each time"), std::string::npos) << measured.status().message();
}

/// NHWC of one channel is planned as NCHW, says so, and keeps its name.
TEST(Explain, OneChannelIsReadAsNchw) {
    for (const char *text : {"b1 ic1 i300 oc1 f15", "b2 ic1 i40 oc1 f3 p1", "bwd-data b1 ic1 i90 oc1 f5 s2 p2", "bwd-filters b2 ic1 i60x50 oc1 f7", "unfold b1 ic1 i20 oc3 f3", "fold b1 ic1 i20 oc3 f3"}) {
        const Conv2dProblem p = parse_problem(text), q = parse_problem((text + std::string(" nhwc")).c_str());
        const Result<std::vector<Candidate>> planes = explain(p), last = explain(q);
        ASSERT_TRUE(planes.ok() && last.ok()) << text;
        ASSERT_EQ(planes->size(), last->size()) << text;
        for (size_t i = 0; i < planes->size(); i++) {
            EXPECT_EQ((*planes)[i].choice, (*last)[i].choice) << text;
            EXPECT_EQ((*planes)[i].chosen, (*last)[i].chosen) << text;
            // The plain loop takes any layout as it is.
            EXPECT_TRUE((*planes)[i].algorithm == Algorithm::kNaive || (*planes)[i].predicted_seconds == (*last)[i].predicted_seconds) << text;
        }
        const Result<Plan> plan = Plan::create(q);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_EQ(plan->problem(), q);
        EXPECT_NE(plan->describe().find(" nhwc"), std::string::npos) << plan->describe();
        EXPECT_NE(plan->describe().find("read as NCHW"), std::string::npos) << plan->describe();
    }
    // One channel of two is not.
    for (const char *text : {"b1 ic1 i30 oc2 f3 nhwc", "b1 ic2 i30 oc1 f3 nhwc", "unfold b1 ic2 i30 f3 nhwc"}) {
        EXPECT_EQ(Plan::create(parse_problem(text))->describe().find("read as NCHW"), std::string::npos) << text;
    }
}

/// A view's strides decide at the call: rows apart, columns apart, and one of each.
TEST(Explain, OneChannelTakesAnyView) {
    const Conv2dProblem p = parse_problem("b2 ic1 i60x50 oc1 f9 p4 nhwc");
    constexpr int64_t height = 60, width = 50, pitch = 64, channels = 3;
    const int64_t dense[4] = {height * width, 1, width, 1}, rows[4] = {height * pitch, 1, pitch, 1}, columns[4] = {height * pitch * channels, 1, pitch * channels, channels};
    const auto size = static_cast<size_t>(2 * height * pitch * channels);
    std::vector<float> filters(81);
    for (size_t i = 0; i < filters.size(); i++) {
        filters[i] = static_cast<float>(i % 5) - 2.0f;
    }
    std::vector<float> expected;  // the plain loop's
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> plan = Plan::create(p, options);
        if (!plan.ok() && may_refuse(algorithm)) {
            continue;
        }
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        AlignedBuffer workspace(plan->workspace_bytes_unpacked());
        for (const int64_t *in : {dense, rows, columns}) {
            for (const int64_t *out : {dense, rows, columns}) {
                std::vector<float> x(size, 1e6f), y(size, 7.0f), got;
                const auto each = [&](std::vector<float> &buffer, const int64_t *s, const auto &act) {
                    for (int64_t n = 0; n < 2; n++) {
                        for (int64_t i = 0; i < height; i++) {
                            for (int64_t j = 0; j < width; j++) {
                                act(buffer[static_cast<size_t>(n * s[0] + i * s[2] + j * s[3])], n * 7 + i * 3 + j * j);
                            }
                        }
                    }
                };
                each(x, in, [](float &value, int64_t i) { value = static_cast<float>(i % 9) - 4.0f; });
                Tensors t;
                t.input = ConstView(x.data(), in[0], in[1], in[2], in[3]);
                t.filters = filters.data();
                t.output = MutableView(y.data(), out[0], out[1], out[2], out[3]);
                const Status status = plan->execute(t, workspace);
                ASSERT_TRUE(status.ok()) << status.message();
                each(y, out, [&](float &value, int64_t) {
                    got.push_back(value);
                    value = 7.0f;
                });
                EXPECT_EQ(std::count(y.begin(), y.end(), 7.0f), static_cast<int64_t>(size)) << to_string(algorithm) << " wrote around the view";
                expected = expected.empty() ? got : expected;
                for (size_t i = 0; i < got.size(); i++) {
                    ASSERT_NEAR(got[i], expected[i], 2e-5f * 81 * 8) << to_string(algorithm) << " at " << i;
                }
            }
        }
    }
}

TEST(Explain, SameChoiceEveryTime) {
    const Conv2dProblem p = parse_problem("b2 ic20 i40 oc30 f5 p2");
    const Result<Plan> first = Plan::create(p), second = Plan::create(p);
    ASSERT_TRUE(first.ok() && second.ok());
    EXPECT_EQ(first->describe(), second->describe());
}

}  // namespace
}  // namespace fourfold::test
