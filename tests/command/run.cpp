// `fourfold run` on PyTorch's files, and on everything that is not as it should be.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "command/command.h"
#include "fourfold/fourfold.h"
#include "golden/golden_cases.h"
#include "support/npy.h"
#include "support/problems.h"
#include "support/run_plan.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

Arguments with(Arguments first, const Arguments &more) {
    first.insert(first.end(), more.begin(), more.end());
    return first;
}

/// The reference's scale for the case, by which its errors are measured.
double scale_of(const GoldenCase &c) {
    Operands operands(c.problem, 0);
    operands.input.assign(read_npy(c.path("input")).values);
    operands.filters.assign(read_npy(c.path("filters")).values);
    const std::vector<float> bias = read_npy(c.path("bias")).values;
    std::copy(bias.begin(), bias.end(), reinterpret_cast<float *>(operands.bias.data()));
    return operands.expected().scale;
}

void expect_output(const GoldenCase &c, const std::string &path, double limit) {
    const NpyArray got = read_npy(path), expected = read_npy(c.path("output"));
    ASSERT_EQ(got.shape, expected.shape) << c.name;
    double worst = 0.0;
    for (size_t i = 0; i < got.values.size(); i++) {
        const double d = std::fabs(static_cast<double>(got.values[i]) - expected.values[i]);
        worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    }
    EXPECT_LE(worst, limit * scale_of(c)) << c.name;
}

Arguments operands_of(const GoldenCase &c) {
    return {"--input", c.path("input"), "--filters", c.path("filters"), "--bias", c.path("bias")};
}

class GoldenFiles : public ::testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenFiles, EveryAlgorithm) {
    const GoldenCase &c = GetParam();
    for (const char *algorithm : {"auto", "naive", "direct", "im2col", "fft"}) {
        const TemporaryFolder folder;
        const Outcome outcome = fourfold_command(with({"run", "--problem", c.problem.to_string(), "--algorithm", algorithm, "--output", folder / "y.npy"}, operands_of(c)));
        ASSERT_TRUE(exits_with(0, outcome)) << algorithm;
        EXPECT_EQ(folder.files(), Arguments({"y.npy"}));
        expect_output(c, folder / "y.npy", std::string(algorithm) == "fft" ? 2e-6 : std::string(algorithm) == "auto" ? 2e-6 : 1e-6);
    }
}

TEST_P(GoldenFiles, ProblemFromArraysAndFlags) {
    const GoldenCase &c = GetParam();
    const Conv2dProblem &p = c.problem;
    const TemporaryFolder folder;
    const std::string padding = std::to_string(p.pad_top) + "," + std::to_string(p.pad_bottom) + "," + std::to_string(p.pad_left) + "," + std::to_string(p.pad_right);
    Arguments arguments = {"run",         "--output",     folder / "y.npy",
                           "--stride",    std::to_string(p.stride_h) + "x" + std::to_string(p.stride_w),
                           "--dilation",  std::to_string(p.dilation_h) + "x" + std::to_string(p.dilation_w),
                           "--padding",   padding,
                           "--groups",    std::to_string(p.groups),
                           "--threads",   "2"};
    if (p.padding_mode != PaddingMode::kZeros) {
        const char *name = p.padding_mode == PaddingMode::kReflect ? "reflect" : p.padding_mode == PaddingMode::kReplicate ? "replicate" : "circular";
        arguments.insert(arguments.end(), {"--padding-mode", name});
    }
    const Outcome outcome = fourfold_command(with(arguments, operands_of(c)));
    ASSERT_TRUE(exits_with(0, outcome));
    expect_output(c, folder / "y.npy", 2e-6);
}

