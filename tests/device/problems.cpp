// Every algorithm of a GPU against the double-precision reference: named cases, random ones, every variant, views.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "algorithm.h"
#include "device/device_test.h"
#include "device/runtime.h"
#include "registry.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

/// 1 where the algorithm did it, 0 where it refused with a reason, as some may.
int expect_equal(const PlanOptions &options, Operands &operands, const reference::Forward &expected, const RunOptions &how = {}) {
    const Status status = run_plan(options, operands, how);
    if (may_refuse(options.algorithm, operands.problem.operation) && status.code() == StatusCode::kUnsupported && !status.message().empty()) {
        return 0;
    }
    EXPECT_TRUE(status.ok()) << to_string(options.algorithm) << " " << options.variant << options.choice << ", " << operands.to_string() << ": " << status.message();
    if (!status) {
        return 0;
    }
    EXPECT_TRUE(matches(operands, expected, error_limit(options.algorithm))) << to_string(options.algorithm) << " " << options.variant << options.choice;
    if (operands.problem.operation == Operation::kBackwardFilters) {
        EXPECT_TRUE(operands.bias_matches(1e-6)) << to_string(options.algorithm) << " " << options.variant;
    }
    return 1;
}

constexpr Operation kOperations[] = {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters, Operation::kUnfold, Operation::kFold};

class DeviceProblems : public DeviceTest {};

TEST_F(DeviceProblems, NamedCases) {
    std::map<std::pair<Algorithm, Operation>, int> done;
    for (const char *text : {
             "b2 ic3 i9x7 oc4 f3 p1",
             "b1 ic1 i1 oc1 f1",
             "b3 ic17 i13x11 oc19 f3x5 s2x1 p1,2,0,3 d1x2",
             "b2 ic8 i10 oc12 f3 p1 g4",
             "b2 ic6 i12x9 oc6 f5 p2 g6",
             "b1 ic4 i8 oc8 f3 p2 reflect",
             "b1 ic4 i8 oc8 f3 p3 symmetric s2",
             "b2 ic3 i6x9 oc5 f3 p4 replicate",
             "b2 ic3 i6x9 oc5 f3 p3 circular d2",
             "b1 ic3 i7 oc5 f3 p2 constant:0.5",
             "b2 ic5 i9 oc7 f3 p1 conv relu",
             "b2 ic5 i9 oc7 f3 p1 residual clamp:-0.5,0.5",
             "b2 ic16 i9x7 oc24 f3 p1 nhwc",
             "b2 ic6 i9x7 oc12 f3 s2 p1 g3 nhwc residual",
             "b1 ic300 i5 oc33 f3 p1",
             "b1 ic1 i70x90 oc1 f15 p7",
             "b2 ic2 i3x4 oc3 f7 p3",
             "b2 ic4 i11x10 oc6 f2x1 s3x2 p1,0,0,1 residual relu",
             "b3 ic6 i8x12 oc4 f3 p1 g2 conv",
             "b2 ic2 i6x7 oc3 f1 s2 circular p1 residual",
         }) {
        const Conv2dProblem forward = parse_problem(text);
        for (Operation operation : kOperations) {
            for (bool regions : {false, true}) {
                Operands operands(gradient_of(forward, operation), 7, Values::kUniform, Placement::kGuardBytes, regions);
                const reference::Forward expected = operands.expected();
                for (Algorithm algorithm : kAllDeviceAlgorithms) {
                    done[{algorithm, operation}] += expect_equal(options(algorithm), operands, expected);
                }
                expect_equal(options(), operands, expected, {Placement::kGuardBytes, true});
            }
        }
    }
    for (Algorithm algorithm : kAllDeviceAlgorithms) {
        EXPECT_GT((done[{algorithm, Operation::kForward}]), 10) << to_string(algorithm);
        EXPECT_GT((done[{algorithm, Operation::kBackwardData}]), 10) << to_string(algorithm);
        // As many as forward: what it takes of a problem is the same.
        EXPECT_EQ((done[{algorithm, Operation::kBackwardFilters}]), (done[{algorithm, Operation::kForward}])) << to_string(algorithm);
    }
}

