// Bad arguments come back as sentences, and nothing has been written then.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "api/prepared.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

class Arguments : public ::testing::TestWithParam<Algorithm> {
protected:
    static PlanOptions options() {
        PlanOptions o;
        o.algorithm = GetParam();
        return o;
    }
    static Prepared make(const char *text = "b2 ic6 i14x15 oc10 f3 p1") {
        return prepare(parse_problem(text), options(), test_seed());
    }
    static MemoryBlock block(AlignedBuffer &buffer) {
        return buffer;
    }
};

TEST_P(Arguments, NullOperands) {
    Prepared p = make("b2 ic6 i14x15 oc10 f3 p1");
    Tensors t = p.tensors();
    t.input = nullptr;
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t = p.tensors();
    t.filters = Filters();
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t = p.tensors();
    t.output = nullptr;
    EXPECT_EQ(p.plan.execute(t, p.workspace).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(p.plan.pack_filters(nullptr, p.packed, p.workspace).code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(p.plan.pack_filters(p.operands.filters.view(), {}, p.workspace).code(), StatusCode::kInvalidArgument);
}

TEST_P(Arguments, GradientsNameWhatIsMissing) {
    for (Operation operation : {Operation::kBackwardData, Operation::kBackwardFilters}) {
        const Conv2dProblem problem = gradient_of(parse_problem("b2 ic6 i14x15 oc10 f3 p1"), operation);
        if (refuses(GetParam(), problem)) {
            continue;
        }
        Prepared p = prepare(problem, options(), test_seed());
        const auto expect = [&](const char *name, auto change) {
            Tensors t = p.tensors();
            change(t);
            const Status status = p.plan.execute(t, p.workspace);
            expect_refused(status, p.operands);
            EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
        };
        expect("grad_output", [](Tensors &t) { t.grad_output = nullptr; });
        if (operation == Operation::kBackwardData) {
            expect("grad_input", [](Tensors &t) { t.grad_input = nullptr; });
            expect("filters", [](Tensors &t) { t.filters = Filters(); });
            expect("overlap", [](Tensors &t) { t.grad_output = t.grad_input.data; });
            continue;
        }
        expect("input", [](Tensors &t) { t.input = nullptr; });
        expect("grad_filters", [](Tensors &t) { t.grad_filters = nullptr; });
        expect("overlap", [](Tensors &t) { t.input = t.grad_filters.data; });
        expect("overlap", [](Tensors &t) { t.grad_bias = t.grad_filters.data; });
        EXPECT_EQ(p.plan.packed_filter_bytes(), 0u);
        EXPECT_EQ(p.plan.pack_filters(ConstView(p.operands.input.data()), p.workspace, p.workspace).code(), StatusCode::kInvalidArgument);
        Tensors without = p.tensors();
        without.grad_bias = nullptr;
        EXPECT_TRUE(p.plan.execute(without, p.workspace).ok());
        EXPECT_TRUE(matches(p.operands, p.operands.expected(), error_limit(GetParam())));
    }
}

TEST_P(Arguments, MissingResidual) {
    Conv2dProblem problem = parse_problem("b1 ic3 i9 oc4 f3 p1");
    problem.residual = true;
    Prepared p = prepare(problem, options(), test_seed());
    Tensors t = p.tensors();
    t.residual = {};
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
}

TEST_P(Arguments, BadWorkspace) {
    Prepared p = make("b2 ic6 i14x15 oc10 f3 p1 reflect");
    const size_t needed = p.plan.workspace_bytes();
    if (needed == 0) {
        EXPECT_TRUE(p.plan.execute(p.tensors(), {}).ok());
        GTEST_SKIP() << "this plan needs no workspace";
    }
    const MemoryBlock whole = p.workspace;
    Status status = p.plan.execute(p.tensors(), {whole.data, needed - 1});
    expect_refused(status, p.operands);
    EXPECT_NE(status.message().find(std::to_string(needed)), std::string::npos) << status.message();
    expect_refused(p.plan.execute(p.tensors(), {nullptr, needed}), p.operands);
    expect_refused(p.plan.execute(p.tensors(), {}), p.operands);
    AlignedBuffer larger(needed + 64);
    for (size_t off : {1, 4, 32, 63}) {
        expect_refused(p.plan.execute(p.tensors(), {static_cast<char *>(larger.data()) + off, needed}), p.operands);
    }
    EXPECT_TRUE(p.plan.execute(p.tensors(), {whole.data, needed}).ok());
    EXPECT_TRUE(matches(p.operands, p.operands.expected(), error_limit(GetParam())));
}

TEST_P(Arguments, UnpackedFiltersNeedTheirWorkspace) {
    Prepared p = make();
    const size_t needed = p.plan.workspace_bytes_unpacked();
    EXPECT_GE(needed, p.plan.workspace_bytes());
    if (needed == 0) {
        GTEST_SKIP() << "this plan needs no workspace";
    }
    expect_refused(p.plan.execute(p.operands.tensors(), {p.workspace.data(), needed - 1}), p.operands);
    EXPECT_TRUE(p.plan.execute(p.operands.tensors(), {p.workspace.data(), needed}).ok());
}

TEST_P(Arguments, MisalignedFloats) {
    Prepared p = make();
    const auto off = [](const void *pointer) { return reinterpret_cast<const float *>(static_cast<const char *>(pointer) + 1); };
    Tensors t = p.tensors();
    t.input = off(p.operands.input.data());
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t = p.tensors();
    t.bias = off(p.operands.bias.data());
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t = p.tensors();
    t.output = const_cast<float *>(off(p.operands.output.data()));
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
}

TEST_P(Arguments, OutputOverInputOrWorkspace) {
    // One channel, so that output and input have the same size.
    Prepared p = make("b1 ic1 i12 oc1 f3 p1 reflect");
    const std::vector<float> x = p.operands.input.values();
    Tensors t = p.tensors();
    t.output = p.operands.input.data();
    EXPECT_EQ(p.plan.execute(t, p.workspace).code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(same_bits(p.operands.input.values(), x));
    if (p.plan.workspace_bytes() > 0) {
        float *const inside = static_cast<float *>(p.workspace.data());
        t.output = inside;
        EXPECT_EQ(p.plan.execute(t, p.workspace).code(), StatusCode::kInvalidArgument);
        for (const bool bias : {false, true}) {
            t = p.tensors();
            (bias ? t.bias : t.input.data) = inside;
            expect_refused(p.plan.execute(t, p.workspace), p.operands);
        }
    }
}

TEST_P(Arguments, BadViews) {
    Prepared p = make();
    const Conv2dProblem &problem = p.operands.problem;
    float *x = p.operands.input.data();
    float *y = p.operands.output.data();
    const int64_t w = problem.in_width, plane = problem.in_height * w, image = problem.in_channels * plane;
    const ConstView bad_inputs[] = {
        ConstView(x, image, plane, w, 2),      // columns apart
        ConstView(x, image, plane, w, 0),      // one column for all
        ConstView(x, image, plane, -w, 1),     // upside down
        ConstView(x, image, plane, w - 1, 1),  // rows overlap
        ConstView(x, image, 0, w, 1),          // one channel for all
    };
    for (const ConstView &view : bad_inputs) {
        Tensors t = p.tensors();
        t.input = view;
        expect_refused(p.plan.execute(t, p.workspace), p.operands);
    }
    const int64_t o = problem.out_width(), out_plane = problem.out_height() * o;
    for (const MutableView &view : {MutableView(y, problem.out_channels * out_plane, out_plane, o - 1, 1), MutableView(y, 0, out_plane, o, 1),
                                    MutableView(y, problem.out_channels * out_plane, out_plane, o, 3)}) {
        Tensors t = p.tensors();
        t.output = view;
        expect_refused(p.plan.execute(t, p.workspace), p.operands);
    }
    // Strides of axes with one element address nothing, so any will do.
    Prepared single = make("b1 ic1 i5x6 oc1 f3");
    Tensors t = single.tensors();
    t.input = ConstView(single.operands.input.data(), 1, 1, 6, 1);
    const Status status = single.plan.execute(t, single.workspace);
    EXPECT_TRUE(status.ok() || status.code() == StatusCode::kInvalidArgument) << status.message();
}

TEST_P(Arguments, PackedBlockThatIsTooSmallOrMisaligned) {
    Prepared p = make();
    const size_t bytes = p.plan.packed_filter_bytes();
    EXPECT_EQ(p.plan.pack_filters(p.operands.filters.view(), {p.packed.data(), bytes - 1}, p.workspace).code(), StatusCode::kInvalidArgument);
    AlignedBuffer larger(bytes + 64);
    EXPECT_EQ(p.plan.pack_filters(p.operands.filters.view(), {static_cast<char *>(larger.data()) + 4, bytes}, p.workspace).code(),
              StatusCode::kInvalidArgument);
    std::memcpy(static_cast<char *>(larger.data()) + 4, p.packed.data(), bytes);
    Tensors t = p.tensors();
    t.filters = Filters(ConstMemoryBlock{static_cast<char *>(larger.data()) + 4, bytes});
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t.filters = Filters(ConstMemoryBlock{p.packed.data(), bytes - 1});
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
    t.filters = Filters(ConstMemoryBlock{p.packed.data(), 0});
    expect_refused(p.plan.execute(t, p.workspace), p.operands);
}

TEST_P(Arguments, PackedBlockOfAnotherPlan) {
    Prepared p = make();
    for (const char *text : {"b2 ic6 i14x15 oc10 f3x1 p1", "b2 ic10 i14x15 oc6 f3 p1", "b2 ic6 i14x15 oc10 f3 p1 conv", "b2 ic6 i30x31 oc20 f5 p1 d2"}) {
        if (refuses(GetParam(), parse_problem(text))) {
            continue;
        }
        const Result<Plan> other = Plan::create(parse_problem(text), options());
        ASSERT_TRUE(other.ok()) << other.status().message();
        Operands filters(parse_problem(text), test_seed());
        AlignedBuffer packed(other->packed_filter_bytes()), workspace(other->workspace_bytes_unpacked());
        ASSERT_TRUE(other->pack_filters(filters.filters.view(), packed, workspace).ok());
        Tensors t = p.tensors();
        t.filters = packed;
        SCOPED_TRACE(text);
        expect_refused(p.plan.execute(t, p.workspace), p.operands);
    }
    for (Algorithm algorithm : kAlgorithms) {
        if (algorithm == GetParam()) {
            continue;
        }
        PlanOptions o;
        o.algorithm = algorithm;
        Prepared other = prepare(p.operands.problem, o, test_seed());
        Tensors t = p.tensors();
        t.filters = other.packed;
        SCOPED_TRACE(to_string(algorithm));
        expect_refused(p.plan.execute(t, p.workspace), p.operands);
    }
}

TEST_P(Arguments, CorruptedHeader) {
    Prepared p = make();
    std::vector<unsigned char> good(p.packed.bytes());
    std::memcpy(good.data(), p.packed.data(), good.size());
    auto *bytes = static_cast<unsigned char *>(p.packed.data());
    // A block never packed, and a header with its first word spoilt.
    std::memset(bytes, 0, good.size());
    expect_refused(p.plan.execute(p.tensors(), p.workspace), p.operands);
    std::memset(bytes, 0xff, good.size());
    expect_refused(p.plan.execute(p.tensors(), p.workspace), p.operands);
    std::memcpy(bytes, good.data(), good.size());
    bytes[0] ^= 0x10;
    expect_refused(p.plan.execute(p.tensors(), p.workspace), p.operands);
    bytes[0] ^= 0x10;
    EXPECT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
}

TEST_P(Arguments, PackedBlockMovesAndIsSaved) {
    Prepared p = make();
    ASSERT_TRUE(p.plan.execute(p.tensors(), p.workspace).ok());
    const std::vector<float> expected = p.operands.output.values();
    const std::vector<unsigned char> saved(static_cast<unsigned char *>(p.packed.data()), static_cast<unsigned char *>(p.packed.data()) + p.packed.bytes());
    std::memset(p.packed.data(), 0, p.packed.bytes());
    // The original filters must not be read again either.
    p.operands.filters.fill(0.0f);

    const Result<Plan> later = Plan::create(p.operands.problem, options());
    ASSERT_TRUE(later.ok());
    AlignedBuffer loaded(saved.size());
    std::memcpy(loaded.data(), saved.data(), saved.size());
    Tensors t = p.operands.tensors();
    t.filters = loaded;
    p.operands.clear_output();
    const Status status = later->execute(t, p.workspace);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_TRUE(same_bits(p.operands.output.values(), expected));
}

TEST_P(Arguments, PackingTwiceGivesTheSameBytes) {
    Prepared p = make();
    AlignedBuffer again(p.plan.packed_filter_bytes());
    std::memset(again.data(), 0x77, again.bytes());
    std::memset(p.workspace.data() != nullptr ? p.workspace.data() : again.data(), 0x55, p.workspace.bytes());
    ASSERT_TRUE(p.plan.pack_filters(p.operands.filters.view(), again, p.workspace).ok());
    EXPECT_EQ(std::memcmp(again.data(), p.packed.data(), again.bytes()), 0) << "bytes that packing leaves unwritten make saved blocks differ";
}

std::string algorithm_name(const ::testing::TestParamInfo<Algorithm> &info) {
    return to_string(info.param);
}
INSTANTIATE_TEST_SUITE_P(Algorithms, Arguments, ::testing::ValuesIn(kAlgorithms), algorithm_name);

/// What takes filters' values when it is made: SeparablePlan, and Conv2dLayer as two passes and as a plan.
enum class Owner { kSeparablePlan, kSeparableLayer, kPlanLayer };

class OwnedFilters : public ::testing::TestWithParam<Owner> {
protected:
    /// Depthwise, of rank one, large enough for two passes to be faster; or of rank two.
    explicit OwnedFilters(const char *text = "b2 ic2 i60x300 oc2 f15 p7 g2 residual")
        : operands_(parse_problem(text), test_seed()) {
        operands_.filters.fill(1.0f / 225);
        if (GetParam() == Owner::kPlanLayer) {
            operands_.filters(0, 0, 3, 4) = 0.5f;
        }
        if (GetParam() == Owner::kSeparablePlan) {
            Result<SeparablePlan> plan = SeparablePlan::create(operands_.problem, operands_.filters.view());
            EXPECT_TRUE(plan.ok()) << plan.status().message();
            workspace_ = AlignedBuffer(plan->workspace_bytes());
            plan_ = std::move(*plan);
        } else {
            // Against direct alone two passes are the faster on every machine.
            PlanOptions options;
            options.blocked = {"im2col", "fft", "fft_tiled", "winograd"};
            Result<Conv2dLayer> layer = Conv2dLayer::create(operands_.problem, operands_.filters.view(), operands_.tensors().bias, options);
            EXPECT_TRUE(layer.ok()) << layer.status().message();
            layer_ = std::move(*layer);
        }
    }
    void SetUp() override {
        if (layer_ && layer_->separable() != (GetParam() == Owner::kSeparableLayer)) {
            if (kSanitized) {
                GTEST_SKIP() << "with the variants left two passes are predicted no faster";
            }
            FAIL() << layer_->describe();
        }
    }
    Status execute(const Tensors &t) {
        return execute(t, workspace_);
    }
    Status execute(const Tensors &t, MemoryBlock workspace) {
        return plan_ ? plan_->execute(t, workspace) : layer_->run(t.input, t.output, t.residual);
    }
    /// Refused, with `word` in the message, when the operands are changed so.
    template<typename Change>
    void expect(const char *word, const Change &change) {
        Tensors t = operands_.tensors();
        change(t);
        const Status status = execute(t);
        expect_refused(status, operands_);
        EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    }
    static float *off(const void *pointer) {
        return reinterpret_cast<float *>(reinterpret_cast<uintptr_t>(pointer) + 1);
    }

    Operands operands_;
    AlignedBuffer workspace_;
    std::optional<SeparablePlan> plan_;
    std::optional<Conv2dLayer> layer_;
};

TEST_P(OwnedFilters, NullMisalignedAndOverlapping) {
    ASSERT_TRUE(execute(operands_.tensors()).ok());
    EXPECT_TRUE(matches(operands_, operands_.expected(), 2e-6));
    operands_.clear_output();
    expect("input", [](Tensors &t) { t.input = nullptr; });
    expect("output", [](Tensors &t) { t.output = nullptr; });
    expect("residual", [](Tensors &t) { t.residual = {}; });
    expect("input is not aligned", [](Tensors &t) { t.input = off(t.input.data); });
    expect("output is not aligned", [](Tensors &t) { t.output = off(t.output.data); });
    expect("residual is not aligned", [](Tensors &t) { t.residual = off(t.residual.data); });
    expect("input and output overlap", [](Tensors &t) { t.input = t.output.data; });
    expect("residual and output overlap", [](Tensors &t) { t.residual = t.output.data; });
    if (plan_) {
        expect("bias is not aligned", [](Tensors &t) { t.bias = off(t.bias); });
        expect("bias and output overlap", [](Tensors &t) { t.bias = t.output.data; });
    }
}

TEST_P(OwnedFilters, BadViews) {
    const Conv2dProblem &p = operands_.problem;
    const int64_t w = p.in_width, plane = p.in_height * w, image = p.in_channels * plane;
    // Outputs are of the same size. What is only read may overlap in planes, not in rows.
    const int64_t for_all[][4] = {{image, plane, w, 2}, {image, plane, w, 0}, {image, plane, -w, 1}, {image, plane, w - 1, 1}, {image, 0, w, 1}, {image, plane, w, int64_t{1} << 60}};
    const int64_t for_outputs[][4] = {{0, plane, w, 1}, {image, 1, w, 1}, {image, plane - 1, w, 1}, {image - 1, plane, w, 1}, {plane, plane, w, 1}};
    for (const auto &s : for_all) {
        expect("input has strides", [&](Tensors &t) { t.input = ConstView(t.input.data, s[0], s[1], s[2], s[3]); });
        expect("residual has strides", [&](Tensors &t) { t.residual = ConstView(t.residual.data, s[0], s[1], s[2], s[3]); });
        expect("output has strides", [&](Tensors &t) { t.output = MutableView(t.output.data, s[0], s[1], s[2], s[3]); });
    }
    for (const auto &s : for_outputs) {
        expect("output has strides", [&](Tensors &t) { t.output = MutableView(t.output.data, s[0], s[1], s[2], s[3]); });
    }
}

TEST_P(OwnedFilters, BadWorkspace) {
    if (!plan_) {
        GTEST_SKIP() << "a layer's workspace is its own";
    }
    const Tensors t = operands_.tensors();
    const size_t needed = plan_->workspace_bytes();
    AlignedBuffer larger(needed + 64);
    // With room behind the workspace for an output that begins within: it overlaps nothing else, wherever memory happens to lie.
    workspace_ = AlignedBuffer(needed + static_cast<size_t>(operands_.problem.output_elements()) * sizeof(float));
    for (const MemoryBlock &block : {MemoryBlock{workspace_.data(), needed - 1}, MemoryBlock{nullptr, needed}, MemoryBlock{}, MemoryBlock{static_cast<char *>(larger.data()) + 4, needed}}) {
        expect_refused(execute(t, block), operands_);
    }
    float *const inside = static_cast<float *>(workspace_.data()) + needed / sizeof(float) - 1;
    const int64_t w = operands_.problem.in_width, plane = operands_.problem.in_height * w;
    expect("workspace and input overlap", [&](Tensors &changed) { changed.input = inside; });
    expect("workspace and residual overlap", [&](Tensors &changed) { changed.residual = inside; });
    expect("workspace and bias overlap", [&](Tensors &changed) { changed.bias = inside; });
    expect("workspace and output overlap", [&](Tensors &changed) { changed.output = inside; });
    expect("workspace and output overlap", [&](Tensors &changed) { changed.output = MutableView(inside, 2 * plane, plane, w, 1); });
    // A block of filters is ignored, wherever it lies.
    Tensors with_filters = t;
    with_filters.filters = ConstMemoryBlock{workspace_.data(), needed};
    EXPECT_TRUE(execute(with_filters, workspace_).ok());
}

class OwnedFiltersOfOneImage : public OwnedFilters {
protected:
    OwnedFiltersOfOneImage()
        : OwnedFilters("b1 ic1 i100x300 oc1 f15 p7") {
    }
};

TEST_P(OwnedFiltersOfOneImage, StridesOfOneElementAreIgnored) {
    const int64_t w = operands_.problem.in_width;
    for (const int64_t s : {int64_t{0}, int64_t{-5}, int64_t{1} << 62}) {
        Tensors t = operands_.tensors();
        t.input = ConstView(t.input.data, s, s, w, 1);
        t.output = MutableView(t.output.data, s, s, w, 1);
        operands_.clear_output();
        const Status status = execute(t);
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_TRUE(matches(operands_, operands_.expected(), 2e-6));
    }
}

class OwnedFiltersNhwc : public OwnedFilters {
protected:
    OwnedFiltersNhwc()
        : OwnedFilters("b1 ic3 i90x200 oc3 f15 p7 g3 nhwc") {
    }
};

TEST_P(OwnedFiltersNhwc, BadViews) {
    ASSERT_TRUE(execute(operands_.tensors()).ok());
    EXPECT_TRUE(matches(operands_, operands_.expected(), 2e-6));
    operands_.clear_output();
    const int64_t w = operands_.problem.in_width, image = operands_.problem.in_height * w * 3;
    for (const auto &s : {std::array<int64_t, 4>{image, 2, 3 * w, 3}, {image, 1, 3 * w, 2}, {image, 1, 3 * w, 0}}) {
        expect("input has strides", [&](Tensors &t) { t.input = ConstView(t.input.data, s[0], s[1], s[2], s[3]); });
        expect("output has strides", [&](Tensors &t) { t.output = MutableView(t.output.data, s[0], s[1], s[2], s[3]); });
    }
    // Rows long enough for one channel only.
    expect("output has strides", [&](Tensors &t) { t.output = MutableView(t.output.data, image, 1, w, 3); });
    expect("output has strides", [&](Tensors &t) { t.output = MutableView(t.output.data, image, 1, 3 * w - 1, 3); });
}

std::string owner_name(const ::testing::TestParamInfo<Owner> &info) {
    return info.param == Owner::kSeparablePlan ? "separable_plan" : info.param == Owner::kSeparableLayer ? "separable_layer" : "plan_layer";
}
constexpr Owner kOwners[] = {Owner::kSeparablePlan, Owner::kSeparableLayer, Owner::kPlanLayer};
INSTANTIATE_TEST_SUITE_P(Owners, OwnedFilters, ::testing::ValuesIn(kOwners), owner_name);
INSTANTIATE_TEST_SUITE_P(Owners, OwnedFiltersOfOneImage, ::testing::ValuesIn(kOwners), owner_name);
INSTANTIATE_TEST_SUITE_P(Owners, OwnedFiltersNhwc, ::testing::ValuesIn(kOwners), owner_name);

/// Regions of one buffer: they are refused where they share an element, and computed where they only interleave.
TEST(Views, RegionsOfOneBuffer) {
    constexpr int64_t channels = 8, height = 30, width = 40;
    for (Layout layout : {Layout::kNchw, Layout::kNhwc}) {
        for (Operation operation : {Operation::kForward, Operation::kBackwardData}) {
            Conv2dProblem p = gradient_of(parse_problem("b2 ic3 i10x12 oc4 f3 p1 residual"), operation);
            p.layout = layout;
            const bool forward = operation == Operation::kForward, last = layout == Layout::kNhwc;
            const int64_t image = channels * height * width, s[4] = {image, last ? 1 : height * width, last ? width * channels : width, last ? channels : 1};
            std::vector<float> buffer(2 * image);
            for (size_t i = 0; i < buffer.size(); i++) {
                buffer[i] = static_cast<float>(i % 7) - 3.0f;
            }
            const std::vector<float> before = buffer;
            const std::vector<float> filters(static_cast<size_t>(p.filter_elements()), 1.0f);
            const auto at = [&](int64_t c, int64_t y, int64_t x) { return buffer.data() + c * s[1] + y * s[2] + x * s[3]; };
            const Result<Plan> plan = Plan::create(p);
            ASSERT_TRUE(plan.ok()) << plan.status().message();
            AlignedBuffer workspace(plan->workspace_bytes_unpacked());
            const auto run = [&](const float *in, const float *residual, float *out, int64_t pixel) {
                Tensors t;
                (forward ? t.input : t.grad_output) = ConstView(in, s[0], s[1], s[2], s[3]);
                t.filters = filters.data();
                t.residual = ConstView(residual, s[0], s[1], s[2], s[3]);
                (forward ? t.output : t.grad_input) = MutableView(out, s[0], s[1], s[2] * pixel, s[3]);
                return plan->execute(t, workspace);
            };
            const int64_t inputs = forward ? 3 : 4, outputs = 7 - inputs;
            const float *const in = at(0, 2, 3), *const residual = at(inputs, 15, 20);
            const auto refused = [&](const char *what, const Status &status) {
                EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
                EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
                EXPECT_EQ(buffer, before);
            };
            const char *const over_input = forward ? "input and output overlap" : "grad_output and grad_input overlap";
            refused(over_input, run(in, residual, at(0, 2, 3), 1));
            refused(over_input, run(in, residual, at(0, 2, 3), 2));
            refused(over_input, run(in, residual, at(0, 2, 4), 1));
            refused(over_input, run(in, residual, at(0, 11, 14), 1));
            refused(over_input, run(in, residual, at(inputs - 1, 0, 0), 1));
            refused(forward ? "residual and output overlap" : "residual and grad_input overlap", run(in, residual, at(inputs + 1, 16, 15), 1));
            // Where the output is: other channels; other rows; other columns.
            for (float *out : {at(inputs, 2, 3), at(0, 12, 3), at(0, 2, 15), at(1, 12, 0)}) {
                buffer = before;
                ASSERT_TRUE(run(in, residual, out, 1).ok());
                std::vector<float> shared = buffer;
                // The same into a buffer of its own.
                buffer = before;
                std::vector<float> apart(buffer.size());
                ASSERT_TRUE(run(in, residual, apart.data() + (out - buffer.data()), 1).ok());
                for (int64_t n = 0; n < 2; n++) {
                    for (int64_t c = 0; c < outputs; c++) {
                        for (int64_t y = 0; y < 10; y++) {
                            for (int64_t x = 0; x < 12; x++) {
                                const auto i = static_cast<size_t>(out - buffer.data() + n * s[0] + c * s[1] + y * s[2] + x * s[3]);
                                ASSERT_EQ(shared[i], apart[i]);
                                shared[i] = before[i];
                            }
                        }
                    }
                }
                EXPECT_EQ(shared, before);
            }
            buffer = before;
        }
    }
}

TEST(Options, Bad) {
    const Conv2dProblem p = parse_problem("b1 ic3 i9 oc4 f3 p1");
    PlanOptions options;
    options.threads = -2;
    Result<Plan> plan = Plan::create(p, options);
    ASSERT_FALSE(plan.ok());
    EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
    EXPECT_NE(plan.status().message().find("-2"), std::string::npos) << plan.status().message();

    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled}) {
        options = {};
        options.algorithm = algorithm;
        options.variant = "conv_direct_abacus_m1";
        plan = Plan::create(p, options);
        ASSERT_FALSE(plan.ok()) << to_string(algorithm);
        EXPECT_TRUE(plan.status().code() == StatusCode::kInvalidArgument || plan.status().code() == StatusCode::kUnsupported);
        EXPECT_NE(plan.status().message().find("conv_direct_abacus_m1"), std::string::npos) << plan.status().message();
    }
    // A variant of another algorithm's stage.
    options = {};
    options.algorithm = Algorithm::kDirect;
    options.variant = runnable_variants(Algorithm::kIm2col).front();
    EXPECT_FALSE(Plan::create(p, options).ok());
}

TEST(Options, ThreadsAreAtMostWhatWasAsked) {
    const Conv2dProblem p = parse_problem("b1 ic3 i9 oc4 f3 p1");
    for (int threads : {1, 2, 3, 1000}) {
        PlanOptions options;
        options.threads = threads;
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_GE(plan->threads(), 1);
        EXPECT_LE(plan->threads(), threads);
    }
}

TEST(Options, InvalidProblems) {
    Conv2dProblem p = parse_problem("b1 ic3 i9 oc4 f3 p1");
    p.stride_h = -7;
    for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kWinograd}) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_FALSE(plan.ok());
        EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
        EXPECT_NE(plan.status().message().find("-7"), std::string::npos) << plan.status().message();
    }
    EXPECT_FALSE(explain(p).ok());
}

