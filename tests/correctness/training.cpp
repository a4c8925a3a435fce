// TrainingPlan: forward and both gradients on shared spectra, against the double reference, PyTorch's golden results and each other,
// in guarded memory; and what it refuses.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/fourfold.h"
#include "golden/golden_cases.h"
#include "support/npy.h"
#include "support/problems.h"
#include "support/random.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

constexpr double kLimit = 2e-6;  ///< fft's

TrainingPlan make(const Conv2dProblem &problem, const TrainingOptions &options = {}) {
    Result<TrainingPlan> plan = TrainingPlan::create(problem, options);
    EXPECT_TRUE(plan.ok()) << problem.to_string() << ": " << plan.status().message();
    return *plan;
}

/// A problem's three operations on the same x, w and gy, filled at random.
struct Step {
    Operands forward, data, filters;

    Step(const Conv2dProblem &p, uint64_t seed, Values values = Values::kUniform, Placement placement = Placement::kGuardBytes, bool regions = false)
        : forward(p, seed, values, placement, regions), data(gradient_of(p, Operation::kBackwardData), seed + 1, values, placement, regions), filters(gradient_of(p, Operation::kBackwardFilters), seed + 2, values, placement, regions) {
        data.filters.assign(forward.filters.values());
        filters.input.assign(forward.input.values());
        filters.grad_output.assign(data.grad_output.values());
        std::memset(data.bias.data(), 0, data.bias.bytes());
    }

    const float *bias() const {
        return reinterpret_cast<const float *>(forward.bias.data());
    }
    float *grad_bias() const {
        return reinterpret_cast<float *>(filters.bias.data());
    }
};

/// The caller's blocks, exactly as large as the plan says.
struct Blocks {
    GuardedBuffer input, filters, gradient, workspace;

    Blocks(const TrainingPlan &plan, Placement placement)
        : input(plan.input_spectra_bytes(), kAlignment, placement), filters(plan.filter_spectra_bytes(), kAlignment, placement), gradient(plan.gradient_spectra_bytes(), kAlignment, placement), workspace(plan.workspace_bytes(), kAlignment, placement) {
    }
    bool intact() const {
        return input.intact() && filters.intact() && gradient.intact() && workspace.intact();
    }
    static ConstMemoryBlock read(const GuardedBuffer &buffer) {
        return {buffer.data(), buffer.bytes()};
    }
};

Status transform(const TrainingPlan &plan, const Step &s, const Blocks &b) {
    Status status = plan.transform_input(s.forward.input.view(), 1, b.input.block(), b.workspace.block());
    status = status.ok() ? plan.transform_filters(s.forward.filters.view(), 1, b.filters.block(), b.workspace.block()) : status;
    return status.ok() ? plan.transform_gradient(s.data.grad_output.view(), 1, b.gradient.block(), b.workspace.block()) : status;
}

/// The three products, in the order of training, from transformed blocks.
Status multiply(const TrainingPlan &plan, Step &s, const Blocks &b) {
    const ConstMemoryBlock x = Blocks::read(b.input), w = Blocks::read(b.filters), g = Blocks::read(b.gradient);
    Status status = plan.forward(x, w, s.bias(), s.forward.output.mutable_view(), b.workspace.block());
    status = status.ok() ? plan.backward_filters(x, g, s.filters.output.mutable_view(), s.grad_bias(), b.workspace.block()) : status;
    return status.ok() ? plan.backward_data(g, w, s.data.output.mutable_view(), b.workspace.block()) : status;
}

void run(const TrainingPlan &plan, Step &s, Placement placement = Placement::kGuardBytes) {
    const Blocks b(plan, placement);
    for (Operands *o : {&s.forward, &s.data, &s.filters}) {
        o->clear_output();
    }
    const uint64_t before[] = {s.forward.inputs_checksum(), s.data.inputs_checksum(), s.filters.inputs_checksum()};
    const Status transformed = transform(plan, s, b), multiplied = multiply(plan, s, b);
    EXPECT_TRUE(transformed.ok()) << transformed.message();
    EXPECT_TRUE(multiplied.ok()) << multiplied.message();
    EXPECT_TRUE(b.intact()) << s.forward.to_string();
    for (const Operands *o : {&s.forward, &s.data, &s.filters}) {
        EXPECT_TRUE(o->output.surroundings_intact()) << o->to_string();
    }
    EXPECT_EQ(before[0], s.forward.inputs_checksum());
    EXPECT_EQ(before[1], s.data.inputs_checksum());
    EXPECT_EQ(before[2], s.filters.inputs_checksum());
}

