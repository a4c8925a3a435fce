// Output sizes and validation, at compile time where a user would have them.
#include <cmath>
#include <limits>
#include <string>

#include <gtest/gtest.h>

#include "fourfold/problem.h"
#include "reference/conv2d.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

constexpr Conv2dProblem layer() {
    Conv2dProblem p;
    p.batch = 8;
    p.in_channels = 64;
    p.in_height = 56;
    p.in_width = 57;
    p.out_channels = 32;
    p.filter_height = 3;
    p.filter_width = 5;
    return p;
}

constexpr Conv2dProblem strided() {
    Conv2dProblem p = layer();
    p.stride_h = 2;
    p.stride_w = 3;
    p.dilation_h = 2;
    return p;
}

static_assert(Conv2dProblem().error() == nullptr);
static_assert(layer().error() == nullptr);
static_assert(layer().valid().out_height() == 54 && layer().valid().out_width() == 53);
static_assert(layer().same().out_height() == 56 && layer().same().out_width() == 57);
static_assert(layer().full().out_height() == 58 && layer().full().out_width() == 61);
static_assert(layer().full().pad_top == 2 && layer().full().pad_right == 4);
static_assert(strided().error() == nullptr);
static_assert(strided().out_height() == 26 && strided().out_width() == 18);
static_assert(strided().same().out_height() == 28 && strided().same().out_width() == 19);
static_assert(strided().full().pad_bottom == 4);
static_assert(layer().flops() == 2.0 * 8 * 32 * 54 * 53 * 64 * 3 * 5);
static_assert(layer().output_elements() == 8 * 32 * 54 * 53 && layer().input_elements() == 8 * 64 * 56 * 57);
static_assert(layer() == layer() && layer() != strided());

constexpr Conv2dProblem too_large_filter() {
    Conv2dProblem p = layer();
    p.filter_height = 57;
    return p;
}
constexpr Conv2dProblem no_stride() {
    Conv2dProblem p = layer();
    p.stride_h = 0;
    return p;
}
static_assert(too_large_filter().error() != nullptr && no_stride().error() != nullptr);

// TensorFlow's rule: the odd row or column of padding comes after.
constexpr Conv2dProblem even_filter() {
    Conv2dProblem p = layer();
    p.filter_height = 4;
    p.filter_width = 2;
    return p.same();
}
static_assert(even_filter().pad_top == 1 && even_filter().pad_bottom == 2 && even_filter().pad_left == 0 && even_filter().pad_right == 1);

TEST(ProblemSizes, AgreeWithCountingPositions) {
    for (int64_t i = 0; i < 5000; i++) {
        const uint64_t seed = test_seed() + static_cast<uint64_t>(i);
        Random random(seed);
        const Conv2dProblem p = random_problem(random, 1e12);
        ASSERT_EQ(p.out_height(), reference::count_positions(p.in_height, p.pad_top, p.pad_bottom, p.filter_height, p.dilation_h, p.stride_h))
            << p.to_string() << ", " << seed_note(seed);
        ASSERT_EQ(p.out_width(), reference::count_positions(p.in_width, p.pad_left, p.pad_right, p.filter_width, p.dilation_w, p.stride_w))
            << p.to_string() << ", " << seed_note(seed);
        ASSERT_EQ(p.same().out_height(), (p.in_height + p.stride_h - 1) / p.stride_h) << p.to_string() << ", " << seed_note(seed);
        ASSERT_EQ(p.same().out_width(), (p.in_width + p.stride_w - 1) / p.stride_w) << p.to_string() << ", " << seed_note(seed);
    }
}

struct Refused {
    const char *name;
    void (*spoil)(Conv2dProblem &);
    const char *value;  ///< must appear in the sentence
};