std::string case_name(const ::testing::TestParamInfo<GoldenCase> &info) {
    return info.param.name;
}
TEST_P(GoldenFiles, Gradients) {
    const GoldenCase &c = GetParam();
    for (const char *operation : {"bwd-data", "bwd-filters"}) {
        const bool data = operation == std::string("bwd-data");
        const TemporaryFolder folder;
        Conv2dProblem problem = c.problem;
        problem.operation = data ? Operation::kBackwardData : Operation::kBackwardFilters;
        Arguments arguments = {"run", "--problem", problem.to_string(), "--output", folder / "g.npy", "--input", c.path(data ? "grad_output" : "input"), "--filters", c.path(data ? "filters" : "grad_output")};
        if (!data) {
            arguments = with(arguments, {"--bias-output", folder / "b.npy"});
        }
        ASSERT_TRUE(exits_with(0, fourfold_command(arguments))) << operation;
        const auto expect_close = [&](const std::string &path, const std::string &golden) {
            const NpyArray got = read_npy(path), expected = read_npy(c.path(golden));
            ASSERT_EQ(got.shape, expected.shape) << c.name << " " << golden;
            double largest = 0.0, worst = 0.0;
            for (size_t i = 0; i < got.values.size(); i++) {
                largest = std::max(largest, std::fabs(static_cast<double>(expected.values[i])));
                const double d = std::fabs(static_cast<double>(got.values[i]) - expected.values[i]);
                worst = std::isnan(d) ? INFINITY : std::max(worst, d);
            }
            EXPECT_LE(worst, 1e-4 * largest) << c.name << " " << golden;
        };
        expect_close(folder / "g.npy", data ? "grad_input" : "grad_filters");
        if (!data) {
            expect_close(folder / "b.npy", "grad_bias");
        }
    }
}

INSTANTIATE_TEST_SUITE_P(PyTorch, GoldenFiles, ::testing::ValuesIn(golden_cases()), case_name);

TEST(Run, FlippedFilters) {
    const GoldenCase &c = golden_case("asym_pad_stride");
    NpyArray filters = read_npy(c.path("filters"));
    const size_t taps = static_cast<size_t>(c.problem.filter_height * c.problem.filter_width);
    for (auto at = filters.values.begin(); at != filters.values.end(); at += static_cast<int64_t>(taps)) {
        std::reverse(at, at + static_cast<int64_t>(taps));
    }
    const TemporaryFolder folder;
    write_npy(folder / "w.npy", filters);
    const Arguments operands = {"--input", c.path("input"), "--filters", folder / "w.npy", "--bias", c.path("bias"), "--output", folder / "y.npy"};
    Conv2dProblem p = c.problem;
    p.filter_mode = FilterMode::kConvolution;
    ASSERT_TRUE(exits_with(0, fourfold_command(with({"run", "--problem", p.to_string()}, operands))));
    expect_output(c, folder / "y.npy", 2e-6);
    // With '_' for blanks, as a name in a file would have it, and the tokens' order changed.
    ASSERT_TRUE(exits_with(0, fourfold_command(with({"run", "--problem", "conv_p1,0,2,1_s2x3_f3x4_oc5_i12x10_ic4_b2"}, operands))));
    expect_output(c, folder / "y.npy", 2e-6);
}

TEST(Run, AnExistingOutputIsReplacedWhole) {
    const GoldenCase &c = golden_case("valid_3x3");
    const TemporaryFolder folder;
    write_bytes(folder / "y.npy", std::string(100000, 'x'));
    ASSERT_TRUE(exits_with(0, fourfold_command(with({"run", "--problem", c.problem.to_string(), "--output", folder / "y.npy"}, operands_of(c)))));
    expect_output(c, folder / "y.npy", 2e-6);
    EXPECT_EQ(folder.files(), Arguments({"y.npy"}));
}

TEST(Run, ImageThroughANamedFilter) {
    // A blurred plane of one grey is the same plane.
    const TemporaryFolder folder;
    const std::string image = "P5\n20 12\n255\n" + std::string(20 * 12, static_cast<char>(90));
    write_bytes(folder / "x.pgm", image);
    ASSERT_TRUE(exits_with(0, fourfold_command({"run", "--input", folder / "x.pgm", "--filters", "box:3", "--output", folder / "y.pgm"})));
    const std::string blurred = read_bytes(folder / "y.pgm");
    ASSERT_GE(blurred.size(), size_t{20 * 12});
    EXPECT_EQ(blurred.substr(blurred.size() - 20 * 12), std::string(20 * 12, static_cast<char>(90)));
}

