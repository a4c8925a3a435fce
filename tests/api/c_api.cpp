// The C interface: the same results as the C++ one, and every misuse a code with a sentence.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "api/prepared.h"
#include "fourfold/fourfold_c.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

/// A plan that goes away with the scope.
struct CPlan {
    fourfold_plan *plan = nullptr;
    ~CPlan() {
        fourfold_plan_destroy(plan);
    }
};

fourfold_problem parsed(const std::string &text) {
    fourfold_problem problem;
    EXPECT_EQ(fourfold_problem_parse(&problem, sizeof problem, text.c_str()), FOURFOLD_OK) << fourfold_last_error();
    return problem;
}

std::string printed(const fourfold_problem &problem) {
    char text[256];
    EXPECT_EQ(fourfold_problem_print(&problem, text, sizeof text, nullptr), FOURFOLD_OK) << fourfold_last_error();
    return text;
}

fourfold_plan_info info_of(const fourfold_plan *plan) {
    fourfold_plan_info info = {};
    info.struct_size = sizeof info;
    EXPECT_EQ(fourfold_plan_query(plan, &info), FOURFOLD_OK) << fourfold_last_error();
    return info;
}

fourfold_const_view c_view(const ConstView &v) {
    return {v.data, {v.strides[0], v.strides[1], v.strides[2], v.strides[3]}, !v.dense};
}
fourfold_view c_view(const MutableView &v) {
    return {v.data, {v.strides[0], v.strides[1], v.strides[2], v.strides[3]}, !v.dense};
}

fourfold_tensors c_tensors(const Tensors &t) {
    fourfold_tensors c = {};
    c.struct_size = sizeof c;
    c.input = c_view(t.input);
    c.filters = c_view(t.filters.view);
    c.packed_filters = t.filters.packed.data;
    c.packed_filter_bytes = t.filters.packed.bytes;
    c.bias = t.bias;
    c.residual = c_view(t.residual);
    c.output = c_view(t.output);
    c.grad_output = c_view(t.grad_output);
    c.grad_input = c_view(t.grad_input);
    c.grad_filters = c_view(t.grad_filters);
    c.grad_bias = t.grad_bias;
    return c;
}

/// The message of the last call names `word`.
::testing::AssertionResult says(const char *word) {
    const std::string message = fourfold_last_error();
    return (message.find(word) != std::string::npos ? ::testing::AssertionSuccess() : ::testing::AssertionFailure()) << "'" << message << "'";
}

TEST(CApi, Versions) {
    EXPECT_STREQ(fourfold_version(), version());
    EXPECT_EQ(fourfold_abi_version(), FOURFOLD_ABI_VERSION);
}

