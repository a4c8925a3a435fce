// Workspace and packed-filter limits: met by blocking, or refused with the number that would do.
#include <cctype>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

constexpr const char *kProblems[] = {"b2 ic16 i40 oc24 f5 p2", "b4 ic3 i33x31 oc20 f7 s2 p3", "b1 ic32 i21 oc40 f3 p2 d2 g2 reflect", "b3 ic10 i24 oc10 f9 p4 g10", "b1 ic2 i90x61 oc2 f5 p2 g2 symmetric"};

/// Every whole number in a sentence.
std::vector<size_t> numbers(const std::string &text) {
    std::vector<size_t> found;
    for (size_t i = 0; i < text.size(); i++) {
        if (std::isdigit(static_cast<unsigned char>(text[i])) && (i == 0 || !std::isalnum(static_cast<unsigned char>(text[i - 1])))) {
            found.push_back(std::stoull(text.substr(i)));
            while (i < text.size() && std::isdigit(static_cast<unsigned char>(text[i]))) {
                i++;
            }
        }
    }
    return found;
}

/// The refusal must name a number of bytes with which the plan can be made.
void expect_names_what_is_needed(const Status &status, const Conv2dProblem &p, PlanOptions options, size_t PlanOptions::*limit) {
    ASSERT_EQ(status.code(), StatusCode::kResourceExhausted) << status.message();
    const size_t refused = options.*limit;
    for (size_t number : numbers(status.message())) {
        options.*limit = number;
        if (number > refused && Plan::create(p, options).ok()) {
            return;
        }
    }
    ADD_FAILURE() << "no number in '" << status.message() << "' is enough for " << p.to_string() << " by " << to_string(options.algorithm);
}

TEST(WorkspaceLimit, HalvedUntilRefused) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        Operands operands(p, test_seed());
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            if (refuses(algorithm, p)) {
                continue;
            }
            for (int threads : {1, 2}) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.threads = threads;
                const Result<Plan> free = Plan::create(p, options);
                ASSERT_TRUE(free.ok()) << free.status().message();
                for (size_t limit = free->workspace_bytes();; limit /= 2) {
                    options.workspace_limit = limit;
                    const Result<Plan> plan = Plan::create(p, options);
                    if (!plan.ok()) {
                        EXPECT_LT(limit, free->workspace_bytes()) << "refused what it asked for itself: " << plan.status().message();
                        expect_names_what_is_needed(plan.status(), p, options, &PlanOptions::workspace_limit);
                        break;
                    }
                    ASSERT_LE(plan->workspace_bytes(), limit) << to_string(algorithm) << ", " << p.to_string();
                    const Status status = run_plan(*plan, operands);
                    ASSERT_TRUE(status.ok()) << status.message();
                    EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << to_string(algorithm) << " in " << limit << " bytes";
                    if (limit == 0) {
                        break;
                    }
                }
            }
        }
    }
}

// More threads divide a plane into more pieces, each of whose kinds may need tables of its own.
TEST(WorkspaceLimit, HoldsForSeveralThreads) {
    for (const char *text : {"b1 ic128 i9 oc16 f5", "b1 ic64 i9x8 oc48 f3", "b1 ic40 i33x32 oc24 f3 p1", "b2 ic96 i15 oc32 f5 s2"}) {
        const Conv2dProblem p = parse_problem(text);
        for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            for (const std::string &variant : runnable_variants(algorithm)) {
                PlanOptions options;
                options.algorithm = algorithm;
                options.variant = variant;
                options.threads = 1;
                const Result<Plan> one = Plan::create(p, options);
                if (!one.ok()) {
                    continue;
                }
                options.workspace_limit = one->workspace_bytes();
                for (int threads : {2, 3, 8}) {
                    options.threads = threads;
                    const Result<Plan> plan = Plan::create(p, options);
                    ASSERT_TRUE(plan.ok()) << text << ", " << variant << ": " << plan.status().message();
                    EXPECT_LE(plan->workspace_bytes(), options.workspace_limit) << text << ", " << variant << ", " << threads << " threads";
                }
            }
        }
    }
}

TEST(WorkspaceLimit, AutoFallsBackToWhatFits) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        Operands operands(p, test_seed());
        // The least that any algorithm asks for, by its own word; auto must then find that one.
        PlanOptions options;
        size_t least = std::numeric_limits<size_t>::max();
        for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            options.algorithm = algorithm;
            options.workspace_limit = 0;
            const Result<Plan> refused = Plan::create(p, options);
            for (size_t number : refused.ok() ? std::vector<size_t>{0} : numbers(refused.status().message())) {
                options.workspace_limit = number;
                if (number < least && Plan::create(p, options).ok()) {
                    least = number;
                }
            }
        }
        ASSERT_LT(least, size_t{1} << 30);
        options.algorithm = Algorithm::kAuto;
        options.workspace_limit = least;
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_LE(plan->workspace_bytes(), least);
        const Status status = run_plan(*plan, operands);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(matches(operands, operands.expected(), error_limit(plan->algorithm())));
    }
}