/// A failing run: the code, words on stderr, nothing written, and an output of an earlier run left alone.
class Failures : public ::testing::Test {
protected:
    const GoldenCase &good = golden_case("valid_3x3");
    TemporaryFolder folder;

    void expect_failure(int code, const Arguments &arguments, const Arguments &words, const SpawnOptions &options = {}) {
        const Arguments before = folder.files();
        EXPECT_TRUE(exits_with(code, fourfold_command(with(arguments, {"--output", folder / "none.npy"}), options), words));
        EXPECT_EQ(folder.files(), before) << "a failed run left something behind";
        write_bytes(folder / "earlier.npy", "an earlier result");
        EXPECT_TRUE(exits_with(code, fourfold_command(with(arguments, {"--output", folder / "earlier.npy"}), options), words));
        EXPECT_EQ(read_bytes(folder / "earlier.npy"), "an earlier result") << "a failed run destroyed the previous output";
        std::filesystem::remove(folder / "earlier.npy");
        EXPECT_EQ(folder.files(), before) << "a failed run left something behind";
    }

    Arguments run(const std::string &problem, const std::string &input, const std::string &filters) const {
        return {"run", "--problem", problem, "--input", input, "--filters", filters};
    }
    Arguments run(const std::string &problem) const {
        return run(problem, good.path("input"), good.path("filters"));
    }
};

TEST_F(Failures, MissingFile) {
    expect_failure(2, run(good.problem.to_string(), folder / "absent.npy", good.path("filters")), {"absent.npy"});
    expect_failure(2, run(good.problem.to_string(), good.path("input"), folder / "absent.npy"), {"absent.npy"});
    expect_failure(2, with(run(good.problem.to_string()), {"--bias", folder / "absent.npy"}), {"absent.npy"});
    expect_failure(2, run(good.problem.to_string(), folder.path(), good.path("filters")), {folder.path()});
}

TEST_F(Failures, TruncatedFile) {
    const std::string whole = read_bytes(good.path("input"));
    for (size_t size : {size_t{0}, size_t{3}, size_t{8}, size_t{9}, size_t{50}, size_t{128}, whole.size() - 4, whole.size() - 1}) {
        write_bytes(folder / "cut.npy", whole.substr(0, size));
        expect_failure(2, run(good.problem.to_string(), folder / "cut.npy", good.path("filters")), {"cut.npy"});
    }
}

TEST_F(Failures, NotAnArray) {
    write_bytes(folder / "text.npy", "this is not an array, but it is longer than any header might be expected to be, and then some more");
    expect_failure(2, run(good.problem.to_string(), folder / "text.npy", good.path("filters")), {"text.npy"});
}

TEST_F(Failures, WrongType) {
    const NpyArray input = read_npy(good.path("input"));
    for (const char *type : {"<f8", ">f4", "<i4", "<c8", "|O"}) {
        write_bytes(folder / "type.npy", npy_bytes(input, type));
        expect_failure(2, run(good.problem.to_string(), folder / "type.npy", good.path("filters")), {"type.npy", type});
    }
}

TEST_F(Failures, WrongShape) {
    NpyArray input = read_npy(good.path("input"));
    std::swap(input.shape[2], input.shape[3]);
    write_npy(folder / "shape.npy", input);
    expect_failure(2, run(good.problem.to_string(), folder / "shape.npy", good.path("filters")), {"shape.npy"});
    NpyArray filters = read_npy(good.path("filters"));
    filters.shape = {static_cast<int64_t>(filters.values.size())};
    write_npy(folder / "flat.npy", filters);
    expect_failure(2, run(good.problem.to_string(), good.path("input"), folder / "flat.npy"), {"flat.npy"});
    expect_failure(2, with(run(good.problem.to_string()), {"--bias", good.path("filters")}), {"filters"});
    // Sizes whose product overflows must not be believed.
    NpyArray huge = read_npy(good.path("input"));
    huge.shape = {int64_t{1} << 40, int64_t{1} << 40, 1, 1};
    write_npy(folder / "huge.npy", huge);
    expect_failure(2, run(good.problem.to_string(), folder / "huge.npy", good.path("filters")), {"huge.npy"});
    // Inferred problems do not fit either.
    expect_failure(2, {"run", "--input", good.path("input"), "--filters", golden_case("odd_channels").path("filters")}, {});
    expect_failure(2, {"run", "--input", good.path("input"), "--filters", good.path("filters"), "--groups", "2"}, {"2"});
}