void check(const TrainingPlan &plan, Step &s, Placement placement = Placement::kGuardBytes) {
    run(plan, s, placement);
    for (const Operands *o : {&s.forward, &s.data, &s.filters}) {
        EXPECT_TRUE(matches(*o, o->expected(), kLimit)) << plan.describe();
    }
    EXPECT_TRUE(s.filters.bias_matches(1e-6)) << plan.describe();
}

Conv2dProblem without_post(Conv2dProblem p) {
    p.post_op = PostOp::kNone;
    p.residual = false;
    return p;
}

TEST(Training, NamedProblems) {
    for (const char *text : {
             "b1 ic1 i1 oc1 f1", "b3 ic5 i12x11 oc7 f3 p1", "b2 ic20 i17x19 oc9 f7x5 p3,1,0,4", "b4 ic3 i20 oc17 f20 p10", "b2 ic6 i15x14 oc8 f3 s2 p1",
             "b2 ic4 i21x20 oc6 f4x3 s3x2 p2,1,0,1 d2x1", "b1 ic9 i16 oc9 f5 p2 g9", "b2 ic12 i14x13 oc24 f3 p1 g3", "b2 ic6 i9x13 oc5 f3 p1 reflect", "b2 ic6 i9x13 oc5 f3 s2 p2 symmetric",
             "b2 ic6 i9x10 oc5 f5 p2 circular", "b1 ic3 i7x9 oc4 f3 s2 p2 circular", "b2 ic3 i8 oc4 f3 p1 replicate nhwc", "b2 ic18 i10x9 oc12 f3 p1 conv nhwc", "b2 ic4 i11 oc6 f3 p3 constant:0.5",
             "b1 ic2 i9 oc3 f2x4 s5 p1 conv", "b1 ic3 i6 oc2 f3 s9", "b2 ic3 i5x40 oc4 f1x31 p0,0,15,15", "b5 ic1 i9 oc20 f9 p8"}) {
        for (FftBackend backend : fft_backends()) {
            TrainingOptions options;
            options.fft_backend = backend;
            Step s(parse_problem(text), test_seed());
            check(make(s.forward.problem, options), s);
        }
    }
}

TEST(Training, RandomProblems) {
    const int64_t cases = test_cases(200);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem p = without_post(random_problem(random, 1e6));
        TrainingOptions options;
        options.threads = static_cast<int>(random.between(1, 3));
        const Placement placement = kPlacements[random.between(0, 2)];
        Step s(p, seed, random.chance(0.2) ? Values::kPositive : Values::kUniform, placement, random.chance(0.3));
        check(make(p, options), s, placement);
        if (::testing::Test::HasFailure()) {
            FAIL() << seed_note(seed);
        }
    }
}

TEST(Training, AgreesWithPyTorch) {
    for (const GoldenCase &golden : golden_cases()) {
        const auto values = [&](const char *operand) { return read_npy(golden.path(operand)).values; };
        Step s(golden.problem, 0);
        s.forward.input.assign(values("input"));
        s.filters.input.assign(values("input"));
        s.forward.filters.assign(values("filters"));
        s.data.filters.assign(values("filters"));
        s.data.grad_output.assign(values("grad_output"));
        s.filters.grad_output.assign(values("grad_output"));
        const std::vector<float> bias = values("bias"), grad_bias = values("grad_bias");
        std::memcpy(s.forward.bias.data(), bias.data(), s.forward.bias.bytes());
        run(make(golden.problem), s);
        const std::pair<Operands *, const char *> results[] = {{&s.forward, "output"}, {&s.data, "grad_input"}, {&s.filters, "grad_filters"}};
        for (const auto &[operands, name] : results) {
            reference::Forward expected = operands->expected();
            const std::vector<float> theirs = values(name);
            expected.y.assign(theirs.begin(), theirs.end());
            EXPECT_TRUE(matches(*operands, expected, kLimit)) << golden.name << " " << name;
        }
        const double scale = s.filters.expected().scale;
        for (size_t k = 0; k < grad_bias.size(); k++) {
            EXPECT_NEAR(s.grad_bias()[k], grad_bias[k], 1e-6 * scale) << golden.name;
        }
    }
}