const Refused kRefused[] = {
    {"batch", [](Conv2dProblem &p) { p.batch = -17; }, "-17"},
    {"in_channels", [](Conv2dProblem &p) { p.in_channels = 0; }, "0"},
    {"in_height", [](Conv2dProblem &p) { p.in_height = -5; }, "-5"},
    {"in_width", [](Conv2dProblem &p) { p.in_width = 0; }, "0"},
    {"out_channels", [](Conv2dProblem &p) { p.out_channels = -1; }, "-1"},
    {"filter_height", [](Conv2dProblem &p) { p.filter_height = -3; }, "-3"},
    {"stride_w", [](Conv2dProblem &p) { p.stride_w = -2; }, "-2"},
    {"stride_smallest", [](Conv2dProblem &p) { p.stride_h = INT64_MIN; }, "-9223372036854775808"},
    {"dilation_h", [](Conv2dProblem &p) { p.dilation_h = 0; }, "0"},
    {"pad_left", [](Conv2dProblem &p) { p.pad_left = -4; }, "-4"},
    {"pad_huge", [](Conv2dProblem &p) { p.pad_left = INT64_MAX; }, "9223372036854775807"},
    {"size_huge", [](Conv2dProblem &p) { p.in_width = INT64_MAX; }, "9223372036854775807"},
    {"groups_and_input_channels", [](Conv2dProblem &p) { p.groups = 5; }, "5"},
    {"groups_and_output_channels", [](Conv2dProblem &p) { p.groups = 64; }, "64"},
    {"groups_negative", [](Conv2dProblem &p) { p.groups = -8; }, "-8"},
    {"filter_larger", [](Conv2dProblem &p) { p.filter_height = 77; }, "77"},
    {"dilated_filter_larger", [](Conv2dProblem &p) { p.dilation_w = 71; }, "71"},
    {"dilated_filter_huge",
     [](Conv2dProblem &p) {
         p.filter_height = int64_t{1} << 30;
         p.dilation_h = int64_t{1} << 30;
     },
     "1073741824"},
    {"reflect",
     [](Conv2dProblem &p) {
         p.pad_bottom = 56;
         p.padding_mode = PaddingMode::kReflect;
     },
     "56"},
    {"symmetric",
     [](Conv2dProblem &p) {
         p.pad_top = 58;
         p.padding_mode = PaddingMode::kSymmetric;
     },
     "58"},
    {"circular",
     [](Conv2dProblem &p) {
         p.pad_right = 59;
         p.padding_mode = PaddingMode::kCircular;
     },
     "59"},
    {"clamp",
     [](Conv2dProblem &p) {
         p.post_op = PostOp::kClamp;
         p.clamp_lo = 2.5f;
         p.clamp_hi = -1.5f;
     },
     "2.5"},
    {"clamp_nan",
     [](Conv2dProblem &p) {
         p.post_op = PostOp::kClamp;
         p.clamp_hi = std::numeric_limits<float>::quiet_NaN();
     },
     "nan"},
    {"too_many_elements",
     [](Conv2dProblem &p) {
         p.batch = int64_t{1} << 40;
         p.in_height = int64_t{1} << 20;
     },
     "1099511627776"},
};

TEST(ProblemValidation, SaysTheOffendingValue) {
    for (const Refused &refused : kRefused) {
        Conv2dProblem p = layer();
        refused.spoil(p);
        ASSERT_NE(p.error(), nullptr) << refused.name;
        const Status status = p.validate();
        EXPECT_EQ(status.code(), StatusCode::kInvalidArgument) << refused.name;
        EXPECT_NE(status.message().find(refused.value), std::string::npos) << refused.name << ": " << status.message();
    }
}

constexpr Conv2dProblem::Transposed transposed_layer() {
    Conv2dProblem::Transposed l;
    l.in_height = l.in_width = 10;
    l.filter_height = l.filter_width = 3;
    l.stride_h = l.stride_w = 2;
    l.dilation_w = 5;
    return l;
}
static_assert(Conv2dProblem::transposed(transposed_layer()).error() == nullptr);