TEST_F(Failures, BadUsage) {
    expect_failure(2, with(run(good.problem.to_string()), {"--abacus"}), {"abacus"});
    expect_failure(2, with(run(good.problem.to_string()), {"--algorithm", "abacus"}), {"abacus"});
    expect_failure(2, with(run(good.problem.to_string()), {"--device", "abacus"}), {"abacus"});
    expect_failure(2, with(run(good.problem.to_string()), {"--threads", "-3"}), {"threads"});
    expect_failure(2, with(run(good.problem.to_string()), {"--threads", "many"}), {"threads"});
    expect_failure(2, {"run", "--input", good.path("input")}, {"--filters"});
    expect_failure(2, {"abacus"}, {});
    EXPECT_TRUE(exits_with(2, fourfold_command({})));
    EXPECT_TRUE(exits_with(2, fourfold_command({"run"})));
}

TEST_F(Failures, InvalidProblem) {
    expect_failure(2, run("b2 ic3 i9x8 oc4 f3 abacus"), {"abacus"});
    expect_failure(2, run("b2 ic3 i9x8 oc4 f13"), {"13"});
    expect_failure(2, run("b2 ic3 i9x8 oc4 f3 s0"), {"0"});
    expect_failure(2, run("b2 ic3 i9x8 oc4 f3 p9 reflect"), {"9"});
    expect_failure(2, run("b2 ic3 i9x8 oc4 f3 g2"), {"2"});
    expect_failure(2, run("b2 ic3 i99999999999999999999x8 oc4 f3"), {"99999999999999999999"});
    expect_failure(2, run(""), {});
}

TEST_F(Failures, CannotDoIt) {
    const Conv2dProblem &p = good.problem;
    for (Algorithm algorithm : {Algorithm::kFftTiled, Algorithm::kWinograd}) {
        PlanOptions options;
        options.algorithm = algorithm;
        if (!Plan::create(p, options).ok()) {
            expect_failure(3, with(run(p.to_string()), {"--algorithm", to_string(algorithm)}), {to_string(algorithm)});
        }
    }
    for (Device device : {Device::kCuda, Device::kOpenCl}) {
        PlanOptions options;
        options.device = device;
        if (!Plan::create(p, options).ok()) {
            expect_failure(3, with(run(p.to_string()), {"--device", to_string(device)}), {to_string(device)});
        }
    }
    expect_failure(3, with(run(p.to_string()), {"--algorithm", "fft", "--workspace-limit", "1"}), {"workspace"});
}

TEST(RunOnDevice, AnImageLargerThanItsMemory) {
    PlanOptions options;
    options.device = Device::opencl();
    const Conv2dProblem p = parse_problem("b1 ic3 i61x40 oc4 f5 p2 reflect relu");
    if (const Result<DeviceInfo> info = device_info(options.device); !info) {
        GTEST_SKIP() << "skipped: " << info.status().message();
    }
    const TemporaryFolder folder;
    Operands operands(p, 5);
    write_npy(folder / "x.npy", {{1, 3, 61, 40}, operands.input.values()});
    write_npy(folder / "w.npy", {{4, 3, 5, 5}, operands.filters.values()});
    const Arguments run = {"run", "--problem", p.to_string(), "--input", folder / "x.npy", "--filters", folder / "w.npy", "--output", folder / "y.npy", "--device", "opencl", "--algorithm", "direct", "--device-memory"};
    ASSERT_TRUE(exits_with(0, fourfold_command(with(run, {"48K"}))));
    const NpyArray y = read_npy(folder / "y.npy");
    std::copy(y.values.begin(), y.values.end(), operands.output.data());
    std::memset(operands.bias.data(), 0, operands.bias.bytes());
    EXPECT_TRUE(matches(operands, operands.expected(), 1e-6));
    EXPECT_TRUE(exits_with(3, fourfold_command(with(run, {"1K"})), {"device 'opencl'"}));
    EXPECT_TRUE(exits_with(2, fourfold_command(with(run, {"abacus"})), {"--device-memory", "abacus"}));
}