/// No load outside a tensor, the packed block or the workspace, not even of a value that a select drops: pages without access lie
/// around them. OpenCL on the CPU reads the host's memory as it is.
TEST_F(DeviceProblems, ReadNothingOutsideTheirMemory) {
    const DeviceInfo info = *device_info(test_device());
    if (info.driver.find("PoCL") == std::string::npos) {
        GTEST_SKIP() << "device '" << to_string(info.device) << "' has memory of its own";  // the others ran: not the word that marks a whole run as skipped
    }
    // Every algorithm, and direct by every variant: filters are packed in blocks of its m.
    std::vector<PlanOptions> everything;
    for (Algorithm algorithm : {Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
        everything.push_back(options(algorithm));
    }
    for (const VariantInfo &v : list_device_variants()) {
        if (v.runnable && v.device == info.device && (v.stage == "conv_implicit" || v.stage == "conv_plane" || v.stage == "filter_gradient")) {
            everything.push_back(options(Algorithm::kDirect));
            everything.back().variant = v.name;
        }
    }
    for (const char *text : {
             "b1 ic30 i5 oc33 f3 p1",
             "b2 ic3 i9x7 oc5 f3 p1 g1 residual relu",
             "b2 ic10 i13x11 oc22 f3x5 s2x1 p1,2,0,3 d1x2 g2",
             "b2 ic6 i12x9 oc6 f5 p2 g6",
             "b1 ic4 i8 oc9 f3 p2 reflect residual",
             "b1 ic3 i6x9 oc5 f3 p3 circular s2",
             "b1 ic3 i7 oc5 f3 p2 constant:0.5 conv",
             "b3 ic5 i9x7 oc17 f3 p1 nhwc residual",
             "b1 ic1 i1 oc1 f1",
             "b2 ic1 i33x35 oc5 f5x3 p2,1,0,1 residual",
             "b3 ic5 i11x9 oc19 f3 p1 g1 reflect",
         }) {
        const Conv2dProblem forward = parse_problem(text);
        for (Operation operation : kOperations) {
            for (const PlanOptions &o : everything) {
                for (Placement placement : {Placement::kPageAfter, Placement::kPageBefore}) {
                    Operands operands(gradient_of(forward, operation), 7, Values::kUniform, placement);
                    const Result<Plan> plan = Plan::create(operands.problem, o);
                    if (!plan && plan.status().code() == StatusCode::kUnsupported) {
                        continue;
                    }
                    ASSERT_TRUE(plan.ok()) << plan.status().message();
                    RunOptions how;
                    how.placement = placement;
                    how.shared_memory = true;
                    const Status status = run_plan(*plan, operands, how);
                    ASSERT_TRUE(status.ok()) << plan->variant() << ", " << operands.to_string() << ": " << status.message();
                    EXPECT_TRUE(matches(operands, operands.expected(), error_limit(o.algorithm))) << plan->variant();
                }
            }
        }
    }
}

TEST_F(DeviceProblems, RandomCases) {
    const int64_t cases = test_cases(60);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem forward = random_problem(random, 3e5);
        const Operation operation = kOperations[random.between(0, 4)];
        Operands operands(gradient_of(forward, operation), seed, random.chance(0.2) ? Values::kPositive : Values::kUniform, Placement::kGuardBytes, random.chance(0.3));
        const reference::Forward expected = operands.expected();
        const bool unpacked = random.chance(0.3);
        for (Algorithm algorithm : kAllDeviceAlgorithms) {
            expect_equal(options(algorithm), operands, expected, {Placement::kGuardBytes, unpacked});
        }
    }
}

