// The one-line form: printing and parsing are inverse, and what cannot be read is refused by name.
#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fourfold/problem.h"
#include "support/problems.h"
#include "support/random.h"

namespace fourfold::test {
namespace {

/// Any value of any field, valid or not, since parsing does not validate.
Conv2dProblem random_fields(Random &random) {
    Conv2dProblem p;
    p.operation = static_cast<Operation>(random.between(0, 5));
    const auto size = [&] { return random.chance(0.3) ? 1 : random.between(1, random.chance(0.1) ? int64_t{1} << 40 : 300); };
    p.batch = size();
    p.in_channels = size();
    p.in_height = size();
    p.in_width = random.chance(0.5) ? p.in_height : size();
    p.out_channels = size();
    p.filter_height = size();
    p.filter_width = random.chance(0.5) ? p.filter_height : size();
    p.stride_h = size();
    p.stride_w = random.chance(0.5) ? p.stride_h : size();
    p.dilation_h = size();
    p.dilation_w = random.chance(0.5) ? p.dilation_h : size();
    if (random.chance(0.7)) {
        p.pad_top = random.between(0, 20);
        p.pad_bottom = random.chance(0.5) ? p.pad_top : random.between(0, 20);
        p.pad_left = random.chance(0.5) ? p.pad_top : random.between(0, 20);
        p.pad_right = random.chance(0.5) ? p.pad_top : random.between(0, 20);
    }
    p.groups = size();
    p.padding_mode = static_cast<PaddingMode>(random.between(0, 5));
    if (p.padding_mode == PaddingMode::kConstant) {
        p.padding_value = random.chance(0.2) ? 1e-7f : random.uniform(-3.0f, 3.0f);
    }
    p.filter_mode = static_cast<FilterMode>(random.between(0, 1));
    p.layout = static_cast<Layout>(random.between(0, 1));
    p.post_op = static_cast<PostOp>(random.between(0, 2));
    if (p.post_op == PostOp::kClamp) {
        p.clamp_lo = random.uniform(-3.0f, 0.0f);
        p.clamp_hi = random.chance(0.3) ? 6.0f : random.uniform(0.0f, 1e6f);
    }
    p.residual = random.chance(0.3);
    return p;
}

std::vector<std::string> split(const std::string &line) {
    std::vector<std::string> tokens;
    size_t begin = 0;
    while (begin < line.size()) {
        const size_t end = std::min(line.find(' ', begin), line.size());
        tokens.push_back(line.substr(begin, end - begin));
        begin = end + 1;
    }
    return tokens;
}

std::string join(const std::vector<std::string> &tokens, char separator) {
    std::string line;
    for (const std::string &token : tokens) {
        line += (line.empty() ? "" : std::string(1, separator)) + token;
    }
    return line;
}

TEST(ProblemText, RoundTrip) {
    for (int64_t i = 0; i < 5000; i++) {
        Random random(test_seed() + static_cast<uint64_t>(i));
        const Conv2dProblem p = random_fields(random);
        const std::string line = p.to_string();
        const Result<Conv2dProblem> back = Conv2dProblem::parse(line);
        ASSERT_TRUE(back.ok()) << line << ": " << back.status().message();
        ASSERT_TRUE(*back == p) << line << " came back as " << back->to_string();
        ASSERT_EQ(back->to_string(), line);
    }
}

TEST(ProblemText, AnyOrderAndAnySeparator) {
    for (int64_t i = 0; i < 2000; i++) {
        Random random(test_seed() + static_cast<uint64_t>(i));
        const Conv2dProblem p = random_fields(random);
        std::vector<std::string> tokens = split(p.to_string());
        for (size_t j = tokens.size(); j > 1; j--) {
            std::swap(tokens[j - 1], tokens[static_cast<size_t>(random.between(0, static_cast<int64_t>(j) - 1))]);
        }
        for (char separator : {' ', '_'}) {
            const std::string line = join(tokens, separator);
            const Result<Conv2dProblem> back = Conv2dProblem::parse(line);
            ASSERT_TRUE(back.ok()) << line << ": " << back.status().message();
            ASSERT_TRUE(*back == p) << line << " was read as " << back->to_string();
        }
    }
}

TEST(ProblemText, ShortForms) {
    Conv2dProblem layer;
    layer.batch = 8;
    layer.in_channels = layer.out_channels = 64;
    layer.in_height = layer.in_width = 56;
    layer.filter_height = layer.filter_width = 3;
    layer.pad_top = layer.pad_bottom = layer.pad_left = layer.pad_right = 1;
    const Result<Conv2dProblem> read = Conv2dProblem::parse("b8 ic64 i56 oc64 f3 p1");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_TRUE(*read == layer) << read->to_string();
    EXPECT_TRUE(*Conv2dProblem::parse("  fwd   b8_ic64_i56x56 oc64 f3x3  p1,1,1,1 s1 d1x1 g1  ") == layer);
    EXPECT_EQ(Conv2dProblem::parse("b8 ic64 i56 oc64 f3 p1")->to_string(), layer.to_string());

    const Result<Conv2dProblem> all = Conv2dProblem::parse("bwd-data b2 ic6 i10x12 oc9 f3x4 s2x3 p1,2,3,4 d2x1 g3 constant:-0.5 conv nhwc relu");
    ASSERT_TRUE(all.ok()) << all.status().message();
    EXPECT_EQ(all->operation, Operation::kBackwardData);
    EXPECT_EQ(all->in_height, 10);
    EXPECT_EQ(all->in_width, 12);
    EXPECT_EQ(all->filter_height, 3);
    EXPECT_EQ(all->filter_width, 4);
    EXPECT_EQ(all->stride_h, 2);
    EXPECT_EQ(all->stride_w, 3);
    EXPECT_EQ(all->pad_top, 1);
    EXPECT_EQ(all->pad_bottom, 2);
    EXPECT_EQ(all->pad_left, 3);
    EXPECT_EQ(all->pad_right, 4);
    EXPECT_EQ(all->dilation_h, 2);
    EXPECT_EQ(all->dilation_w, 1);
    EXPECT_EQ(all->groups, 3);
    EXPECT_EQ(all->padding_mode, PaddingMode::kConstant);
    EXPECT_EQ(all->padding_value, -0.5f);
    EXPECT_EQ(all->filter_mode, FilterMode::kConvolution);
    EXPECT_EQ(all->layout, Layout::kNhwc);
    EXPECT_EQ(all->post_op, PostOp::kRelu);
    // Printed in the order of the design, whatever the order read.
    EXPECT_EQ(all->to_string().rfind("bwd-data b2 ic6 i10x12 oc9 f3x4 s2x3 p1,2,3,4 d2x1 g3 constant:-0.5 conv nhwc relu", 0), 0u) << all->to_string();
}

TEST(ProblemText, DefaultsAreLeftOut) {
    const std::string line = Conv2dProblem::parse("b1 ic3 i9 oc4 f3")->to_string();
    for (const char *token : {" s1", " p0", " d1", " g1", "zeros", "conv", "nchw", "relu", "none"}) {
        EXPECT_EQ(line.find(token), std::string::npos) << line;
    }
}

class BadToken : public ::testing::TestWithParam<const char *> {};

TEST_P(BadToken, IsNamed) {
    const std::string token = GetParam();
    for (const std::string &line : {"b1 ic3 i9 oc4 f3 " + token, token + "_b1_ic3_i9_oc4_f3"}) {
        const Result<Conv2dProblem> read = Conv2dProblem::parse(line);
        ASSERT_FALSE(read.ok()) << line << " was read as " << read->to_string();
        EXPECT_EQ(read.status().code(), StatusCode::kInvalidArgument);
        EXPECT_NE(read.status().message().find(token), std::string::npos) << read.status().message();
    }
}

INSTANTIATE_TEST_SUITE_P(Tokens, BadToken,
                         ::testing::Values("foo", "fw", "fwdx", "bx", "p1,2", "p1,2,3", "p1,2,3,4,5", "p1,,2,3", "s2x", "s2x3x4", "sx3", "d1.5", "i12y13",
                                           "f0x", "g", "constant:", "constant:abc", "constant:1x", "reflect:1", "Relu", "relu6", "conv2", "nchwc", "b1e3",
                                           "oc+4x", "s99999999999999999999", "i9223372036854775808", "b18446744073709551617", "f3x99999999999999999999999",
                                           "p1,1,1,99999999999999999999"));

TEST(ProblemText, HugeNumbersThatFitAreReadAndThenRefused) {
    const Result<Conv2dProblem> read = Conv2dProblem::parse("b9223372036854775807 ic3 i9 oc4 f3");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->batch, INT64_MAX);
    EXPECT_EQ(read->validate().code(), StatusCode::kInvalidArgument);
}

TEST(ProblemText, NonsenseNeverCrashes) {
    const char alphabet[] = "bicofsdpgx0123456789,:_ .-+relucntyhw\0\xff";
    for (int64_t i = 0; i < 20000; i++) {
        Random random(test_seed() + static_cast<uint64_t>(i));
        std::string line;
        for (int64_t length = random.between(0, 24); length > 0; length--) {
            line += alphabet[random.between(0, static_cast<int64_t>(sizeof(alphabet)) - 2)];
        }
        const Result<Conv2dProblem> read = Conv2dProblem::parse(line);
        if (read.ok()) {
            // Whatever was understood must print as itself, and validate() must not overflow on it.
            const Result<Conv2dProblem> again = Conv2dProblem::parse(read->to_string());
            ASSERT_TRUE(again.ok()) << line;
            ASSERT_EQ(again->to_string(), read->to_string()) << line;
            (void)read->validate();
        } else {
            ASSERT_EQ(read.status().code(), StatusCode::kInvalidArgument);
            ASSERT_FALSE(read.status().message().empty());
        }
    }
}

}  // namespace
}  // namespace fourfold::test