TEST_F(Failures, UnwritableOutput) {
    const Arguments arguments = with({"run", "--problem", good.problem.to_string()}, operands_of(good));
    EXPECT_TRUE(exits_with(1, fourfold_command(with(arguments, {"--output", folder / "no/such/folder/y.npy"})), {"y.npy"}));
    std::filesystem::create_directory(folder / "directory.npy");
    EXPECT_TRUE(exits_with(1, fourfold_command(with(arguments, {"--output", folder / "directory.npy"})), {"directory.npy"}));
    write_bytes(folder / "file", "");
    EXPECT_TRUE(exits_with(1, fourfold_command(with(arguments, {"--output", folder / "file/y.npy"})), {"y.npy"}));
    EXPECT_EQ(folder.files(), Arguments({"directory.npy", "file"}));
    EXPECT_TRUE(std::filesystem::is_empty(folder / "directory.npy"));
}

TEST_F(Failures, DiskFullWhileWriting) {
    SpawnOptions full;
    full.largest_file = 200;
    expect_failure(1, with({"run", "--problem", good.problem.to_string()}, operands_of(good)), {}, full);
}

TEST(RunColumns, UnfoldAndFold) {
    const TemporaryFolder folder;
    const Conv2dProblem p = parse_problem("b2 ic3 i6x5 f3x2 s2x1 p1,0,2,1");
    Operands unfold(gradient_of(p, Operation::kUnfold), 3), fold(gradient_of(p, Operation::kFold), 4);
    write_npy(folder / "x.npy", {{2, 3, 6, 5}, unfold.input.values()});
    ASSERT_TRUE(exits_with(0, fourfold_command({"run", "--problem", unfold.problem.to_string(), "--input", folder / "x.npy", "--output", folder / "columns.npy"})));
    const NpyArray columns = read_npy(folder / "columns.npy");
    const reference::Forward expected = unfold.expected();
    ASSERT_EQ(columns.shape, (std::vector<int64_t>{2, 18, p.out_height() * p.out_width()}));
    EXPECT_TRUE(std::equal(columns.values.begin(), columns.values.end(), expected.y.begin(), expected.y.end()));
    fold.input.assign(columns.values);
    ASSERT_TRUE(exits_with(0, fourfold_command({"run", "--problem", fold.problem.to_string(), "--input", folder / "columns.npy", "--output", folder / "back.npy"})));
    const NpyArray back = read_npy(folder / "back.npy");
    ASSERT_EQ(back.shape, (std::vector<int64_t>{2, 3, 6, 5}));
    fold.output.assign(back.values);
    EXPECT_TRUE(matches(fold, fold.expected(), 1e-6));
    EXPECT_TRUE(exits_with(2, fourfold_command({"run", "--problem", unfold.problem.to_string(), "--input", folder / "x.npy", "--filters", folder / "x.npy", "--output", folder / "y.npy"})));
    EXPECT_TRUE(exits_with(2, fourfold_command({"run", "--problem", fold.problem.to_string(), "--input", folder / "x.npy", "--output", folder / "y.npy"})));
    EXPECT_TRUE(exits_with(2, fourfold_command({"run", "--problem", p.to_string(), "--input", folder / "x.npy", "--output", folder / "y.npy"})));
    EXPECT_TRUE(exits_with(3, fourfold_command({"run", "--problem", unfold.problem.to_string(), "--algorithm", "fft", "--input", folder / "x.npy", "--output", folder / "y.npy"})));
}

}  // namespace
}  // namespace fourfold::test