/// NHWC of one channel carries a plan for columns that lie apart: it takes no more than the limit, and nothing from the block-list.
TEST(PackedFilterLimit, OneChannelInNhwcIsPlannedAsInNchw) {
    const char *const planes = "b1 ic1 i300 oc1 f15", *const pixels = "b1 ic1 i300 oc1 f15 nhwc";
    PlanOptions options;
    options.threads = 1;
    for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kFftTiled}) {
        options.algorithm = algorithm;
        const Result<Plan> as_planes = Plan::create(parse_problem(planes), options);
        ASSERT_TRUE(as_planes.ok()) << as_planes.status().message();
        PlanOptions limited = options;
        limited.packed_filter_limit = 2 * as_planes->packed_filter_bytes();
        const Result<Plan> plan = Plan::create(parse_problem(pixels), limited);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_LE(plan->packed_filter_bytes(), limited.packed_filter_limit);
    }
    options.algorithm = Algorithm::kAuto;
    options.blocked = {"fft"};
    const Result<Plan> plan = Plan::create(parse_problem(pixels), options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->describe().find("by spectral_product"), std::string::npos) << plan->describe();
    // Filters that are not packed beforehand, views with columns next to each other and apart.
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kFftTiled, Algorithm::kFft}) {
        PlanOptions any;
        any.algorithm = algorithm;
        for (bool regions : {false, true}) {
            Operands operands(parse_problem("b1 ic1 i60x70 oc1 f15 nhwc"), test_seed(), Values::kUniform, Placement::kPageAfter, regions);
            RunOptions how;
            how.placement = Placement::kPageAfter;
            how.unpacked = true;
            const Status status = run_plan(any, operands, how);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(matches(operands, operands.expected(), error_limit(algorithm)));
        }
    }
}

TEST(PackedFilterLimit, KeptOrRefusedWithTheNumber) {
    for (const char *text : kProblems) {
        const Conv2dProblem p = parse_problem(text);
        Operands operands(p, test_seed());
        const reference::Forward expected = operands.expected();
        for (Algorithm algorithm : kAlgorithms) {
            if (refuses(algorithm, p)) {
                continue;
            }
            PlanOptions options;
            options.algorithm = algorithm;
            const Result<Plan> free = Plan::create(p, options);
            ASSERT_TRUE(free.ok()) << free.status().message();
            EXPECT_EQ(free->packed_filter_bytes() % kAlignment, 0u);
            options.packed_filter_limit = free->packed_filter_bytes();
            EXPECT_TRUE(Plan::create(p, options).ok());
            options.packed_filter_limit = free->packed_filter_bytes() - 1;
            const Result<Plan> plan = Plan::create(p, options);
            if (!plan.ok()) {
                expect_names_what_is_needed(plan.status(), p, options, &PlanOptions::packed_filter_limit);
                continue;
            }
            EXPECT_LE(plan->packed_filter_bytes(), options.packed_filter_limit);
            const Status status = run_plan(*plan, operands);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(matches(operands, expected, error_limit(algorithm)));
        }
    }
}

TEST(PackedFilterLimit, AutoPicksOneThatFits) {
    // Spectra of a small filter on a large image are many times the filters.
    const Conv2dProblem p = parse_problem("b1 ic8 i60 oc8 f3 p1");
    PlanOptions fft;
    fft.algorithm = Algorithm::kFft;
    const Result<Plan> large = Plan::create(p, fft);
    ASSERT_TRUE(large.ok()) << large.status().message();
    PlanOptions options;
    options.packed_filter_limit = large->packed_filter_bytes() / 4;
    const Result<Plan> plan = Plan::create(p, options);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_LE(plan->packed_filter_bytes(), options.packed_filter_limit);
    EXPECT_NE(plan->algorithm(), Algorithm::kFft);
}

TEST(Memory, WhatNoMachineHoldsIsRefusedWithAReason) {
    // Valid by its sizes, but each tensor takes exabytes.
    const Conv2dProblem p = parse_problem("b1024 ic65536 i32768 oc65536 f3 p1");
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled}) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> plan = Plan::create(p, options);
        if (!plan.ok()) {
            const StatusCode code = plan.status().code();
            EXPECT_TRUE(code == StatusCode::kResourceExhausted || code == StatusCode::kUnsupported) << plan.status().message();
            EXPECT_NE(plan.status().message().find("bytes"), std::string::npos) << plan.status().message();
        }
    }
}

/// Strips of padded rows are read in place: kernels that copy would need as much again.
TEST(Workspace, HoldsPaddedRowsOnce) {
    const Conv2dProblem p = parse_problem("b1 ic1 i60x200 oc1 f5 p2 reflect");
    int tried = 0;
    for (const VariantInfo &v : list_variants()) {
        const std::string in_place = "pad=0 stride=1";
        const size_t at = v.parameters.find(in_place);
        if (!v.runnable || v.stage != "conv_depthwise" || at == std::string::npos || (v.parameters.rfind("f=5 ", 0) != 0 && v.parameters.rfind("f=0 ", 0) != 0)) {
            continue;
        }
        PlanOptions options;
        options.algorithm = Algorithm::kDirect;
        options.threads = 1;
        options.variant = v.name;
        const Result<Plan> once = Plan::create(p, options);
        if (kSanitized && !once.ok()) {
            continue;  // without its twin
        }
        ASSERT_TRUE(once.ok()) << once.status().message();
        options.variant.replace(options.variant.find("pad0"), 4, "pad1");
        const Result<Plan> twice = Plan::create(p, options);
        ASSERT_TRUE(twice.ok()) << twice.status().message();
        EXPECT_LT(once->workspace_bytes(), twice->workspace_bytes()) << v.name;
        tried++;
    }
    EXPECT_TRUE(kSanitized || tried > 0);
}

}  // namespace
}  // namespace fourfold::test