TEST(Options, WhatIsNotThereIsUnsupported) {
    const Conv2dProblem p = parse_problem("b1 ic3 i9 oc4 f3 p1");
    for (Device device : {Device::kCuda, Device::kOpenCl}) {
        PlanOptions options;
        options.device = device;
        const Result<Plan> plan = Plan::create(p, options);
        if (!plan.ok()) {
            EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported);
            EXPECT_NE(plan.status().message().find(to_string(device)), std::string::npos) << plan.status().message();
        }
    }
    for (Algorithm algorithm : {Algorithm::kFftTiled, Algorithm::kWinograd}) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Result<Plan> plan = Plan::create(p, options);
        if (!plan.ok()) {
            EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported);
            EXPECT_NE(plan.status().message().find(to_string(algorithm)), std::string::npos) << plan.status().message();
        }
    }
}

/// Rows between their padding are read by a kernel call, whose indices have 32 bits.
TEST(Options, PaddedRowsStayWithinAKernelsReach) {
    PlanOptions options;
    options.algorithm = Algorithm::kDirect;
    options.threads = 1;
    const Result<Plan> plan = Plan::create(parse_problem("b1 ic1 i7x67108864 oc1 f3 p1 reflect"), options);
    if (plan.ok() && plan->variant().rfind("conv_depthwise", 0) == 0) {
        EXPECT_LT(plan->workspace_bytes(), size_t{1} << 31) << plan->describe();
    }
}