/// Every plan that there is of problems which together need every stage: each variant that the device runs is launched by one, and each
/// result is the reference's.
TEST_F(DeviceProblems, EveryStageAndChoice) {
    struct Tracer final : RegistryTracer {
        std::mutex mutex;
        std::set<std::string> called_variants;
        std::set<const Variant *> called_now;
        void looked_up(const Variant &) override {
        }
        void called(const Variant &variant, const int32_t *, int, double) override {
            std::lock_guard<std::mutex> lock(mutex);
            called_variants.insert(variant.name);
            called_now.insert(&variant);
        }
    } tracer;
    for (const auto &[text, operations] : {
             std::pair("b2 ic3 i14x15 oc5 f3 p1 relu", 5),
             {"b1 ic3 i16x15 oc4 f3 p1 reflect nhwc", 3},
             {"b1 ic2 i12x10 oc2 f3 p1 symmetric", 2},
             {"b2 ic2 i9x10 oc3 f2 p1 replicate residual", 1},
             {"b1 ic2 i64x16 oc2 f5 p2 circular", 1},
             {"b1 ic2 i24x30 oc2 f7", 1},
             {"b1 ic2 i9x34 oc4 f3 p1 g2", 1},
         }) {
        for (int i = 0; i < operations; i++) {
            Operands operands(gradient_of(parse_problem(text), kOperations[i]), 11);
            const reference::Forward expected = operands.expected();
            const Result<std::vector<Candidate>> choices = list_choices(operands.problem, options());
            ASSERT_TRUE(choices.ok()) << choices.status().message();
            for (const Candidate &c : *choices) {
                PlanOptions o = options();
                o.choice = c.choice;
                const Result<Plan> plan = Plan::create(operands.problem, o);
                ASSERT_TRUE(plan.ok()) << c.choice << ": " << plan.status().message();
                registry_tracer = &tracer;
                const Status status = run_plan(*plan, operands);
                registry_tracer = nullptr;
                ASSERT_TRUE(status.ok()) << c.choice << ", " << operands.to_string() << ": " << status.message();
                // Records are valid for what the choice names and the entry lists.
                for (const AlgorithmEntry &entry : device_algorithms()) {
                    for (const Variant *v : tracer.called_now) {
                        const bool listed = std::any_of(entry.stages.begin(), entry.stages.end(), [&](const char *stage) { return std::strcmp(stage, v->stage) == 0; });
                        EXPECT_TRUE(entry.algorithm != c.algorithm || listed || (" " + c.choice + " ").find(std::string(" ") + v->name + " ") != std::string::npos) << c.choice << " runs " << v->name;
                    }
                }
                tracer.called_now.clear();
                EXPECT_TRUE(matches(operands, expected, error_limit(c.algorithm))) << c.choice;
            }
        }
    }
    int runnable = 0;
    for (const VariantInfo &v : list_device_variants()) {
        if (v.runnable && v.device == test_device()) {
            EXPECT_EQ(tracer.called_variants.count(v.name), 1u) << v.name << " was launched by no plan";
            runnable++;
        }
    }
    EXPECT_GT(runnable, 30);
}

/// Variants that a plan may be forced to: all of them give the result, none is left out.
TEST_F(DeviceProblems, EveryVariant) {
    int tried = 0;
    for (const VariantInfo &v : list_device_variants()) {
        const bool forward = v.stage == "conv_implicit" && v.parameters.find("form=forward") != std::string::npos, transposed = v.stage == "conv_implicit" && !forward;
        if (!v.runnable || v.device != test_device() || !(forward || transposed || v.stage == "conv_plane" || v.stage == "filter_gradient")) {
            continue;
        }
        const Operation operation = forward || v.stage == "conv_plane" ? Operation::kForward : transposed ? Operation::kBackwardData : Operation::kBackwardFilters;
        const bool plane = v.stage == "conv_plane";
        Operands operands(gradient_of(parse_problem(plane ? "b2 ic3 i67x70 oc15 f3x5 s2 p1 g3" : "b2 ic10 i11x13 oc22 f3 s2 p1 g2"), operation), 5);
        PlanOptions o = options(Algorithm::kDirect);
        o.variant = v.name;
        const Result<Plan> plan = Plan::create(operands.problem, o);
        ASSERT_TRUE(plan.ok()) << v.name << ": " << plan.status().message();
        EXPECT_EQ(plan->variant(), v.name);
        expect_equal(o, operands, operands.expected());
        tried++;
    }
    EXPECT_GE(tried, 10);
}