TEST(Training, SameBitsForAnyNumberOfThreads) {
    for (const char *text : {"b6 ic20 i29x31 oc24 f9 p4", "b2 ic12 i20x17 oc12 f5 s2 p2 g4 reflect", "b3 ic30 i20 oc30 f3 p1 g30 nhwc"}) {
        Step s(parse_problem(text), test_seed());
        std::vector<float> first[3];
        for (int threads : {1, 2, 3, 8}) {
            TrainingOptions options;
            options.threads = threads;
            run(make(s.forward.problem, options), s);
            const Operands *results[] = {&s.forward, &s.data, &s.filters};
            for (int i = 0; i < 3; i++) {
                const std::vector<float> got = results[i]->output.values();
                if (threads == 1) {
                    first[i] = got;
                }
                EXPECT_TRUE(same_sums(first[i], got)) << results[i]->to_string() << ", " << threads << " threads";
            }
        }
    }
}

/// <conv(x, w), gy> = <x, gx> = <w, gw>, whatever the reference says.
TEST(Training, GradientsAreAdjoint) {
    const auto dot = [](const Array &a, const Array &b) {
        const std::vector<float> x = a.values(), y = b.values();
        double sum = 0.0;
        for (size_t i = 0; i < x.size(); i++) {
            sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
        }
        return sum;
    };
    const int64_t cases = test_cases(200);
    for (int64_t i = 0; i < cases; i++) {
        const uint64_t seed = test_seed() + 5000 + static_cast<uint64_t>(i);
        Random random(seed);
        Conv2dProblem p = without_post(random_problem(random, 3e5));
        p.padding_value = 0.0f;  // what a constant border adds to y depends on no x
        Step s(p, seed, Values::kIntegers);
        std::memset(s.forward.bias.data(), 0, s.forward.bias.bytes());
        run(make(p), s);
        const double y = dot(s.forward.output, s.data.grad_output), gx = dot(s.forward.input, s.data.output), gw = dot(s.forward.filters, s.filters.output);
        const double size = 1.0 + s.forward.expected().scale * static_cast<double>(s.data.grad_output.elements());
        EXPECT_NEAR(y, gx, 1e-5 * size) << p.to_string() << ", " << seed_note(seed);
        EXPECT_NEAR(y, gw, 1e-5 * size) << p.to_string() << ", " << seed_note(seed);
    }
}

TEST(Training, WorkspaceLimit) {
    // The second has little to divide: 3 channels of 2 images a group.
    for (const auto &[text, enough] : {std::pair{"b6 ic20 i29x31 oc24 f9 p4", 0.4}, std::pair{"b2 ic12 i20x17 oc12 f5 s2 p2 g4 reflect", 1.0}}) {
        Step s(parse_problem(text), test_seed());
        TrainingOptions options;
        options.threads = 3;
        const size_t whole = make(s.forward.problem, options).workspace_bytes();
        for (double part : {1.0, 0.7, 0.4, 0.2, 0.1, 0.01}) {
            options.workspace_limit = static_cast<size_t>(static_cast<double>(whole) * part);
            const Result<TrainingPlan> plan = TrainingPlan::create(s.forward.problem, options);
            if (!plan.ok()) {
                EXPECT_EQ(plan.status().code(), StatusCode::kResourceExhausted);
                EXPECT_NE(plan.status().message().find("the limit is " + std::to_string(options.workspace_limit)), std::string::npos) << plan.status().message();
                EXPECT_LT(part, enough) << text;
                continue;
            }
            EXPECT_GT(part, 0.01) << text;
            EXPECT_LE(plan->workspace_bytes(), options.workspace_limit) << plan->describe();
            check(*plan, s);
        }
    }
}

TEST(Training, PlansOfOtherBatchesShareFilters) {
    Step four(parse_problem("b4 ic6 i15 oc7 f7 p3"), test_seed()), one(parse_problem("b1 ic6 i15 oc7 f7 p3"), test_seed() + 9);
    one.forward.filters.assign(four.forward.filters.values());
    const TrainingPlan first = make(four.forward.problem), second = make(one.forward.problem);
    const Blocks a(first, Placement::kGuardBytes), b(second, Placement::kGuardBytes);
    ASSERT_EQ(a.filters.bytes(), b.filters.bytes());
    ASSERT_TRUE(transform(first, four, a).ok());
    ASSERT_TRUE(second.transform_input(one.forward.input.view(), 1, b.input.block(), b.workspace.block()).ok());
    const Status status = second.forward(Blocks::read(b.input), Blocks::read(a.filters), one.bias(), one.forward.output.mutable_view(), b.workspace.block());
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(matches(one.forward, one.forward.expected(), kLimit));
}

