// fourfold spectral on files, and what bench and explain say of a spectral product.
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "command/command.h"
#include "fourfold/fourfold.h"
#include "golden/golden_cases.h"
#include "support/npy.h"

namespace fourfold::test {
namespace {

using Arguments = std::vector<std::string>;

NpyArray read_complex(const std::string &path) {
    return read_npy(path, "<c8");
}

/// dst[i, j, k, l] = src with its dimensions in the order `from`.
NpyArray permuted(const NpyArray &src, const std::vector<size_t> &from) {
    NpyArray dst = src;
    std::vector<int64_t> strides(4, 1);
    for (size_t d = 3; d-- > 0;) {
        strides[d] = strides[d + 1] * src.shape[d + 1];
    }
    for (size_t d = 0; d < 4; d++) {
        dst.shape[d] = src.shape[from[d]];
    }
    size_t at = 0;
    for (int64_t i = 0; i < dst.shape[0]; i++) {
        for (int64_t j = 0; j < dst.shape[1]; j++) {
            for (int64_t k = 0; k < dst.shape[2]; k++) {
                for (int64_t l = 0; l < dst.shape[3]; l++) {
                    const auto source = static_cast<size_t>(2 * (i * strides[from[0]] + j * strides[from[1]] + k * strides[from[2]] + l * strides[from[3]]));
                    dst.values[at++] = src.values[source];
                    dst.values[at++] = src.values[source + 1];
                }
            }
        }
    }
    return dst;
}

void expect_near(const NpyArray &expected, const std::string &path) {
    const NpyArray got = read_complex(path);
    ASSERT_EQ(got.shape, expected.shape);
    for (size_t i = 0; i < expected.values.size(); i++) {
        ASSERT_NEAR(got.values[i], expected.values[i], 2e-5) << i;
    }
}

TEST(Spectral, GoldenFilesInBothOrders) {
    const TemporaryFolder folder;
    for (const char *name : {"spectral_mnist", "spectral_mid"}) {
        const GoldenCase c{name, {}};
        const NpyArray expected = read_complex(c.path("output"));
        ASSERT_TRUE(exits_with(0, fourfold_command({"spectral", "--input", c.path("input"), "--filters", c.path("filters"), "--output", folder / "y.npy"}))) << name;
        expect_near(expected, folder / "y.npy");
        write_bytes(folder / "x.npy", npy_bytes(permuted(read_complex(c.path("input")), {0, 3, 1, 2}), "<c8"));
        write_bytes(folder / "w.npy", npy_bytes(permuted(read_complex(c.path("filters")), {3, 2, 0, 1}), "<c8"));
        ASSERT_TRUE(exits_with(0, fourfold_command({"spectral", "--input", folder / "x.npy", "--filters", folder / "w.npy", "--output", folder / "y.npy", "--order", "bcij"}))) << name;
        expect_near(permuted(expected, {0, 3, 1, 2}), folder / "y.npy");
    }
}

TEST(Spectral, Failures) {
    const GoldenCase mid{"spectral_mid", {}}, mnist{"spectral_mnist", {}}, real{"valid_3x3", {}};
    const TemporaryFolder folder;
    const auto expect = [&](int code, const Arguments &flags, const Arguments &words) {
        Arguments arguments = {"spectral", "--output", folder / "y.npy"};
        arguments.insert(arguments.end(), flags.begin(), flags.end());
        EXPECT_TRUE(exits_with(code, fourfold_command(arguments), words));
        EXPECT_TRUE(folder.files().empty());
    };
    expect(2, {"--input", mid.path("input"), "--filters", mnist.path("filters")}, {"filters", "28"});
    expect(2, {"--input", real.path("input"), "--filters", mid.path("filters")}, {"<f4"});
    expect(2, {"--input", mid.path("absent"), "--filters", mid.path("filters")}, {"absent"});
    expect(2, {"--input", mid.path("input"), "--filters", mid.path("filters"), "--order", "cbij"}, {"cbij"});
    expect(2, {"--input", mid.path("input"), "--filters", mid.path("filters"), "--order", "bcij"}, {"filters"});
    expect(2, {"--input", mid.path("input")}, {"--filters"});
    expect(3, {"--input", mid.path("input"), "--filters", mid.path("filters"), "--device", "cuda"}, {"cuda"});
    EXPECT_TRUE(exits_with(1, fourfold_command({"spectral", "--input", mid.path("input"), "--filters", mid.path("filters"), "--output", folder / "no/y.npy"}), {"y.npy"}));
}

TEST(Spectral, BenchAndExplain) {
    const Outcome bench = fourfold_command({"bench", "--problem", "spectral b3 ic4 i8x5 oc6", "--threads", "1", "--json"});
    ASSERT_TRUE(exits_with(0, bench));
    const nlohmann::json line = nlohmann::json::parse(bench.out, nullptr, false);
    ASSERT_TRUE(line.is_object()) << bench.out;
    EXPECT_EQ(line["algorithm"], "spectral");
    EXPECT_LT(line["max_error"].get<double>(), 1e-6);
    EXPECT_GT(line["ms_min"].get<double>(), 0.0);
    for (const char *operation : {"", " bwd-data", " bwd-filters"}) {
        const Outcome unpacked = fourfold_command({"bench", "--problem", std::string("spectral b3 ic4 i8x5 oc6 bcij") + operation, "--include-packing", "--min-time", "0"});
        EXPECT_TRUE(exits_with(0, unpacked)) << operation;
        EXPECT_TRUE(says(unpacked, "packing included")) << unpacked.out;
    }
    const Outcome all = fourfold_command({"bench", "--problem", "spectral b3 ic4 i8x5 oc6", "--threads", "1", "--json", "--all-variants"});
    ASSERT_TRUE(exits_with(0, all));
    std::vector<std::string> listed, timed, chosen;
    for (const VariantInfo &v : list_variants()) {
        if (v.stage == "complex_gemm" && v.runnable && SpectralPlan::create(*SpectralProblem::parse("spectral b3 ic4 i8x5 oc6"), {1, v.name})) {
            listed.push_back(v.name);
        }
    }
    std::istringstream lines(all.out);
    for (std::string text; std::getline(lines, text);) {
        const nlohmann::json entry = nlohmann::json::parse(text, nullptr, false);
        ASSERT_TRUE(entry.is_object()) << text;
        EXPECT_LT(entry["max_error"].get<double>(), 1e-6);
        timed.push_back(entry["variant"]);
        if (entry["chosen"].get<bool>()) {
            chosen.push_back(entry["variant"]);
        }
    }
    EXPECT_FALSE(listed.empty());
    EXPECT_EQ(timed, listed);
    EXPECT_EQ(chosen, std::vector<std::string>{line["variant"]});
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench", "--problem", "spectral b3 ic0 i8x5 oc6"}), {"in_channels is 0"}));
    EXPECT_TRUE(exits_with(2, fourfold_command({"bench", "--problem", "spectral b3 ic4 i8x5 oc6", "--algorithm", "fft"}), {"--algorithm"}));
    const Outcome explained = fourfold_command({"explain", "--problem", "spectral b3 ic4 i8x5 oc6"});
    ASSERT_TRUE(exits_with(0, explained));
    EXPECT_NE(explained.out.find("complex_gemm"), std::string::npos) << explained.out;
    // Channel-first has two ways, each with variants of its own.
    const Outcome first = fourfold_command({"explain", "--problem", "spectral b128 ic1 i28x15 oc32 bcij"});
    ASSERT_TRUE(exits_with(0, first));
    EXPECT_NE(first.out.find("complex_multiply_"), std::string::npos) << first.out;
    EXPECT_NE(first.out.find("predicted"), std::string::npos) << first.out;
    const Outcome both = fourfold_command({"bench", "--problem", "spectral b3 ic4 i8x5 oc6 bcij", "--threads", "1", "--json", "--all-variants"});
    ASSERT_TRUE(exits_with(0, both));
    EXPECT_NE(both.out.find("complex_multiply_"), std::string::npos) << both.out;
    EXPECT_NE(both.out.find("complex_gemm_"), std::string::npos) << both.out;
    EXPECT_EQ(all.out.find("complex_multiply_"), std::string::npos) << all.out;
}

}  // namespace
}  // namespace fourfold::test