TEST(Options, OtherOperationsWorkOrSayWhyNot) {
    for (const char *text : {"bwd-data b1 ic3 i9 oc4 f3 p1", "bwd-filters b1 ic3 i9 oc4 f3 p1", "unfold b1 ic3 i9 oc4 f3 p1", "fold b1 ic3 i9 oc4 f3 p1",
                             "spectral b1 ic3 i9 oc4"}) {
        const Conv2dProblem p = parse_problem(text);
        for (Algorithm algorithm : {Algorithm::kAuto, Algorithm::kNaive, Algorithm::kDirect, Algorithm::kIm2col, Algorithm::kFft, Algorithm::kFftTiled}) {
            PlanOptions options;
            options.algorithm = algorithm;
            const Result<Plan> plan = Plan::create(p, options);
            if (!plan.ok()) {
                EXPECT_EQ(plan.status().code(), StatusCode::kUnsupported) << text;
                EXPECT_FALSE(plan.status().message().empty()) << text;
            }
        }
    }
}

TEST(Options, FilterGradientsTakeNoPostOp) {
    for (const char *text : {"bwd-filters b1 ic3 i9 oc4 f3 p1 relu", "bwd-filters b1 ic3 i9 oc4 f3 p1 residual"}) {
        const Result<Conv2dProblem> p = Conv2dProblem::parse(text);
        ASSERT_TRUE(p.ok());
        const Result<Plan> plan = Plan::create(*p);
        ASSERT_FALSE(plan.ok());
        EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
        EXPECT_NE(plan.status().message().find("post-op"), std::string::npos) << plan.status().message();
    }
}