TEST(Training, WithoutBias) {
    Step s(parse_problem("b2 ic3 i9 oc4 f5 p2"), test_seed());
    const TrainingPlan plan = make(s.forward.problem);
    const Blocks b(plan, Placement::kGuardBytes);
    ASSERT_TRUE(transform(plan, s, b).ok());
    ASSERT_TRUE(plan.forward(Blocks::read(b.input), Blocks::read(b.filters), nullptr, s.forward.output.mutable_view(), b.workspace.block()).ok());
    std::memset(s.forward.bias.data(), 0, s.forward.bias.bytes());
    EXPECT_TRUE(matches(s.forward, s.forward.expected(), kLimit));
    ASSERT_TRUE(plan.backward_filters(Blocks::read(b.input), Blocks::read(b.gradient), s.filters.output.mutable_view(), nullptr, b.workspace.block()).ok());
    EXPECT_TRUE(matches(s.filters, s.filters.expected(), kLimit));
}

TEST(Training, RefusesProblems) {
    const auto refused = [](const char *text, StatusCode code, const char *word) {
        const Result<TrainingPlan> plan = TrainingPlan::create(*Conv2dProblem::parse(text));
        ASSERT_FALSE(plan.ok()) << text;
        EXPECT_EQ(plan.status().code(), code) << plan.status().message();
        EXPECT_NE(plan.status().message().find(word), std::string::npos) << plan.status().message();
    };
    refused("bwd-data b1 ic2 i5 oc3 f3", StatusCode::kUnsupported, "another operation");
    refused("b1 ic2 i5 oc3 f3 relu", StatusCode::kUnsupported, "post-op");
    refused("b1 ic2 i5 oc3 f3 residual", StatusCode::kUnsupported, "residual");
    refused("b1 ic2 i5 oc3 f7", StatusCode::kInvalidArgument, "padded input");
    refused("b1 ic1 i100000 oc1 f3", StatusCode::kUnsupported, "2^31 bytes");
    refused("b33554432 ic65536 i256 oc65536 f3 p1", StatusCode::kResourceExhausted, "bytes");
    TrainingOptions options;
    options.threads = -1;
    const Result<TrainingPlan> plan = TrainingPlan::create(parse_problem("b1 ic2 i5 oc3 f3"), options);
    ASSERT_FALSE(plan.ok());
    EXPECT_NE(plan.status().message().find("threads is -1"), std::string::npos) << plan.status().message();
}

class Misuse : public ::testing::Test {
protected:
    Step s{parse_problem("b2 ic3 i9 oc4 f5 p2"), test_seed()};
    const TrainingPlan plan = make(s.forward.problem);
    Blocks b{plan, Placement::kGuardBytes};

    void SetUp() override {
        const Status status = transform(plan, s, b);
        ASSERT_TRUE(status.ok()) << status.message();
        s.forward.clear_output();
        s.data.clear_output();
        s.filters.clear_output();
    }
    Status forward(ConstMemoryBlock x, ConstMemoryBlock w, MemoryBlock workspace) {
        return plan.forward(x, w, s.bias(), s.forward.output.mutable_view(), workspace);
    }
    void expect(const Status &status, const char *word) {
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << status.message();
        EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
        for (Operands *o : {&s.forward, &s.data, &s.filters}) {
            for (float value : o->output.values()) {
                ASSERT_TRUE(std::isnan(value)) << "written, though refused: " << status.message();
            }
        }
    }
};

TEST_F(Misuse, Blocks) {
    const ConstMemoryBlock x = Blocks::read(b.input), w = Blocks::read(b.filters), g = Blocks::read(b.gradient);
    const MemoryBlock ws = b.workspace.block();
    expect(forward({}, w, ws), "input spectra is null");
    expect(forward(x, {w.data, w.bytes - 1}, ws), "filter spectra has");
    expect(forward({static_cast<const std::byte *>(x.data) + 4, x.bytes}, w, ws), "not aligned");
    expect(forward(x, w, {}), "workspace is null");
    expect(forward(x, w, {ws.data, ws.bytes - 1}), "workspace has");
    // Blocks of one size, so that only what they hold is wrong.
    AlignedBuffer other(std::max({x.bytes, w.bytes, g.bytes}));
    std::memset(other.data(), 0, other.bytes());
    expect(forward(other, w, ws), "none that this plan's transforms wrote");
    std::memcpy(other.data(), w.data, w.bytes);
    expect(forward(other, w, ws), "the block holds filter spectra");
    std::memcpy(other.data(), g.data, g.bytes);
    expect(plan.backward_data(other, other, s.data.output.mutable_view(), ws), "filter spectra: the block holds gradient spectra");
    Step same_size(parse_problem("b2 ic3 i9 oc4 f3 p2"), test_seed());
    const TrainingPlan stranger = make(same_size.forward.problem);
    AlignedBuffer theirs(std::max(stranger.input_spectra_bytes(), x.bytes)), scratch(stranger.workspace_bytes());
    ASSERT_TRUE(stranger.transform_input(same_size.forward.input.view(), 1, theirs, scratch).ok());
    expect(forward(theirs, w, ws), "another problem, plan or version");
}