/// The names of a stage's variants for the device of the test whose parameters hold this.
std::vector<std::string> variants_here(const std::string &stage, const std::string &parameter = "") {
    std::vector<std::string> names;
    for (const VariantInfo &v : list_device_variants()) {
        if (v.runnable && v.device == test_device() && v.stage == stage && v.parameters.find(parameter) != std::string::npos) {
            names.push_back(v.name);
        }
    }
    return names;
}

/// Groups with one input channel by tiles in shared memory: sizes around those of blocks, every kind of padding, strides and dilation, and
/// what does not fit.
TEST_F(DeviceProblems, TilesInSharedMemory) {
    const std::vector<std::string> variants = variants_here("conv_plane");
    ASSERT_GE(variants.size(), 2u);
    for (const char *text : {
             "b1 ic1 i32 oc1 f1",
             "b2 ic1 i33x65 oc6 f3 p1 relu",
             "b1 ic1 i70x90 oc1 f15 p7",
             "b1 ic1 i40 oc3 f31 p15 residual",
             "b2 ic5 i31x33 oc5 f3 p1 g5 nhwc residual",
             "b1 ic4 i20x64 oc12 f5x3 s2x1 p2,0,1,3 g4 conv",
             "b1 ic3 i40x70 oc3 f3 s2 d3 p4 g3 constant:0.5 clamp:-1,1",
             "b1 ic2 i34 oc2 f3 p1 g2 reflect",
             "b1 ic2 i20 oc2 f7 p7 g2 circular",
             "b1 ic2 i33 oc4 f3x1 d5 s3 g2 symmetric p1,1,0,0",
             "b3 ic1 i5x200 oc9 f1x9 s1x3 replicate p0,0,4,4",
         }) {
        for (bool regions : {false, true}) {
            Operands operands(parse_problem(text), 7, Values::kUniform, Placement::kGuardBytes, regions);
            const reference::Forward expected = operands.expected();
            for (const std::string &variant : variants) {
                PlanOptions o = options(Algorithm::kDirect);
                o.variant = variant;
                EXPECT_EQ(expect_equal(o, operands, expected), 1) << text;
            }
        }
    }
    // Depthwise layers and images with one channel take it; small planes, which would leave most of a block idle, do not.
    EXPECT_EQ(Plan::create(parse_problem("b8 ic64 i128 oc64 f7 p3 g64"), options(Algorithm::kDirect))->variant().rfind("conv_plane", 0), 0u);
    EXPECT_EQ(Plan::create(parse_problem("b1 ic1 i1000 oc1 f15 p7"), options(Algorithm::kDirect))->variant().rfind("conv_plane", 0), 0u);
    EXPECT_EQ(Plan::create(parse_problem("b8 ic64 i7 oc64 f3 p1 g64"), options(Algorithm::kDirect))->variant().rfind("conv_implicit", 0), 0u);
    // What a block's shared memory does not hold: the other form, or the reason for who names this one.
    const size_t shared = (*device_runtime(test_device()))->shared_bytes();
    int64_t filter = 1;
    while (static_cast<size_t>((filter + 31) * (filter + 31)) * sizeof(float) <= shared) {
        filter += 2;
    }
    const std::string size = std::to_string(filter);
    const Conv2dProblem large = parse_problem("b1 ic1 i" + std::to_string(filter + 99) + " oc1 f" + size + " p" + std::to_string(filter / 2));
    EXPECT_EQ(Plan::create(large, options(Algorithm::kDirect))->variant().rfind("conv_implicit", 0), 0u);
    PlanOptions named = options(Algorithm::kDirect);
    named.variant = variants.front();
    const Status refused = Plan::create(large, named).status();
    EXPECT_EQ(refused.code(), StatusCode::kUnsupported);
    EXPECT_NE(refused.message().find("bytes of shared memory, of which there are " + std::to_string(shared)), std::string::npos) << refused.message();
}