TEST(PlanTest, EmptyRefuses) {
    Prepared p = prepare(parse_problem("b1 ic3 i9 oc4 f3 p1"), {}, test_seed());
    const Plan empty;
    expect_refused(empty.execute(p.tensors(), p.workspace), p.operands);
    EXPECT_EQ(empty.pack_filters(p.operands.filters.view(), p.packed, p.workspace).code(), StatusCode::kInvalidArgument);
}

TEST(PlanTest, SaysWhatItIs) {
    for (Algorithm algorithm : kAlgorithms) {
        PlanOptions options;
        options.algorithm = algorithm;
        const Conv2dProblem p = parse_problem("b2 ic6 i14x15 oc10 f3 p1 relu");
        const Result<Plan> plan = Plan::create(p, options);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        EXPECT_TRUE(plan->problem() == p);
        EXPECT_EQ(plan->algorithm(), algorithm);
        EXPECT_GT(plan->predicted_seconds(), 0.0);
        EXPECT_NE(plan->describe().find(p.to_string()), std::string::npos) << plan->describe();
        EXPECT_NE(plan->describe().find(to_string(algorithm)), std::string::npos) << plan->describe();
        const std::vector<std::string> variants = runnable_variants(algorithm);
        if (algorithm != Algorithm::kNaive) {
            EXPECT_NE(std::find(variants.begin(), variants.end(), plan->variant()), variants.end()) << plan->variant();
            EXPECT_NE(plan->describe().find(plan->variant()), std::string::npos) << plan->describe();
        }
        for (const std::string &variant : variants) {
            options.variant = variant;
            // Some variants of fft_tiled do groups of one channel only.
            const bool depthwise = variant.starts_with("lane_columns") || variant.starts_with("plane_rows");
            const Result<Plan> forced = Plan::create(depthwise ? parse_problem("b2 ic6 i14x15 oc12 f3 p1 relu g6") : p, options);
            ASSERT_TRUE(forced.ok()) << forced.status().message();
            EXPECT_TRUE(variant.empty() || forced->variant() == variant) << forced->variant() << " instead of " << variant;
        }
        // Copies are the same plan.
        const Plan copy = *plan;
        EXPECT_EQ(copy.describe(), plan->describe());
    }
}

}  // namespace
}  // namespace fourfold::test