TEST_F(Misuse, Steps) {
    const ConstMemoryBlock x = Blocks::read(b.input), w = Blocks::read(b.filters), g = Blocks::read(b.gradient);
    ASSERT_TRUE(plan.transform_input(s.forward.input.view(), 2, b.input.block(), b.workspace.block()).ok());
    expect(forward(x, w, b.workspace.block()), "input spectra are of step 2, filter spectra of step 1");
    expect(plan.backward_filters(x, g, s.filters.output.mutable_view(), s.grad_bias(), b.workspace.block()), "gradient spectra of step 1");
    ASSERT_TRUE(plan.transform_filters(s.forward.filters.view(), 2, b.filters.block(), b.workspace.block()).ok());
    expect(plan.backward_data(g, w, s.data.output.mutable_view(), b.workspace.block()), "gradient spectra are of step 1, filter spectra of step 2");
    expect(plan.transform_input(s.forward.input.view(), -1, b.input.block(), b.workspace.block()), "step is -1");
    const Status status = forward(x, w, b.workspace.block());
    EXPECT_TRUE(status.ok()) << status.message();
}

TEST_F(Misuse, TensorsAndOverlaps) {
    const ConstMemoryBlock x = Blocks::read(b.input), w = Blocks::read(b.filters), g = Blocks::read(b.gradient);
    const MemoryBlock ws = b.workspace.block();
    expect(plan.transform_input(nullptr, 1, b.input.block(), ws), "input is null");
    expect(plan.transform_filters(s.forward.filters.view(), 1, {b.filters.data(), b.filters.bytes() - 64}, ws), "filter spectra has");
    expect(plan.transform_gradient(s.data.grad_output.view(), 1, b.gradient.block(), {}), "workspace is null");
    expect(plan.transform_gradient(s.data.grad_output.view(), 1, ws, ws), ws.bytes >= b.gradient.bytes() ? "overlap" : "gradient spectra has");
    expect(plan.transform_input(reinterpret_cast<const float *>(b.workspace.data()), 1, b.input.block(), ws), "input and workspace overlap");
    expect(plan.forward(x, w, s.bias(), nullptr, ws), "output is null");
    expect(plan.forward(x, w, reinterpret_cast<const float *>(s.forward.bias.data() + 1), s.forward.output.mutable_view(), ws), "bias is not aligned");
    expect(plan.forward(x, w, s.bias(), reinterpret_cast<float *>(b.input.data() + 128), ws), "output and input spectra overlap");
    expect(plan.backward_data(g, w, reinterpret_cast<float *>(b.filters.data() + 128), ws), "grad_input and filter spectra overlap");
    expect(plan.backward_filters(x, g, reinterpret_cast<float *>(b.workspace.data()), nullptr, ws), "grad_filters and workspace overlap");
    expect(plan.backward_filters(x, g, s.filters.output.mutable_view(), reinterpret_cast<float *>(b.gradient.data() + 64), ws), "grad_bias and gradient spectra overlap");
    expect(forward(x, w, {b.input.data(), ws.bytes}), "workspace and input spectra overlap");
    expect(plan.backward_data(g, w, MutableView(s.data.output.data(), 1, 1, 1, 1), ws), "must not overlap");
}

TEST_F(Misuse, EmptyPlan) {
    const TrainingPlan empty = [] { TrainingPlan moved_from = make(parse_problem("b1 ic1 i3 oc1 f3")); const TrainingPlan taken = std::move(moved_from); return moved_from; }();
    expect(empty.forward({}, {}, nullptr, nullptr, {}), "the plan is empty");
    expect(empty.transform_input(nullptr, 0, {}, {}), "the plan is empty");
}

}  // namespace
}  // namespace fourfold::test