TEST(ProblemValidation, TransposedLayersThatCannotBe) {
    using Layer = Conv2dProblem::Transposed;
    for (auto accepted : {+[](Layer &l) { l.output_padding_h = 1; }, +[](Layer &l) { l.output_padding_w = 4; }, +[](Layer &l) { l.padding_h = 3; }}) {
        Layer l = transposed_layer();
        accepted(l);
        const Conv2dProblem p = Conv2dProblem::transposed(l);
        ASSERT_TRUE(p.validate().ok()) << p.validate().message();
        EXPECT_EQ(p.out_height(), 10);
        EXPECT_EQ(p.out_width(), 10);
    }
    const struct {
        void (*spoil)(Layer &);
        const char *what;
    } refused[] = {
        {[](Layer &l) { l.output_padding_h = -1; }, "output padding -1x0, stride 2x2, dilation 1x5"},
        {[](Layer &l) { l.output_padding_h = 2; }, "output padding 2x0"},
        {[](Layer &l) { l.output_padding_w = 5; }, "output padding 0x5"},
        {[](Layer &l) { l.output_padding_w = INT64_MIN; }, "output padding"},
        {[](Layer &l) { l.output_padding_h = INT64_MAX; }, "output padding"},
        {[](Layer &l) { l.padding_h = -1; }, "padding -1,"},
        {[](Layer &l) { l.padding_w = INT64_MIN; }, "padding"},
        {[](Layer &l) { l.padding_w = INT64_MAX; }, "padding"},
        {[](Layer &l) { l.padding_w = 20; }, "in_width is -11"},
        {[](Layer &l) { l.in_height = 0; }, "in_height is 0"},
        {[](Layer &l) { l.in_height = INT64_MIN; }, "in_height is -9223372036854775808"},
        {[](Layer &l) { l.stride_w = 0; }, "stride_w is 0"},
        {[](Layer &l) { l.stride_w = INT64_MAX; }, "stride_w is 9223372036854775807"},
        {[](Layer &l) { l.dilation_h = INT64_MIN; }, "dilation_h is -9223372036854775808"},
        {[](Layer &l) { l.filter_height = -7; }, "filter_height is -7"},
        {[](Layer &l) { l.filter_width = INT64_MAX; }, "it must be at most 2^48"},
        {[](Layer &l) { l.in_height = (int64_t{1} << 32) + 3, l.stride_h = int64_t{1} << 32; }, "in_height is 281474976710657; it must be at most 2^48"},
    };
    for (const auto &r : refused) {
        Layer l = transposed_layer();
        r.spoil(l);
        const Conv2dProblem p = Conv2dProblem::transposed(l);
        EXPECT_NE(p.error(), nullptr) << r.what;
        EXPECT_NE(p.validate().message().find(r.what), std::string::npos) << r.what << ": " << p.validate().message();
    }
}

TEST(ProblemValidation, AcceptsTheLargestPadding) {
    Conv2dProblem p = layer();
    p.pad_top = p.pad_bottom = 55;
    p.pad_left = p.pad_right = 56;
    for (PaddingMode mode : {PaddingMode::kReflect, PaddingMode::kSymmetric, PaddingMode::kCircular, PaddingMode::kReplicate, PaddingMode::kZeros}) {
        p.padding_mode = mode;
        EXPECT_TRUE(p.validate().ok()) << p.to_string();
    }
    p.pad_top = 56;
    EXPECT_TRUE(p.validate().ok());
    p.padding_mode = PaddingMode::kReflect;
    EXPECT_FALSE(p.validate().ok());
    p.padding_mode = PaddingMode::kSymmetric;
    EXPECT_TRUE(p.validate().ok());
}

TEST(ProblemValidation, AgreesWithError) {
    for (int64_t i = 0; i < 2000; i++) {
        Random random(test_seed() + static_cast<uint64_t>(i));
        Conv2dProblem p = random_problem(random, 1e9);
        // One field goes astray.
        int64_t *fields[] = {&p.batch,      &p.in_channels, &p.in_height, &p.in_width,   &p.out_channels, &p.filter_height, &p.filter_width,
                             &p.stride_h,   &p.stride_w,    &p.pad_top,   &p.pad_bottom, &p.pad_left,     &p.pad_right,     &p.dilation_h,
                             &p.dilation_w, &p.groups};
        const int64_t values[] = {-1, 0, 1, 7, 1000, int64_t{1} << 48, (int64_t{1} << 48) + 1, INT64_MAX, INT64_MIN};
        *fields[random.between(0, 15)] = values[random.between(0, 8)];
        EXPECT_EQ(p.validate().ok(), p.error() == nullptr) << p.to_string();
    }
}

}  // namespace
}  // namespace fourfold::test