TEST(CApi, ProblemsReadAndPrintAsInCpp) {
    for (const char *text : {"fwd b8 ic64 i56x57 oc32 f3x5 s2x1 p1,0,2,3 d1x2 g32", "bwd-data b1 ic3 i9x9 oc4 f3x3 constant:0.25 conv nhwc residual clamp:-1,2", "bwd-filters b2 ic3 i9x7 oc4 f3x3 p1,1,1,1 reflect", "fold b1 ic1 i9x9 oc1 f3x3"}) {
        EXPECT_EQ(printed(parsed(text)), Conv2dProblem::parse(text)->to_string());
    }
    fourfold_problem problem;
    ASSERT_EQ(fourfold_problem_init(&problem, sizeof problem), FOURFOLD_OK);
    EXPECT_EQ(printed(problem), Conv2dProblem().to_string());
    EXPECT_EQ(fourfold_problem_parse(&problem, sizeof problem, "b8 banana"), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("banana"));
    EXPECT_EQ(fourfold_problem_parse(&problem, sizeof problem, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("text is null"));
}

TEST(CApi, TextIsCutAtTheCapacity) {
    const fourfold_problem problem = parsed("b8 ic64 i56 oc64 f3 p1");
    const std::string whole = printed(problem);
    char text[8] = "zzzzzzz";
    size_t length = 0;
    EXPECT_EQ(fourfold_problem_print(&problem, text, 5, &length), FOURFOLD_OK);
    EXPECT_EQ(std::string(text), whole.substr(0, 4));
    EXPECT_EQ(text[5], 'z');
    EXPECT_EQ(length, whole.size());
    EXPECT_EQ(fourfold_problem_print(&problem, nullptr, 0, &length), FOURFOLD_OK);
    EXPECT_EQ(fourfold_problem_print(&problem, nullptr, 3, &length), FOURFOLD_INVALID_ARGUMENT);
}

TEST(CApi, SizesAndPadding) {
    fourfold_problem problem = parsed("b2 ic3 i9x8 oc4 f3x4 s2");
    const Conv2dProblem reference = *Conv2dProblem::parse("b2 ic3 i9x8 oc4 f3x4 s2");
    int64_t h = 0, w = 0;
    for (const auto &[padding, expected] : {std::pair(FOURFOLD_SAME, reference.same()), std::pair(FOURFOLD_FULL, reference.full()), std::pair(FOURFOLD_VALID, reference.valid())}) {
        ASSERT_EQ(fourfold_problem_set_padding(&problem, padding), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(printed(problem), expected.to_string());
        ASSERT_EQ(fourfold_problem_output_size(&problem, &h, &w), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(h, expected.out_height());
        EXPECT_EQ(w, expected.out_width());
    }
    double flops = 0;
    ASSERT_EQ(fourfold_problem_flops(&problem, &flops), FOURFOLD_OK);
    EXPECT_EQ(flops, reference.flops());
    EXPECT_EQ(fourfold_problem_set_padding(&problem, 3), FOURFOLD_INVALID_ARGUMENT);
    problem.stride_h = 0;
    EXPECT_EQ(fourfold_problem_output_size(&problem, &h, &w), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("0x2"));
    EXPECT_EQ(fourfold_problem_validate(&problem), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("stride_h is 0"));
}

TEST(CApi, Transposed) {
    fourfold_transposed layer;
    ASSERT_EQ(fourfold_transposed_init(&layer, sizeof layer), FOURFOLD_OK);
    layer.batch = 2;
    layer.in_channels = 6;
    layer.in_height = 7;
    layer.in_width = 5;
    layer.out_channels = 4;
    layer.filter_height = layer.filter_width = 3;
    layer.stride_h = layer.stride_w = 2;
    layer.padding_h = layer.padding_w = 1;
    layer.output_padding_w = 1;
    layer.groups = 2;
    Conv2dProblem::Transposed reference;
    reference.batch = 2;
    reference.in_channels = 6;
    reference.in_height = 7;
    reference.in_width = 5;
    reference.out_channels = 4;
    reference.filter_height = reference.filter_width = 3;
    reference.stride_h = reference.stride_w = 2;
    reference.padding_h = reference.padding_w = 1;
    reference.output_padding_w = 1;
    reference.groups = 2;
    fourfold_problem problem;
    ASSERT_EQ(fourfold_problem_transposed(&problem, sizeof problem, &layer), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(printed(problem), Conv2dProblem::transposed(reference).to_string());

    // Under dilation output padding may exceed the padding, which is then negative after; in this operation only.
    layer.dilation_h = layer.dilation_w = reference.dilation_h = reference.dilation_w = 3;
    layer.output_padding_h = layer.output_padding_w = reference.output_padding_h = reference.output_padding_w = 2;
    ASSERT_EQ(fourfold_problem_transposed(&problem, sizeof problem, &layer), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(printed(problem), Conv2dProblem::transposed(reference).to_string());
    EXPECT_EQ(problem.pad_bottom, -1);
    int64_t h = 0, w = 0;
    ASSERT_EQ(fourfold_problem_output_size(&problem, &h, &w), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(h, 7);
    EXPECT_EQ(w, 5);
    CPlan c;
    ASSERT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(printed(parsed(printed(problem).c_str())), printed(problem));
    problem.operation = FOURFOLD_FORWARD;
    EXPECT_EQ(fourfold_problem_validate(&problem), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("padding must not be negative"));

    layer.output_padding_h = 3;
    ASSERT_EQ(fourfold_problem_transposed(&problem, sizeof problem, &layer), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(fourfold_problem_validate(&problem), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("output padding 3x2, stride 2x2, dilation 3x3"));
}

/// Every operation through C, into the operands of a plan made in C++: dense and strided, packed and not.
TEST(CApi, ComputesAsCpp) {
    for (const char *text : {"b2 ic6 i14x15 oc10 f3 p1 relu residual", "b2 ic6 i14x15 oc10 f3 s2 p1 nhwc", "bwd-data b2 ic6 i14x15 oc10 f3 p1", "bwd-filters b2 ic6 i14x15 oc10 f3 p1"}) {
        SCOPED_TRACE(text);
        for (const bool packed : {true, false}) {
            Prepared p = prepare(parse_problem(text), {}, test_seed());
            const fourfold_problem problem = parsed(text);
            CPlan c;
            ASSERT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_OK) << fourfold_last_error();
            const fourfold_plan_info info = info_of(c.plan);
            EXPECT_EQ(info.variant, p.plan.variant());
            EXPECT_EQ(info.algorithm, static_cast<int>(p.plan.algorithm()));
            EXPECT_EQ(info.threads, p.plan.threads());
            EXPECT_EQ(info.workspace_bytes, p.plan.workspace_bytes());
            EXPECT_EQ(info.workspace_bytes_unpacked, p.plan.workspace_bytes_unpacked());
            EXPECT_EQ(info.packed_filter_bytes, p.plan.packed_filter_bytes());
            EXPECT_EQ(info.predicted_seconds, p.plan.predicted_seconds());
            fourfold_problem back;
            ASSERT_EQ(fourfold_plan_problem(c.plan, &back, sizeof back), FOURFOLD_OK);
            EXPECT_EQ(printed(back), printed(problem));

            void *workspace = fourfold_alloc(info.workspace_bytes_unpacked), *block = fourfold_alloc(info.packed_filter_bytes);
            EXPECT_EQ(reinterpret_cast<uintptr_t>(workspace) % FOURFOLD_ALIGNMENT, 0u);
            fourfold_tensors tensors = c_tensors(p.operands.tensors());
            if (packed && info.packed_filter_bytes != 0) {
                ASSERT_EQ(fourfold_plan_pack_filters(c.plan, &tensors.filters, block, info.packed_filter_bytes, workspace, info.workspace_bytes_unpacked, nullptr), FOURFOLD_OK) << fourfold_last_error();
                tensors.filters = {};
                tensors.packed_filters = block;
                tensors.packed_filter_bytes = info.packed_filter_bytes;
            }
            EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, workspace, info.workspace_bytes_unpacked, nullptr), FOURFOLD_OK) << fourfold_last_error();
            EXPECT_TRUE(matches(p.operands, p.operands.expected(), error_limit(p.plan.algorithm())));
            fourfold_free(workspace);
            fourfold_free(block);
        }
    }
}

TEST(CApi, ExecutorAndProfile) {
    Prepared p = prepare(parse_problem("b3 ic12 i33x35 oc20 f3 p1 reflect"), {}, test_seed());
    const fourfold_problem problem = parsed("b3 ic12 i33x35 oc20 f3 p1 reflect");
    fourfold_plan_options options;
    ASSERT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
    options.threads = 3;
    options.algorithm = FOURFOLD_ALGORITHM_DIRECT;
    CPlan c;
    ASSERT_EQ(fourfold_plan_create(&problem, &options, &c.plan), FOURFOLD_OK) << fourfold_last_error();
    const fourfold_plan_info info = info_of(c.plan);
    EXPECT_EQ(info.algorithm, FOURFOLD_ALGORITHM_DIRECT);
    EXPECT_EQ(info.threads, 3);
    int most = 0;
    fourfold_context context = {};
    context.struct_size = sizeof context;
    context.executor_data = &most;
    context.executor = [](void *data, int jobs, fourfold_job job, void *argument) {
        *static_cast<int *>(data) = std::max(*static_cast<int *>(data), jobs);
        for (int i = jobs - 1; i >= 0; i--) {
            job(argument, i);
        }
    };
    ASSERT_EQ(fourfold_profile_create(&context.profile), FOURFOLD_OK);
    void *workspace = fourfold_alloc(info.workspace_bytes_unpacked);
    const fourfold_tensors tensors = c_tensors(p.operands.tensors());
    EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, workspace, info.workspace_bytes_unpacked, &context), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_TRUE(matches(p.operands, p.operands.expected(), error_limit(Algorithm::kDirect)));
    EXPECT_GT(most, 1);
    EXPECT_LE(most, 3);

    size_t count = 0;
    ASSERT_EQ(fourfold_profile_stages(context.profile, nullptr, 0, &count), FOURFOLD_OK);
    ASSERT_GE(count, 1u);
    std::vector<fourfold_stage> stages(count);
    ASSERT_EQ(fourfold_profile_stages(context.profile, stages.data(), stages.size(), &count), FOURFOLD_OK);
    for (const fourfold_stage &stage : stages) {
        EXPECT_GT(stage.calls, 0) << stage.name;
        EXPECT_GE(stage.seconds, 0.0) << stage.name;
    }
    EXPECT_EQ(fourfold_profile_reset(context.profile), FOURFOLD_OK);
    ASSERT_EQ(fourfold_profile_stages(context.profile, nullptr, 0, &count), FOURFOLD_OK);
    EXPECT_EQ(count, 0u);
    fourfold_profile_destroy(context.profile);
    fourfold_free(workspace);
}

TEST(CApi, UnfoldAndFold) {
    for (const char *text : {"unfold b2 ic3 i9x8 oc1 f3 s2 p1", "fold b2 ic3 i9x8 oc1 f3 s2 p1"}) {
        Operands operands(parse_problem(text), test_seed());
        const fourfold_problem problem = parsed(text);
        CPlan c;
        ASSERT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_OK) << fourfold_last_error();
        const fourfold_plan_info info = info_of(c.plan);
        void *workspace = fourfold_alloc(info.workspace_bytes);
        const fourfold_tensors tensors = c_tensors(operands.tensors());
        EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, workspace, info.workspace_bytes, nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
        fourfold_free(workspace);
    }
}

TEST(CApi, ChoiceEffortAndBlockList) {
    const fourfold_problem problem = parsed("b1 ic16 i20 oc16 f3 p1");
    CPlan c, again;
    fourfold_plan_options options;
    ASSERT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
    const char *const blocked[] = {"winograd", "fft_tiled"};
    options.blocked = blocked;
    options.blocked_count = 2;
    ASSERT_EQ(fourfold_plan_create(&problem, &options, &c.plan), FOURFOLD_OK) << fourfold_last_error();
    const fourfold_plan_info info = info_of(c.plan);
    EXPECT_NE(info.algorithm, FOURFOLD_ALGORITHM_WINOGRAD);
    EXPECT_NE(info.algorithm, FOURFOLD_ALGORITHM_FFT_TILED);
    EXPECT_STRNE(info.decided_by, "");
    EXPECT_NE(info.tier, FOURFOLD_TIER_CALLER);
    ASSERT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
    options.choice = info.choice;
    ASSERT_EQ(fourfold_plan_create(&problem, &options, &again.plan), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_STREQ(info_of(again.plan).choice, info.choice);
    EXPECT_STREQ(info_of(again.plan).decided_by, "named by the caller");
    EXPECT_EQ(info_of(again.plan).tier, FOURFOLD_TIER_CALLER);
    const auto refused = [&](const char *word) {
        CPlan none;
        EXPECT_EQ(fourfold_plan_create(&problem, &options, &none.plan), FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says(word));
        EXPECT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
    };
    options.choice = "banana";
    refused("banana");
    options.effort = 2;
    refused("effort is 2");
    options.cache = -1;
    refused("cache is -1");
    options.blocked_count = 1;
    refused("blocked is null");
    const char *const empty[] = {nullptr};
    options.blocked = empty;
    options.blocked_count = 1;
    refused("name 0 in blocked is null");
    const char *const unknown[] = {"winograd", "winogrd"};
    options.blocked = unknown;
    options.blocked_count = 2;
    refused("'winogrd' is neither an algorithm");
    // A program compiled before these members existed.
    options.struct_size = offsetof(fourfold_plan_options, choice);
    options.choice = "banana";
    CPlan older;
    EXPECT_EQ(fourfold_plan_create(&problem, &options, &older.plan), FOURFOLD_OK) << fourfold_last_error();
}

/// The three operations in both orders, packed and not, as C++ computes them to the bit.
TEST(CApi, SpectralProduct) {
    for (const char *text : {"spectral b5 ic3 i4x3 oc6", "spectral b5 ic3 i4x3 oc6 bcij", "spectral b5 ic3 i4x3 oc6 bwd-data", "spectral b5 ic3 i4x3 oc6 bwd-filters bcij"}) {
        SCOPED_TRACE(text);
        const SpectralProblem p = *SpectralProblem::parse(text);
        fourfold_spectral_problem problem;
        ASSERT_EQ(fourfold_spectral_problem_parse(&problem, sizeof problem, text), FOURFOLD_OK) << fourfold_last_error();
        char printed_text[64];
        ASSERT_EQ(fourfold_spectral_problem_print(&problem, printed_text, sizeof printed_text, nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(printed_text, p.to_string());
        fourfold_spectral_plan *plan = nullptr;
        ASSERT_EQ(fourfold_spectral_plan_create(&problem, nullptr, &plan), FOURFOLD_OK) << fourfold_last_error();
        const SpectralPlan reference = *SpectralPlan::create(p);
        fourfold_spectral_info info = {};
        info.struct_size = sizeof info;
        ASSERT_EQ(fourfold_spectral_plan_query(plan, &info), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(info.variant, reference.variant());
        EXPECT_EQ(info.threads, reference.threads());
        EXPECT_EQ(info.workspace_bytes, reference.workspace_bytes());
        EXPECT_EQ(info.packed_filter_bytes, reference.packed_filter_bytes());
        char line[4096];
        ASSERT_EQ(fourfold_spectral_plan_describe(plan, line, sizeof line, nullptr), FOURFOLD_OK);
        EXPECT_EQ(line, reference.describe());

        Random random(test_seed());
        const auto spectrum = [&](int64_t a, int64_t b) {
            std::vector<float> pairs(static_cast<size_t>(2 * a * b * p.frequencies()));
            for (float &value : pairs) {
                value = random.uniform(-1, 1);
            }
            return pairs;
        };
        const auto numbers = [](std::vector<float> &pairs) { return reinterpret_cast<Complex *>(pairs.data()); };
        std::vector<float> x = spectrum(p.batch, p.in_channels), w = spectrum(p.in_channels, p.out_channels), y = spectrum(p.batch, p.out_channels);
        std::vector<float> &result = p.operation == Operation::kForward ? y : p.operation == Operation::kBackwardData ? x : w;
        std::vector<float> expected = result;
        AlignedBuffer workspace(info.workspace_bytes_unpacked + 1), packed(info.packed_filter_bytes);
        SpectralTensors t;
        t.accumulate = true;
        fourfold_spectral_tensors c = {};
        c.struct_size = sizeof c;
        c.accumulate = 1;
        c.filters.data = w.data();
        t.filters = numbers(w);
        c.input.data = x.data();
        t.input = numbers(x);
        c.grad_output.data = y.data();
        t.grad_output = numbers(y);
        (p.operation == Operation::kForward ? c.output : p.operation == Operation::kBackwardData ? c.grad_input : c.grad_filters).data = result.data();
        (p.operation == Operation::kForward ? t.output : p.operation == Operation::kBackwardData ? t.grad_input : t.grad_filters) = numbers(expected);
        ASSERT_TRUE(reference.execute(t, workspace).ok());
        ASSERT_EQ(fourfold_spectral_plan_execute(plan, &c, workspace.data(), workspace.bytes(), nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(result, expected);
        if (info.packed_filter_bytes != 0) {
            ASSERT_EQ(fourfold_spectral_plan_pack_filters(plan, &c.filters, packed.data(), packed.bytes(), nullptr), FOURFOLD_OK) << fourfold_last_error();
            c.filters = {};
            c.packed_filters = packed.data();
            c.packed_filter_bytes = packed.bytes();
            ASSERT_TRUE(reference.execute(t, workspace).ok());
            ASSERT_EQ(fourfold_spectral_plan_execute(plan, &c, workspace.data(), workspace.bytes(), nullptr), FOURFOLD_OK) << fourfold_last_error();
            EXPECT_EQ(result, expected);
        }
        fourfold_spectral_plan_destroy(plan);
    }
}

TEST(CApi, SpectralTransform) {
    const SpectralTransform reference = *SpectralTransform::create(6, 10, SpectralOrder::kBcij);
    fourfold_spectral_transform *transform = nullptr;
    ASSERT_EQ(fourfold_spectral_transform_create(6, 10, FOURFOLD_BCIJ, nullptr, &transform), FOURFOLD_OK) << fourfold_last_error();
    size_t bytes = 0;
    ASSERT_EQ(fourfold_spectral_transform_workspace(transform, &bytes), FOURFOLD_OK);
    EXPECT_EQ(bytes, reference.workspace_bytes());
    const AlignedBuffer workspace(bytes);
    Random random(test_seed());
    std::vector<float> x(2 * 3 * 60), back(x.size()), spectra(2 * 2 * 3 * 36), w(4 * 3 * 9), filters(2 * 4 * 3 * 36);
    for (std::vector<float> *values : {&x, &w}) {
        for (float &value : *values) {
            value = random.uniform(-1, 1);
        }
    }
    std::vector<Complex> expected(spectra.size() / 2), expected_filters(filters.size() / 2);
    ASSERT_EQ(fourfold_spectral_transform_forward(transform, x.data(), 2, 3, spectra.data(), workspace.data(), bytes, nullptr), FOURFOLD_OK) << fourfold_last_error();
    ASSERT_TRUE(reference.forward(x.data(), 2, 3, expected.data(), workspace).ok());
    EXPECT_EQ(std::memcmp(spectra.data(), expected.data(), spectra.size() * sizeof(float)), 0);
    ASSERT_EQ(fourfold_spectral_transform_inverse(transform, spectra.data(), 2, 3, back.data(), workspace.data(), bytes, nullptr), FOURFOLD_OK) << fourfold_last_error();
    for (size_t i = 0; i < x.size(); i++) {
        ASSERT_NEAR(x[i], back[i], 1e-6);
    }
    const fourfold_problem problem = parsed("b2 ic3 i6x10 oc4 f3 p1 circular");
    ASSERT_EQ(fourfold_spectral_transform_filters(transform, &problem, w.data(), filters.data(), workspace.data(), bytes, nullptr), FOURFOLD_OK) << fourfold_last_error();
    ASSERT_TRUE(reference.filters(parse_problem("b2 ic3 i6x10 oc4 f3 p1 circular"), w.data(), expected_filters.data(), workspace).ok());
    EXPECT_EQ(std::memcmp(filters.data(), expected_filters.data(), filters.size() * sizeof(float)), 0);
    fourfold_spectral_transform_destroy(transform);
}

TEST(CApi, SpectralMisuse) {
    fourfold_spectral_problem problem;
    ASSERT_EQ(fourfold_spectral_problem_init(&problem, sizeof problem), FOURFOLD_OK);
    EXPECT_EQ(problem.batch, 1);
    fourfold_spectral_plan *plan = nullptr;
    problem.order = 2;
    EXPECT_EQ(fourfold_spectral_plan_create(&problem, nullptr, &plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("order is 2"));
    problem.order = 0;
    problem.batch = 0;
    EXPECT_EQ(fourfold_spectral_plan_create(&problem, nullptr, &plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("batch is 0"));
    EXPECT_EQ(fourfold_spectral_problem_validate(&problem), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("batch is 0"));
    double flops = 7;
    EXPECT_EQ(fourfold_spectral_problem_flops(&problem, &flops), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(flops, 7);
    problem.batch = 2;
    EXPECT_EQ(fourfold_spectral_problem_validate(&problem), FOURFOLD_OK);
    ASSERT_EQ(fourfold_spectral_problem_flops(&problem, &flops), FOURFOLD_OK);
    EXPECT_EQ(flops, 16);
    EXPECT_EQ(fourfold_spectral_problem_flops(&problem, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("flops is null"));
    EXPECT_EQ(fourfold_spectral_problem_validate(nullptr), FOURFOLD_INVALID_ARGUMENT);
    fourfold_spectral_options options;
    ASSERT_EQ(fourfold_spectral_options_init(&options, sizeof options), FOURFOLD_OK);
    options.variant = "banana";
    EXPECT_EQ(fourfold_spectral_plan_create(&problem, &options, &plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("banana"));
    EXPECT_EQ(plan, nullptr);
    EXPECT_EQ(fourfold_spectral_plan_create(&problem, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_spectral_plan_create(nullptr, nullptr, &plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("problem is null"));
    ASSERT_EQ(fourfold_spectral_plan_create(&problem, nullptr, &plan), FOURFOLD_OK) << fourfold_last_error();
    fourfold_spectral_tensors tensors = {};
    EXPECT_EQ(fourfold_spectral_plan_execute(plan, &tensors, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("tensors has struct_size 0"));
    tensors.struct_size = sizeof tensors;
    EXPECT_EQ(fourfold_spectral_plan_execute(plan, &tensors, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("input is null"));
    EXPECT_EQ(fourfold_spectral_plan_execute(nullptr, &tensors, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_spectral_plan_query(plan, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_spectral_plan_describe(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_spectral_plan_pack_filters(plan, nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    fourfold_spectral_plan_destroy(plan);
    fourfold_spectral_plan_destroy(nullptr);
    fourfold_spectral_transform *transform = nullptr;
    EXPECT_EQ(fourfold_spectral_transform_create(0, 4, FOURFOLD_BIJC, nullptr, &transform), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("0x4"));
    EXPECT_EQ(fourfold_spectral_transform_create(4, 4, 7, nullptr, &transform), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("order is 7"));
    fourfold_spectral_transform_options transform_options;
    ASSERT_EQ(fourfold_spectral_transform_options_init(&transform_options, sizeof transform_options), FOURFOLD_OK);
    transform_options.fft_backend = 9;
    EXPECT_EQ(fourfold_spectral_transform_create(4, 4, FOURFOLD_BIJC, &transform_options, &transform), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("fft_backend is 9"));
    EXPECT_EQ(fourfold_spectral_transform_forward(nullptr, nullptr, 1, 1, nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("transform is null"));
    fourfold_spectral_transform_destroy(nullptr);
}

TEST(CApi, StructSizes) {
    fourfold_problem problem = parsed("b8 ic64 i56 oc64 f3 p1");
    CPlan c;
    for (const size_t size : {size_t{0}, size_t{7}, sizeof problem + 8}) {
        problem.struct_size = size;
        EXPECT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says(std::to_string(size).c_str()));
        EXPECT_EQ(c.plan, nullptr);
    }
    EXPECT_EQ(fourfold_problem_init(&problem, sizeof problem + 8), FOURFOLD_INVALID_ARGUMENT);

    // A program of an older library, whose struct ended earlier: the rest is the default, and stays unwritten.
    fourfold_problem older = parsed("b2 ic4 i9 oc4 f3 g4 constant:3");
    older.struct_size = offsetof(fourfold_problem, groups);
    EXPECT_EQ(printed(older), "fwd b2 ic4 i9x9 oc4 f3x3 constant:0");
    fourfold_problem written;
    std::memset(static_cast<void *>(&written), 0x5a, sizeof written);
    ASSERT_EQ(fourfold_problem_init(&written, offsetof(fourfold_problem, groups)), FOURFOLD_OK);
    EXPECT_EQ(written.dilation_w, 1);
    EXPECT_EQ(written.groups, 0x5a5a5a5a5a5a5a5a);

    fourfold_plan_options options = {};
    problem = parsed("b8 ic64 i56 oc64 f3 p1");
    EXPECT_EQ(fourfold_plan_create(&problem, &options, &c.plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("options has struct_size 0"));
    ASSERT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_OK);
    fourfold_plan_info info = {};
    EXPECT_EQ(fourfold_plan_query(c.plan, &info), FOURFOLD_INVALID_ARGUMENT);
    fourfold_tensors tensors = {};
    EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("tensors has struct_size 0"));
    tensors.struct_size = sizeof tensors;
    fourfold_context context = {};
    EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, nullptr, 0, &context), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("context has struct_size 0"));
}

TEST(CApi, BadProblemsAndOptions) {
    const fourfold_problem good = parsed("b8 ic64 i56 oc64 f3 p1");
    CPlan c;
    const auto refused = [&](const fourfold_problem &problem, const fourfold_plan_options *options, fourfold_status status, const char *word) {
        EXPECT_EQ(fourfold_plan_create(&problem, options, &c.plan), status) << word;
        EXPECT_EQ(c.plan, nullptr);
        EXPECT_TRUE(says(word));
    };
    fourfold_problem bad = good;
    bad.operation = 17;
    refused(bad, nullptr, FOURFOLD_INVALID_ARGUMENT, "operation is 17");
    bad = good;
    bad.padding_mode = -1;
    refused(bad, nullptr, FOURFOLD_INVALID_ARGUMENT, "padding_mode is -1");
    bad = good;
    bad.layout = 2;
    refused(bad, nullptr, FOURFOLD_INVALID_ARGUMENT, "layout is 2");
    bad = good;
    bad.groups = 5;
    refused(bad, nullptr, FOURFOLD_INVALID_ARGUMENT, "groups 5");

    fourfold_plan_options options;
    const auto reset = [&] { ASSERT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK); };
    reset();
    options.algorithm = 7;
    refused(good, &options, FOURFOLD_INVALID_ARGUMENT, "algorithm is 7");
    reset();
    options.threads = -2;
    refused(good, &options, FOURFOLD_INVALID_ARGUMENT, "-2");
    reset();
    options.device = FOURFOLD_CUDA;
    refused(good, &options, FOURFOLD_UNSUPPORTED, "cuda");
    reset();
    options.device_ordinal = 3;
    refused(good, &options, FOURFOLD_INVALID_ARGUMENT, "device is 'cpu:3'");
    reset();
    options.algorithm = FOURFOLD_ALGORITHM_DIRECT;
    options.packed_filter_limit = 64;
    refused(good, &options, FOURFOLD_RESOURCE_EXHAUSTED, "the limit is 64");
    reset();
    options.variant = "nosuch";
    refused(good, &options, FOURFOLD_INVALID_ARGUMENT, "nosuch");
}

TEST(CApi, NullPointers) {
    const fourfold_problem problem = parsed("b8 ic64 i56 oc64 f3 p1");
    CPlan c;
    EXPECT_EQ(fourfold_plan_create(nullptr, nullptr, &c.plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("problem is null"));
    EXPECT_EQ(fourfold_plan_create(&problem, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_problem_init(nullptr, sizeof problem), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_problem_print(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_problem_output_size(&problem, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_problem_transposed(nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_plan_query(nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_plan_describe(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_plan_execute(nullptr, nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_plan_pack_filters(nullptr, nullptr, nullptr, 0, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_profile_create(nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_profile_stages(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_explain(&problem, nullptr, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_list_variants(nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_machine_query(nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_algorithm_parse(nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    ASSERT_EQ(fourfold_plan_create(&problem, nullptr, &c.plan), FOURFOLD_OK);
    EXPECT_EQ(fourfold_plan_execute(c.plan, nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("tensors is null"));
    fourfold_tensors tensors = {};
    tensors.struct_size = sizeof tensors;
    EXPECT_EQ(fourfold_plan_execute(c.plan, &tensors, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("input is null"));
    fourfold_plan_destroy(nullptr);
    fourfold_profile_destroy(nullptr);
    fourfold_free(nullptr);
}

TEST(CApi, ExplainAndListings) {
    const char *text = "b8 ic64 i56 oc64 f3 p1";
    const fourfold_problem problem = parsed(text);
    struct Found {
        std::vector<int> algorithms;
        int chosen = -1;
    } found;
    ASSERT_EQ(fourfold_explain(&problem, nullptr, [](void *data, const fourfold_candidate *c) {
                  auto &f = *static_cast<Found *>(data);
                  f.algorithms.push_back(c->algorithm);
                  f.chosen = c->chosen ? c->algorithm : f.chosen;
                  EXPECT_STRNE(c->reason, ""); }, &found), FOURFOLD_OK) << fourfold_last_error();
    const std::vector<Candidate> expected = *explain(parse_problem(text));
    ASSERT_EQ(found.algorithms.size(), expected.size());
    EXPECT_EQ(found.chosen, static_cast<int>(Plan::create(parse_problem(text))->algorithm()));

    std::vector<std::string> names;
    ASSERT_EQ(fourfold_list_variants([](void *data, const fourfold_variant *v) { static_cast<std::vector<std::string> *>(data)->push_back(v->name); }, &names), FOURFOLD_OK);
    EXPECT_EQ(names.size(), list_variants().size());
    EXPECT_EQ(names.front(), list_variants().front().name);
    std::vector<std::string> hashes;
    ASSERT_EQ(fourfold_list_variants([](void *data, const fourfold_variant *v) { static_cast<std::vector<std::string> *>(data)->push_back(v->hash); }, &hashes), FOURFOLD_OK);
    EXPECT_EQ(hashes.front(), variant_hash(names.front()));

    std::vector<std::string> choices;
    ASSERT_EQ(fourfold_list_choices(&problem, nullptr, [](void *data, const fourfold_candidate *c) { static_cast<std::vector<std::string> *>(data)->push_back(c->choice); }, &choices), FOURFOLD_OK) << fourfold_last_error();
    const std::vector<Candidate> admitted = *list_choices(parse_problem(text));
    ASSERT_EQ(choices.size(), admitted.size());
    EXPECT_EQ(choices.front(), admitted.front().choice);

    fourfold_machine m = {};
    m.struct_size = sizeof m;
    ASSERT_EQ(fourfold_machine_query(&m), FOURFOLD_OK);
    EXPECT_EQ(m.isa, machine().isa);
    EXPECT_EQ(m.hardware_threads, machine().hardware_threads);

    for (int32_t a = FOURFOLD_ALGORITHM_AUTO; a <= FOURFOLD_ALGORITHM_WINOGRAD; a++) {
        int32_t back = -1;
        EXPECT_EQ(fourfold_algorithm_parse(fourfold_algorithm_name(a), &back), FOURFOLD_OK);
        EXPECT_EQ(back, a);
    }
    EXPECT_EQ(fourfold_algorithm_name(7), nullptr);
    int32_t none = 0;
    EXPECT_EQ(fourfold_algorithm_parse("banana", &none), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("banana"));
}

struct CLayer {
    fourfold_layer *layer = nullptr;
    ~CLayer() {
        fourfold_layer_destroy(layer);
    }
};

TEST(CApi, Layer) {
    // The last one's filters, all of one tap, are of rank one.
    for (const char *text : {"b2 ic6 i14x15 oc10 f3 p1 relu residual", "bwd-data b2 ic6 i14x15 oc10 f3 s2 p1 nhwc", "b1 ic1 i200x150 oc1 f15 p7 reflect"}) {
        SCOPED_TRACE(text);
        Operands operands(parse_problem(text), test_seed());
        const bool separable = operands.problem.in_channels == 1, forward = operands.problem.operation == Operation::kForward;
        if (separable) {
            operands.filters.fill(0.0f);
            operands.filters(0, 0, 3, 4) = 2.0f;
        }
        const Tensors t = operands.tensors();
        const fourfold_problem problem = parsed(text);
        const fourfold_const_view filters = c_view(t.filters.view), input = c_view(forward ? t.input : t.grad_output), residual = c_view(t.residual);
        const fourfold_view output = c_view(forward ? t.output : t.grad_input);
        CLayer c;
        ASSERT_EQ(fourfold_layer_create(&problem, &filters, t.bias, nullptr, &c.layer), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_layer_run(c.layer, &input, &output, operands.problem.residual ? &residual : nullptr, nullptr), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_TRUE(matches(operands, operands.expected(), error_limit(Algorithm::kWinograd)));

        const Conv2dLayer reference = std::move(*Conv2dLayer::create(operands.problem, t.filters.view, t.bias));
        fourfold_layer_info info = {};
        info.struct_size = sizeof info;
        ASSERT_EQ(fourfold_layer_query(c.layer, &info), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(info.separable != 0, reference.separable());
        EXPECT_EQ(info.workspace_bytes, reference.workspace_bytes());
        EXPECT_EQ(info.packed_filter_bytes, reference.packed_filter_bytes());
        EXPECT_EQ(info.predicted_seconds, reference.predicted_seconds());
        char line[4096];
        ASSERT_EQ(fourfold_layer_describe(c.layer, line, sizeof line, nullptr), FOURFOLD_OK);
        EXPECT_EQ(line, reference.describe());
    }
}

TEST(CApi, LayerMisuse) {
    fourfold_problem problem = parsed("b1 ic2 i9 oc3 f3");
    std::vector<float> w(54), x(162), y(147);
    const fourfold_const_view filters = {w.data(), {}, 0}, input = {x.data(), {}, 0}, none = {};
    const fourfold_view output = {y.data(), {}, 0};
    CLayer c;
    const auto refused = [](fourfold_status status, const char *word) {
        EXPECT_EQ(status, FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says(word));
    };
    refused(fourfold_layer_create(&problem, &filters, nullptr, nullptr, nullptr), "layer is null");
    refused(fourfold_layer_create(nullptr, &filters, nullptr, nullptr, &c.layer), "problem is null");
    refused(fourfold_layer_create(&problem, nullptr, nullptr, nullptr, &c.layer), "filters is null");
    refused(fourfold_layer_create(&problem, &none, nullptr, nullptr, &c.layer), "filters are null");
    problem.operation = FOURFOLD_BACKWARD_FILTERS;
    refused(fourfold_layer_create(&problem, &filters, nullptr, nullptr, &c.layer), "bwd-filters");
    EXPECT_EQ(c.layer, nullptr);
    problem.operation = FOURFOLD_FORWARD;
    ASSERT_EQ(fourfold_layer_create(&problem, &filters, nullptr, nullptr, &c.layer), FOURFOLD_OK) << fourfold_last_error();
    refused(fourfold_layer_run(nullptr, &input, &output, nullptr, nullptr), "layer is null");
    refused(fourfold_layer_run(c.layer, nullptr, &output, nullptr, nullptr), "input is null");
    refused(fourfold_layer_run(c.layer, &none, &output, nullptr, nullptr), "input is null");
    refused(fourfold_layer_run(c.layer, &input, nullptr, nullptr, nullptr), "output is null");
    fourfold_layer_info info = {};
    refused(fourfold_layer_query(c.layer, &info), "info has struct_size 0");
    refused(fourfold_layer_query(nullptr, &info), "layer is null");
    refused(fourfold_layer_describe(nullptr, nullptr, 0, nullptr), "layer is null");
}

/// A training plan with its blocks, and its three operations on the same x, w and gy.
struct CTraining {
    Operands forward, data, filters;
    fourfold_training_plan *plan = nullptr;
    fourfold_training_info info = {};
    AlignedBuffer x, w, g, workspace;

    CTraining(const char *text, const fourfold_training_options *options)
        : forward(parse_problem(text), test_seed()), data(gradient_of(forward.problem, Operation::kBackwardData), test_seed() + 1), filters(gradient_of(forward.problem, Operation::kBackwardFilters), test_seed() + 2) {
        data.filters.assign(forward.filters.values());
        filters.input.assign(forward.input.values());
        filters.grad_output.assign(data.grad_output.values());
        std::memset(data.bias.data(), 0, data.bias.bytes());
        const fourfold_problem problem = parsed(text);
        EXPECT_EQ(fourfold_training_plan_create(&problem, options, &plan), FOURFOLD_OK) << fourfold_last_error();
        info.struct_size = sizeof info;
        EXPECT_EQ(fourfold_training_plan_query(plan, &info), FOURFOLD_OK) << fourfold_last_error();
        x = AlignedBuffer(info.input_spectra_bytes);
        w = AlignedBuffer(info.filter_spectra_bytes);
        g = AlignedBuffer(info.gradient_spectra_bytes);
        workspace = AlignedBuffer(info.workspace_bytes);
    }
    ~CTraining() {
        fourfold_training_plan_destroy(plan);
    }
    CTraining(const CTraining &) = delete;
    CTraining &operator=(const CTraining &) = delete;

    void transform(int64_t step, const fourfold_context *context = nullptr) {
        const fourfold_const_view from[] = {c_view(forward.input.view()), c_view(forward.filters.view()), c_view(data.grad_output.view())};
        EXPECT_EQ(fourfold_training_plan_transform_input(plan, &from[0], step, x.data(), x.bytes(), workspace.data(), workspace.bytes(), context), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_training_plan_transform_filters(plan, &from[1], step, w.data(), w.bytes(), workspace.data(), workspace.bytes(), context), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_training_plan_transform_gradient(plan, &from[2], step, g.data(), g.bytes(), workspace.data(), workspace.bytes(), context), FOURFOLD_OK) << fourfold_last_error();
    }
    fourfold_status product(Operation operation, const fourfold_context *context = nullptr) {
        const fourfold_view y = c_view(forward.output.mutable_view()), gx = c_view(data.output.mutable_view()), gw = c_view(filters.output.mutable_view());
        switch (operation) {
        case Operation::kForward:
            return fourfold_training_plan_forward(plan, x.data(), x.bytes(), w.data(), w.bytes(), reinterpret_cast<const float *>(forward.bias.data()), &y, workspace.data(), workspace.bytes(), context);
        case Operation::kBackwardData:
            return fourfold_training_plan_backward_data(plan, g.data(), g.bytes(), w.data(), w.bytes(), &gx, workspace.data(), workspace.bytes(), context);
        default:
            return fourfold_training_plan_backward_filters(plan, x.data(), x.bytes(), g.data(), g.bytes(), &gw, reinterpret_cast<float *>(filters.bias.data()), workspace.data(), workspace.bytes(), context);
        }
    }
};

constexpr Operation kProducts[] = {Operation::kForward, Operation::kBackwardData, Operation::kBackwardFilters};

TEST(CApi, TrainingStep) {
    fourfold_training_options options;
    ASSERT_EQ(fourfold_training_options_init(&options, sizeof options), FOURFOLD_OK);
    EXPECT_EQ(options.workspace_limit, SIZE_MAX);
    for (const char *text : {"b3 ic5 i12x11 oc7 f3 p1", "b2 ic12 i20x17 oc12 f5 s2 p2 g4 reflect", "b2 ic3 i8 oc4 f3 p1 nhwc"}) {
        SCOPED_TRACE(text);
        size_t count = 0;
        ASSERT_EQ(fourfold_fft_backends(nullptr, 0, &count), FOURFOLD_OK);
        std::vector<int32_t> backends(count);
        ASSERT_EQ(fourfold_fft_backends(backends.data(), count, &count), FOURFOLD_OK);
        ASSERT_EQ(count, fft_backends().size());
        for (const int32_t backend : backends) {
            options.fft_backend = backend;
            CTraining c(text, &options);
            TrainingOptions same;
            same.fft_backend = static_cast<FftBackend>(backend);
            const TrainingPlan reference = *TrainingPlan::create(c.forward.problem, same);
            EXPECT_EQ(c.info.fft_backend, backend);
            EXPECT_EQ(c.info.threads, reference.threads());
            EXPECT_EQ(c.info.input_spectra_bytes, reference.input_spectra_bytes());
            EXPECT_EQ(c.info.filter_spectra_bytes, reference.filter_spectra_bytes());
            EXPECT_EQ(c.info.gradient_spectra_bytes, reference.gradient_spectra_bytes());
            EXPECT_EQ(c.info.workspace_bytes, reference.workspace_bytes());
            char line[4096];
            ASSERT_EQ(fourfold_training_plan_describe(c.plan, line, sizeof line, nullptr), FOURFOLD_OK);
            EXPECT_EQ(line, reference.describe());
            c.transform(7);
            for (const Operation operation : kProducts) {
                EXPECT_EQ(c.product(operation), FOURFOLD_OK) << fourfold_last_error();
            }
            for (const Operands *o : {&c.forward, &c.data, &c.filters}) {
                EXPECT_TRUE(matches(*o, o->expected(), error_limit(Algorithm::kFft)));
            }
            EXPECT_TRUE(c.filters.bias_matches(1e-6));
        }
    }
}

TEST(CApi, TrainingOnTheCallersExecutor) {
    fourfold_training_options options;
    ASSERT_EQ(fourfold_training_options_init(&options, sizeof options), FOURFOLD_OK);
    options.threads = 3;
    CTraining c("b4 ic20 i29x31 oc24 f9 p4", &options);
    EXPECT_EQ(c.info.threads, 3);
    int most = 0;
    fourfold_context context = {};
    context.struct_size = sizeof context;
    context.executor_data = &most;
    context.executor = [](void *data, int jobs, fourfold_job job, void *argument) {
        *static_cast<int *>(data) = std::max(*static_cast<int *>(data), jobs);
        for (int i = jobs - 1; i >= 0; i--) {
            job(argument, i);
        }
    };
    ASSERT_EQ(fourfold_profile_create(&context.profile), FOURFOLD_OK);
    c.transform(0, &context);
    for (const Operation operation : kProducts) {
        EXPECT_EQ(c.product(operation, &context), FOURFOLD_OK) << fourfold_last_error();
    }
    EXPECT_TRUE(matches(c.forward, c.forward.expected(), error_limit(Algorithm::kFft)));
    EXPECT_EQ(most, 3);
    size_t count = 0;
    ASSERT_EQ(fourfold_profile_stages(context.profile, nullptr, 0, &count), FOURFOLD_OK);
    EXPECT_GT(count, 2u);
    fourfold_profile_destroy(context.profile);
}

TEST(CApi, TrainingRefusesBlocks) {
    CTraining c("b2 ic3 i9 oc4 f5 p2", nullptr);
    const fourfold_const_view x = c_view(c.forward.input.view());
    const fourfold_view y = c_view(c.forward.output.mutable_view());
    c.transform(3);
    for (Operands *o : {&c.forward, &c.data, &c.filters}) {
        o->clear_output();
    }
    const auto refused = [&](fourfold_status status, const char *word) {
        EXPECT_EQ(status, FOURFOLD_INVALID_ARGUMENT) << word;
        EXPECT_TRUE(says(word));
        for (const Operands *o : {&c.forward, &c.data, &c.filters}) {
            EXPECT_TRUE(untouched(*o)) << word;
        }
    };
    const auto forward = [&](const void *input, size_t input_bytes, void *workspace, size_t workspace_bytes) {
        return fourfold_training_plan_forward(c.plan, input, input_bytes, c.w.data(), c.w.bytes(), nullptr, &y, workspace, workspace_bytes, nullptr);
    };
    refused(forward(nullptr, 0, c.workspace.data(), c.workspace.bytes()), "input spectra is null");
    refused(forward(c.x.data(), c.x.bytes() - 1, c.workspace.data(), c.workspace.bytes()), "input spectra has");
    refused(forward(static_cast<const std::byte *>(c.x.data()) + 4, c.x.bytes(), c.workspace.data(), c.workspace.bytes()), "not aligned");
    refused(forward(c.x.data(), c.x.bytes(), static_cast<std::byte *>(c.workspace.data()) + 4, c.workspace.bytes()), "workspace is not aligned");
    refused(forward(c.x.data(), c.x.bytes(), nullptr, 0), "workspace is null");
    const float *const bias = reinterpret_cast<const float *>(static_cast<const std::byte *>(c.g.data()) + 2);
    refused(fourfold_training_plan_forward(c.plan, c.x.data(), c.x.bytes(), c.w.data(), c.w.bytes(), bias, &y, c.workspace.data(), c.workspace.bytes(), nullptr), "bias is not aligned");
    // Of another kind, from memory as large as both.
    AlignedBuffer wrong(std::max(c.x.bytes(), c.g.bytes()));
    std::memcpy(wrong.data(), c.g.data(), c.g.bytes());
    refused(forward(wrong.data(), wrong.bytes(), c.workspace.data(), c.workspace.bytes()), "input spectra: the block holds gradient spectra");
    // Of another step.
    EXPECT_EQ(fourfold_training_plan_transform_input(c.plan, &x, 4, c.x.data(), c.x.bytes(), c.workspace.data(), c.workspace.bytes(), nullptr), FOURFOLD_OK) << fourfold_last_error();
    refused(c.product(Operation::kForward), "input spectra are of step 4, filter spectra of step 3");
    refused(c.product(Operation::kBackwardFilters), "input spectra are of step 4, gradient spectra of step 3");
    EXPECT_EQ(fourfold_training_plan_transform_input(c.plan, &x, -1, c.x.data(), c.x.bytes(), c.workspace.data(), c.workspace.bytes(), nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("step is -1"));
    EXPECT_EQ(c.product(Operation::kBackwardData), FOURFOLD_OK) << fourfold_last_error();
}

TEST(CApi, TrainingMisuse) {
    fourfold_problem problem = parsed("b2 ic3 i9 oc4 f5 p2");
    fourfold_training_options options;
    fourfold_training_plan *plan = nullptr;
    const auto refused = [&](fourfold_status expected, const fourfold_training_options *with, const char *word) {
        EXPECT_EQ(fourfold_training_plan_create(&problem, with, &plan), expected) << word;
        EXPECT_TRUE(says(word));
        EXPECT_EQ(plan, nullptr);
        EXPECT_EQ(fourfold_training_options_init(&options, sizeof options), FOURFOLD_OK);
    };
    ASSERT_EQ(fourfold_training_options_init(&options, sizeof options), FOURFOLD_OK);
    options.threads = -1;
    refused(FOURFOLD_INVALID_ARGUMENT, &options, "threads is -1");
    options.fft_backend = 3;
    refused(FOURFOLD_INVALID_ARGUMENT, &options, "fft_backend is 3");
    options.fft_rigor = -1;
    refused(FOURFOLD_INVALID_ARGUMENT, &options, "fft_rigor is -1");
    options.workspace_limit = 64;
    refused(FOURFOLD_RESOURCE_EXHAUSTED, &options, "the limit is 64");
    options.struct_size = 0;
    refused(FOURFOLD_INVALID_ARGUMENT, &options, "options has struct_size 0");
    options.struct_size = sizeof options + 8;
    refused(FOURFOLD_INVALID_ARGUMENT, &options, "newer fourfold_c.h");
    problem.post_op = FOURFOLD_POST_RELU;
    refused(FOURFOLD_UNSUPPORTED, nullptr, "post-op");
    problem.post_op = FOURFOLD_POST_NONE;
    EXPECT_EQ(fourfold_training_plan_create(nullptr, nullptr, &plan), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("problem is null"));
    EXPECT_EQ(fourfold_training_plan_create(&problem, nullptr, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("plan is null"));

    // A program compiled before workspace_limit existed.
    options.struct_size = offsetof(fourfold_training_options, workspace_limit);
    options.workspace_limit = 64;
    ASSERT_EQ(fourfold_training_plan_create(&problem, &options, &plan), FOURFOLD_OK) << fourfold_last_error();
    fourfold_training_info info = {};
    EXPECT_EQ(fourfold_training_plan_query(plan, &info), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("info has struct_size 0"));
    info.struct_size = offsetof(fourfold_training_info, workspace_bytes);
    EXPECT_EQ(fourfold_training_plan_query(plan, &info), FOURFOLD_OK);
    EXPECT_GT(info.gradient_spectra_bytes, 0u);
    EXPECT_EQ(info.workspace_bytes, 0u);
    EXPECT_EQ(fourfold_training_plan_query(nullptr, &info), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_training_plan_query(plan, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_EQ(fourfold_training_plan_describe(nullptr, nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);

    const auto null = [](fourfold_status status, const char *word) {
        EXPECT_EQ(status, FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says(word));
    };
    const fourfold_const_view none = {};
    null(fourfold_training_plan_transform_input(nullptr, &none, 0, nullptr, 0, nullptr, 0, nullptr), "plan is null");
    null(fourfold_training_plan_transform_input(plan, nullptr, 0, nullptr, 0, nullptr, 0, nullptr), "input is null");
    null(fourfold_training_plan_transform_input(plan, &none, 0, nullptr, 0, nullptr, 0, nullptr), "input is null");
    null(fourfold_training_plan_transform_filters(plan, nullptr, 0, nullptr, 0, nullptr, 0, nullptr), "filters is null");
    null(fourfold_training_plan_transform_gradient(plan, nullptr, 0, nullptr, 0, nullptr, 0, nullptr), "grad_output is null");
    null(fourfold_training_plan_forward(plan, nullptr, 0, nullptr, 0, nullptr, nullptr, nullptr, 0, nullptr), "output is null");
    null(fourfold_training_plan_backward_data(plan, nullptr, 0, nullptr, 0, nullptr, nullptr, 0, nullptr), "grad_input is null");
    null(fourfold_training_plan_backward_filters(plan, nullptr, 0, nullptr, 0, nullptr, nullptr, nullptr, 0, nullptr), "grad_filters is null");
    fourfold_context context = {};
    const std::vector<float> values(2 * 3 * 81);
    const fourfold_const_view input = {values.data(), {}, 0};
    null(fourfold_training_plan_transform_input(plan, &input, 0, nullptr, 0, nullptr, 0, &context), "context has struct_size 0");
    null(fourfold_training_plan_transform_input(plan, &input, 0, nullptr, 0, nullptr, 0, nullptr), "input spectra is null");
    fourfold_training_plan_destroy(plan);
    fourfold_training_plan_destroy(nullptr);
}

TEST(CApi, FftWisdom) {
    size_t length = 0;
    const fourfold_status status = fourfold_export_fft_wisdom(nullptr, 0, &length);
    if (fft_backends().front() != FftBackend::kFftw) {
        EXPECT_EQ(status, FOURFOLD_UNSUPPORTED);
        EXPECT_EQ(fourfold_import_fft_wisdom("anything"), FOURFOLD_UNSUPPORTED);
    } else {
        ASSERT_EQ(status, FOURFOLD_OK) << fourfold_last_error();
        std::string wisdom(length + 1, '\0');
        ASSERT_EQ(fourfold_export_fft_wisdom(wisdom.data(), wisdom.size(), &length), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_import_fft_wisdom(wisdom.c_str()), FOURFOLD_OK) << fourfold_last_error();
        EXPECT_EQ(fourfold_import_fft_wisdom("this is no wisdom"), FOURFOLD_INVALID_ARGUMENT);
    }
    EXPECT_EQ(fourfold_import_fft_wisdom(nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("wisdom is null"));
    EXPECT_EQ(fourfold_fft_backends(nullptr, 1, &length), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("backends is null"));
    EXPECT_EQ(fourfold_fft_backends(nullptr, 0, nullptr), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("count is null"));
}

/// Begins and ends with the shipped tables and nothing blocked.
class CTables : public ::testing::Test {
protected:
    void TearDown() override {
        EXPECT_EQ(fourfold_unload_tables(1), FOURFOLD_OK);
        EXPECT_EQ(fourfold_block_choices(nullptr, 0), FOURFOLD_OK);
    }

    static constexpr const char *kProblem = "fwd b2 ic20 i15x18 oc24 f3x3 p1,1,1,1";
    const fourfold_problem problem = parsed(kProblem);

    fourfold_plan_info plan_info(CPlan &c) {
        fourfold_plan_options options;
        EXPECT_EQ(fourfold_plan_options_init(&options, sizeof options), FOURFOLD_OK);
        options.threads = 1;
        EXPECT_EQ(fourfold_plan_create(&problem, &options, &c.plan), FOURFOLD_OK) << fourfold_last_error();
        return info_of(c.plan);
    }
    /// What the cost model would take last.
    std::string unlikely() {
        std::string choice;
        EXPECT_EQ(fourfold_list_choices(&problem, nullptr, [](void *data, const fourfold_candidate *c) { *static_cast<std::string *>(data) = c->choice; }, &choice), FOURFOLD_OK) << fourfold_last_error();
        return choice;
    }
    /// A table that measured `choice` as the fastest on this machine.
    std::string table(const std::string &choice) {
        const MachineInfo &m = machine();
        std::string hashes, word;
        for (std::istringstream words(choice); words >> word;) {
            if (!variant_hash(word).empty()) {
                hashes += (hashes.empty() ? "\"" : ",\"") + word + "\":\"" + variant_hash(word) + "\"";
            }
        }
        return "{\"format\":\"fourfold-records\",\"version\":1}\n{\"problem\":\"" + std::string(kProblem) + "\",\"accuracy\":\"default\",\"microarchitecture\":\"" + m.microarchitecture + "\",\"isa\":\"" + m.isa +
               "\",\"threads\":1,\"cache\":\"warm\",\"role\":\"winner\",\"choice\":\"" + choice + "\",\"ms_min\":0.01,\"ms_median\":0.01,\"samples\":5,\"ms_predicted\":0.01,\"variants\":{" + hashes + "}}\n";
    }
};

TEST_F(CTables, AFileChangesWhatDecides) {
    const std::string choice = unlikely(), path = (std::filesystem::path(::testing::TempDir()) / "c_api_table.json").string();
    std::ofstream(path) << table(choice) << "no record\n";
    CPlan before, after, back;
    EXPECT_NE(plan_info(before).tier, FOURFOLD_TIER_RECORD);
    fourfold_table_info info = {};
    info.struct_size = sizeof info;
    ASSERT_EQ(fourfold_load_table(path.c_str(), &info), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_EQ(info.name, path.c_str());
    EXPECT_EQ(info.records, 1);
    EXPECT_EQ(info.unreadable, 1);
    EXPECT_FALSE(info.shipped || info.stale || info.foreign || info.torn);
    const fourfold_plan_info plan = plan_info(after);
    EXPECT_EQ(plan.tier, FOURFOLD_TIER_RECORD);
    EXPECT_EQ(plan.choice, choice);
    EXPECT_NE(std::string(plan.decided_by).find("c_api_table.json"), std::string::npos) << plan.decided_by;

    std::string reason;
    ASSERT_EQ(fourfold_explain(&problem, nullptr, [](void *data, const fourfold_candidate *c) {
                  if (c->chosen) {
                      *static_cast<std::string *>(data) = c->reason;
                  } }, &reason), FOURFOLD_OK);
    EXPECT_NE(reason.find("record in " + path), std::string::npos) << reason;

    std::vector<std::string> names;
    const auto list = [&] {
        names.clear();
        EXPECT_EQ(fourfold_list_tables([](void *data, const fourfold_table_info *t) { static_cast<std::vector<std::string> *>(data)->push_back(t->name); }, &names), FOURFOLD_OK);
    };
    list();
    ASSERT_EQ(names.size(), tables().size());
    EXPECT_EQ(names.back(), path);
    ASSERT_EQ(fourfold_unload_tables(1), FOURFOLD_OK);
    EXPECT_NE(plan_info(back).tier, FOURFOLD_TIER_RECORD);
    list();
    EXPECT_EQ(std::count(names.begin(), names.end(), path), 0);
    ASSERT_EQ(fourfold_unload_tables(0), FOURFOLD_OK);
    list();
    EXPECT_TRUE(names.empty());
    std::filesystem::remove(path);
}

TEST_F(CTables, FromMemory) {
    const std::string text = table(unlikely());
    ASSERT_EQ(fourfold_load_table_text("mine", text.c_str(), nullptr), FOURFOLD_OK) << fourfold_last_error();
    CPlan c;
    EXPECT_STREQ(plan_info(c).decided_by, "record in mine");
}

TEST_F(CTables, Misuse) {
    const size_t before = tables().size();
    const auto refused = [](fourfold_status status, const char *word) {
        EXPECT_EQ(status, FOURFOLD_INVALID_ARGUMENT);
        EXPECT_TRUE(says(word));
    };
    fourfold_table_info info = {};
    refused(fourfold_load_table("/no/such/table.json", nullptr), "/no/such/table.json");
    refused(fourfold_load_table(nullptr, nullptr), "path is null");
    refused(fourfold_load_table_text("mine", "not even a header\n", nullptr), "'mine' is no table");
    refused(fourfold_load_table_text("mine", "", nullptr), "it is empty");
    refused(fourfold_load_table_text(nullptr, "", nullptr), "name is null");
    refused(fourfold_load_table_text("mine", nullptr, nullptr), "text is null");
    refused(fourfold_load_table_text("mine", table(unlikely()).c_str(), &info), "info has struct_size 0");
    refused(fourfold_list_tables(nullptr, nullptr), "each is null");
    EXPECT_EQ(tables().size(), before) << "loaded, though refused";
}

TEST_F(CTables, Blocked) {
    CPlan free, barred, again;
    const fourfold_plan_info first = plan_info(free);
    const char *const names[] = {fourfold_algorithm_name(first.algorithm), nullptr};
    ASSERT_EQ(fourfold_block_choices(names, 1), FOURFOLD_OK) << fourfold_last_error();
    EXPECT_NE(plan_info(barred).algorithm, first.algorithm);
    const char *const wrong[] = {"abacus"};
    EXPECT_EQ(fourfold_block_choices(wrong, 1), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("abacus"));
    EXPECT_EQ(fourfold_block_choices(names, 2), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("name 1 in names is null"));
    EXPECT_EQ(fourfold_block_choices(nullptr, 2), FOURFOLD_INVALID_ARGUMENT);
    EXPECT_TRUE(says("names is null, but its count is 2"));
    ASSERT_EQ(fourfold_block_choices(nullptr, 0), FOURFOLD_OK);
    EXPECT_EQ(plan_info(again).algorithm, first.algorithm);
}

}  // namespace
}  // namespace fourfold::test