/// Gradients of filters with a warp to a channel and tap: rows around a warp's length, fewer sums than warps in a block and more, output channels
/// around those of a thread. Plans take it where sums are too few for a thread each.
TEST_F(DeviceProblems, PixelsSharedByAWarp) {
    const std::vector<std::string> variants = variants_here("filter_gradient", "l=32");
    ASSERT_GE(variants.size(), 2u);
    for (const char *text : {
             "b1 ic1 i5x32 oc5 f1",
             "b2 ic3 i7x31 oc3 f3 p1 g3",
             "b1 ic2 i9x70 oc9 f2x3 p1 s1x2 reflect",
             "b3 ic4 i6x33 oc4 f5 p2 g4 nhwc",
             "b1 ic1 i4x65 oc4 f3 p3 constant:0.5 conv",
             "b2 ic6 i40x3 oc8 f3 p1 d1x2 g2",
         }) {
        for (bool regions : {false, true}) {
            Operands operands(gradient_of(parse_problem(text), Operation::kBackwardFilters), 7, Values::kUniform, Placement::kGuardBytes, regions);
            const reference::Forward expected = operands.expected();
            for (Algorithm algorithm : {Algorithm::kDirect, Algorithm::kIm2col}) {
                for (const std::string &variant : variants) {
                    PlanOptions o = options(algorithm);
                    o.variant = variant;
                    EXPECT_EQ(expect_equal(o, operands, expected), 1) << text;
                }
            }
        }
    }
    const auto chosen = [&](const char *text) { return Plan::create(gradient_of(parse_problem(text), Operation::kBackwardFilters), options(Algorithm::kDirect))->variant(); };
    for (const char *few : {"b8 ic64 i56 oc64 f3 p1 g64", "b1 ic1 i200 oc4 f5 p2"}) {
        EXPECT_NE(chosen(few).find("_l32"), std::string::npos) << few << ": " << chosen(few);
    }
    for (const char *many : {"b8 ic64 i56 oc64 f3 p1", "b8 ic256 i7 oc256 f1"}) {
        EXPECT_EQ(chosen(many).find("_l32"), std::string::npos) << many << ": " << chosen(many);
    }
}

TEST_F(DeviceProblems, WorkspaceLimit) {
    // im2col stores columns: the whole batch's, fewer images', or it says what one image needs.
    const Conv2dProblem problem = parse_problem("b4 ic4 i12 oc4 f3 p1");
    const size_t one = 4u * 4 * 9 * 144;
    PlanOptions o = options(Algorithm::kIm2col);
    o.workspace_limit = 2 * one;
    Operands operands(problem, 3);
    expect_equal(o, operands, operands.expected());
    o.workspace_limit = one / 2;
    const Status status = Plan::create(problem, o).status();
    EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
    EXPECT_NE(status.message().find(std::to_string(one)), std::string::npos) << status.message();
}

/// By transforms: more images than are summed at once, which leaves some for a last, smaller sum; and a workspace that holds less.
TEST_F(DeviceProblems, GradientsByTransforms) {
    for (const char *text : {"bwd-filters b1030 ic2 i5x4 oc3 f3 p1", "bwd-filters b1025 ic4 i3 oc2 f2 g2 conv", "bwd-data b4 ic6 i12x9 oc6 f3 s2 p1 g2 reflect"}) {
        Operands operands(parse_problem(text), 3);
        const reference::Forward expected = operands.expected();
        PlanOptions o = options(Algorithm::kFft);
        EXPECT_EQ(expect_equal(o, operands, expected), 1);
        const Result<Plan> whole = Plan::create(operands.problem, o);
        ASSERT_TRUE(whole.ok()) << whole.status().message();
        o.workspace_limit = whole->workspace_bytes() * 3 / 4;
        const Result<Plan> less = Plan::create(operands.problem, o);
        ASSERT_TRUE(less.ok()) << less.status().message();
        EXPECT_LE(less->workspace_bytes(), o.workspace_limit);
        EXPECT_EQ(expect_equal(o, operands, expected), 1);
        o.workspace_limit = 16;
        EXPECT_EQ(Plan::create(operands.problem, o).status().code(), StatusCode::kResourceExhausted);
    }
    const Status phases = Plan::create(parse_problem("bwd-data b1 ic1 i200 oc1 f64 s64"), options(Algorithm::kFft)).status();
    EXPECT_EQ(phases.code(), StatusCode::kUnsupported);
    EXPECT_NE(phases.message().find("has 64x64 phases"), std::string::npos) << phases.message();
}

/// Gradients of filters by transforms of tiles: sums in one part and in several, the last of them shorter, of all images and of those that a
/// limit leaves; groups beside each other and one after the other; strides and dilation whose phases have several taps.
TEST_F(DeviceProblems, FilterGradientsByTransformsOfTiles) {
    for (const auto &[algorithm, words, text, parts] : {
             std::tuple(Algorithm::kFftTiled, " t=16", "b10 ic3 i60x80 oc5 f5 p2", "summed in 6 parts of 59"),  // 5x7 tiles an image
             {Algorithm::kFftTiled, " t=16", "b600 ic2 i5x4 oc3 f3 p1 conv", "summed in 10 parts of 60"},
             {Algorithm::kFftTiled, "", "b2 ic6 i40x35 oc6 f7 p3 g6", "6 of 6 groups at a time"},
             {Algorithm::kFftTiled, "", "b3 ic4 i33x29 oc8 f4 s2 p1,2,0,1 g4 symmetric", "4 phases"},
             {Algorithm::kFftTiled, "", "b2 ic6 i41x30 oc9 f5x4 s2x3 d3x2 p4 g3 conv nhwc", "6 phases"},
             {Algorithm::kFftTiled, "", "b1 ic3 i90 oc2 f33x20 p16 constant:0.5", "tiles of 64x64"},
             {Algorithm::kFftTiled, " t=16", "b1 ic3 i144x132 oc3 f5 p2 g3", "summed in 1 parts of 132"},  // of one group alone: 3
             {Algorithm::kWinograd, " winograd_cut_TARGET_m4_channels", "b9 ic3 i70x61 oc5 f3 p1", "summed in 28 parts of 94"},  // 18x16 tiles an image
             {Algorithm::kWinograd, " winograd_cut_TARGET_m2_channels", "b5 ic70 i14x13 oc35 f3 p1 conv nhwc", "summed in 4 parts of 62"},
             {Algorithm::kWinograd, "", "b4 ic6 i21x18 oc34 f3 g2 p0,2,1,0 reflect", "1 of 2 groups at a time"},
         }) {
        Operands operands(gradient_of(parse_problem(text), Operation::kBackwardFilters), 3, Values::kUniform, Placement::kGuardBytes, true);
        const reference::Forward expected = operands.expected();
        PlanOptions o = options();
        o.choice = std::string(to_string(algorithm)) + words;
        if (const size_t at = o.choice.find("TARGET"); at != std::string::npos) {
            o.choice.replace(at, 6, (*device_runtime(test_device()))->target());
        }
        SCOPED_TRACE(o.choice + ": " + text);
        const Result<Plan> whole = Plan::create(operands.problem, o);
        ASSERT_TRUE(whole.ok()) << whole.status().message();
        EXPECT_NE(whole->describe().find(parts), std::string::npos) << whole->describe();
        const auto expect_result = [&](const Plan &plan) {
            const Status status = run_plan(plan, operands);
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(matches(operands, expected, error_limit(algorithm))) << plan.describe();
            EXPECT_TRUE(operands.bias_matches(1e-6));
        };
        expect_result(*whole);
        // All the way down: fewer images at a time, then fewer groups, with a rest of either.
        int smaller = 0;
        Result<Plan> less = whole;
        for (o.workspace_limit = whole->workspace_bytes() - 1; (less = Plan::create(operands.problem, o)).ok(); o.workspace_limit = less->workspace_bytes() - 1) {
            expect_result(*less);
            smaller++;
        }
        EXPECT_EQ(less.status().code(), StatusCode::kResourceExhausted) << less.status().message();
        EXPECT_TRUE(smaller > 0 || (operands.problem.batch == 1 && operands.problem.groups == 1));
    }
    for (const auto &[algorithm, text, reason] : {
             std::tuple(Algorithm::kFftTiled, "bwd-filters b1 ic1 i200 oc1 f65", "the filter spans 65x65 after decimation; the largest tile is 64x64"),
             {Algorithm::kWinograd, "bwd-filters b1 ic1 i20 oc1 f5", "winograd needs 3x3 filters; these are 5x5"},
             {Algorithm::kWinograd, "bwd-filters b1 ic1 i20 oc1 f3 s2", "winograd on a GPU needs stride 1 and dilation 1"},
         }) {
        const Status refused = Plan::create(parse_problem(text), options(algorithm)).status();
        EXPECT_EQ(refused.code(), StatusCode::kUnsupported) << text;
        EXPECT_NE(refused.message().find(reason), std::string::npos) << refused.message();
    }
}

/// Where a gradient of filters is made by transforms, that of the bias is summed by the variant that direct takes for one tap of one channel.
TEST_F(DeviceProblems, TheBiasGradientHasAVariantOfItsOwn) {
    struct Tracer final : RegistryTracer {
        std::mutex mutex;
        std::set<std::string> sums;
        void looked_up(const Variant &) override {
        }
        void called(const Variant &variant, const int32_t *, int, double) override {
            std::lock_guard<std::mutex> lock(mutex);
            if (std::strcmp(variant.stage, "filter_gradient") == 0) {
                sums.insert(variant.name);
            }
        }
    } tracer;
    std::set<std::string> all;
    for (const auto &[text, one_tap] : {std::pair("bwd-filters b2 ic3 i20x70 oc8 f3 p1", "bwd-filters b2 ic1 i20x70 oc8 f1"), {"bwd-filters b2 ic2 i8x2 oc1 f3 p1", "bwd-filters b2 ic1 i8x2 oc1 f1"}}) {
        const std::string expected = Plan::create(parse_problem(one_tap), options(Algorithm::kDirect))->variant();
        for (Algorithm algorithm : {Algorithm::kFft, Algorithm::kFftTiled, Algorithm::kWinograd}) {
            Operands operands(parse_problem(text), 3);
            const Result<Plan> plan = Plan::create(operands.problem, options(algorithm));
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            tracer.sums.clear();
            registry_tracer = &tracer;
            const Status status = run_plan(*plan, operands);
            registry_tracer = nullptr;
            ASSERT_TRUE(status.ok()) << status.message();
            EXPECT_TRUE(operands.bias_matches(1e-6));
            EXPECT_EQ(tracer.sums, std::set<std::string>{expected}) << to_string(algorithm) << ": " << text;
        }
        all.insert(expected);
    }
    EXPECT_EQ(all.count(variants_here("filter_gradient").front()), 0u) << "the first of the list is none of them, or this test shows nothing";
}

/// A gradient of the filters whose parts do not fit: some images at a time, and a running sum.
TEST_F(DeviceProblems, FilterGradientsOfSomeImagesAtATime) {
    for (const char *text : {"b7 ic4 i12 oc6 f3 p1", "b8 ic4 i12x9 oc6 f3x2 p1 g2 conv", "b5 ic6 i9 oc6 f3 p1 g6 s2 reflect nhwc"}) {
        for (Algorithm algorithm : kDeviceAlgorithms) {
            Operands operands(gradient_of(parse_problem(text), Operation::kBackwardFilters), 3);
            PlanOptions o = options(algorithm);
            const size_t whole = Plan::create(operands.problem, o)->workspace_bytes();
            // The last limit that still has a plan.
            o.workspace_limit = 0;
            const Status needs = Plan::create(operands.problem, o).status();
            ASSERT_EQ(needs.code(), StatusCode::kResourceExhausted) << needs.message();
            const std::string message = needs.message();
            o.workspace_limit = std::stoull(message.substr(message.find("needs ") + 6));
            EXPECT_LT(o.workspace_limit, whole) << text;
            expect_equal(o, operands, operands.expected());
        }
    }
    // As one, the parts of these would be 2.4 GB.
    const Result<Plan> large = Plan::create(gradient_of(parse_problem("b256 ic512 i14 oc512 f3 p1"), Operation::kBackwardFilters), options(Algorithm::kDirect));
    ASSERT_TRUE(large.ok()) << large.status().message();
    EXPECT_NE(large->describe().find("images at a time"), std::string::npos) << large->describe();
}

}  // namespace
}  // namespace fourfold::test
